using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace ArchAzure.SimulatedAzure;

/// <summary>
/// What Azure tells a new Linux machine about itself: the content of <c>ovf-env.xml</c> on the provisioning DVD.
/// </summary>
/// <remarks>
/// Shape: an OVF environment (DMTF DSP0243, section 11) with the sections of the namespace
/// <c>http://schemas.microsoft.com/windowsazure</c>, as the readers in WALinuxAgent (<c>protocol/ovfenv.py</c>) and
/// cloud-init (<c>sources/helpers/azure.py</c>, OvfEnvXml) take it.
/// </remarks>
/// <param name="HostName">The machine's name: 1 to 64 letters, digits, hyphens or dots.</param>
/// <param name="UserName">The first user's name.</param>
internal sealed record OvfEnvironment(string HostName, string UserName)
{
    /// <summary>The file's name on the DVD.</summary>
    public const string FileName = "ovf-env.xml";

    private static readonly XNamespace s_ovf = "http://schemas.dmtf.org/ovf/environment/1";
    private static readonly XNamespace s_wa = "http://schemas.microsoft.com/windowsazure";
    private static readonly XNamespace s_xsi = "http://www.w3.org/2001/XMLSchema-instance";

    /// <summary>The first user's password, or null for none (the element is then left out, as Azure does for key logins).</summary>
    public string? UserPassword { get; init; }

    /// <summary>True when sshd must refuse passwords.</summary>
    public bool DisableSshPasswordAuthentication { get; init; } = true;

    /// <summary>Public keys in OpenSSH's one-line form, which go into the first user's authorized_keys.</summary>
    public IReadOnlyList<string> SshPublicKeys { get; init; } = [];

    /// <summary>The document, UTF-8 without a byte order mark.</summary>
    public byte[] ToXml()
    {
        var configuration = new XElement(s_wa + "LinuxProvisioningConfigurationSet",
            new XElement(s_wa + "ConfigurationSetType", "LinuxProvisioningConfiguration"),
            new XElement(s_wa + "HostName", HostName),
            new XElement(s_wa + "UserName", UserName),
            UserPassword is null ? null : new XElement(s_wa + "UserPassword", UserPassword),
            new XElement(s_wa + "DisableSshPasswordAuthentication", DisableSshPasswordAuthentication ? "true" : "false"),
            SshPublicKeys.Count == 0 ? null : new XElement(s_wa + "SSH",
                new XElement(s_wa + "PublicKeys", SshPublicKeys.Select(key => new XElement(s_wa + "PublicKey",
                    new XElement(s_wa + "Path", $"/home/{UserName}/.ssh/authorized_keys"),
                    new XElement(s_wa + "Value", key))))));

        var document = new XDocument(
            new XElement(s_ovf + "Environment",
                new XAttribute("xmlns", s_ovf),
                new XAttribute(XNamespace.Xmlns + "oe", s_ovf),
                new XAttribute(XNamespace.Xmlns + "wa", s_wa),
                new XAttribute(XNamespace.Xmlns + "xsi", s_xsi),
                new XElement(s_wa + "ProvisioningSection",
                    new XElement(s_wa + "Version", "1.0"),
                    configuration),
                new XElement(s_wa + "PlatformSettingsSection",
                    new XElement(s_wa + "Version", "1.0"),
                    new XElement(s_wa + "PlatformSettings",
                        new XElement(s_wa + "KmsServerHostname", "kms.core.windows.net"),
                        new XElement(s_wa + "ProvisionGuestAgent", "true"),
                        new XElement(s_wa + "GuestAgentPackageName", new XAttribute(s_xsi + "nil", "true")),
                        new XElement(s_wa + "PreprovisionedVm", "false")))));

        // Entitized line ends: a reader would turn a literal carriage return of a password into a line feed.
        var settings = new XmlWriterSettings
        {
            Encoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false),
            Indent = true,
            NewLineChars = "\n",
            NewLineHandling = NewLineHandling.Entitize,
        };
        using var bytes = new MemoryStream();
        using (var writer = XmlWriter.Create(bytes, settings))
        {
            document.Save(writer);
        }

        return bytes.ToArray();
    }
}
