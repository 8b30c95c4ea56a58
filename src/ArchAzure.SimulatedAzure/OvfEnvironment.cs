using System.Globalization;
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
public sealed record OvfEnvironment(string HostName, string UserName)
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

    /// <summary>The bytes handed over as custom data, or null. On the DVD they stand in base64.</summary>
    public ReadOnlyMemory<byte>? CustomData { get; init; }

    /// <summary>The document, UTF-8 without a byte order mark.</summary>
    /// <exception cref="ArchAzureException">A value holds a character that XML 1.0 cannot carry, or a name is empty.</exception>
    public byte[] ToXml()
    {
        Require(HostName, nameof(HostName));
        Require(UserName, nameof(UserName));

        var configuration = new XElement(s_wa + "LinuxProvisioningConfigurationSet",
            new XElement(s_wa + "ConfigurationSetType", "LinuxProvisioningConfiguration"),
            new XElement(s_wa + "HostName", HostName),
            new XElement(s_wa + "UserName", UserName),
            UserPassword is null ? null : new XElement(s_wa + "UserPassword", UserPassword),
            new XElement(s_wa + "DisableSshPasswordAuthentication", DisableSshPasswordAuthentication ? "true" : "false"),
            SshPublicKeys.Count == 0 ? null : new XElement(s_wa + "SSH",
                new XElement(s_wa + "PublicKeys", SshPublicKeys.Select(key => new XElement(s_wa + "PublicKey",
                    new XElement(s_wa + "Path", $"/home/{UserName}/.ssh/authorized_keys"),
                    new XElement(s_wa + "Value", key))))),
            CustomData is { } data ? new XElement(s_wa + "CustomData", Convert.ToBase64String(data.Span)) : null);

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

        using var bytes = new MemoryStream();
        try
        {
            // Entitized line ends: a reader would turn a literal carriage return of a password into a line feed.
            var settings = new XmlWriterSettings
            {
                Encoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false),
                Indent = true,
                NewLineChars = "\n",
                NewLineHandling = NewLineHandling.Entitize,
            };
            using var writer = XmlWriter.Create(bytes, settings);
            document.Save(writer);
        }
        catch (Exception e) when (e is ArgumentException or XmlException)
        {
            throw new ArchAzureException("InvalidOvfValue", ErrorKind.InvalidInput,
                $"A value for ovf-env.xml cannot be written: {e.Message} XML 1.0 has no way to carry such a character; choose another name or password.",
                HostName, e);
        }

        return bytes.ToArray();
    }

    /// <summary>Reads a document of the same shape.</summary>
    /// <param name="xml">The document's bytes.</param>
    /// <exception cref="ArchAzureException">It is not XML, or not Azure's shape.</exception>
    public static OvfEnvironment Parse(ReadOnlySpan<byte> xml)
    {
        XDocument document;
        try
        {
            using var stream = new MemoryStream(xml.ToArray(), writable: false);
            using var reader = XmlReader.Create(stream, new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit });
            document = XDocument.Load(reader);
        }
        catch (XmlException e)
        {
            throw new ArchAzureException("InvalidOvf", ErrorKind.InvalidData,
                $"{FileName} is not well-formed XML: {e.Message} Write it again with Azure's schema.", FileName, e);
        }

        var root = document.Root is { } r && r.Name == s_ovf + "Environment" ? r : throw Missing("Environment");
        var set = (root.Element(s_wa + "ProvisioningSection") ?? throw Missing("ProvisioningSection"))
            .Element(s_wa + "LinuxProvisioningConfigurationSet") ?? throw Missing("LinuxProvisioningConfigurationSet");
        var custom = set.Element(s_wa + "CustomData")?.Value;
        byte[]? customBytes;
        try
        {
            customBytes = custom is null ? null : Convert.FromBase64String(custom);
        }
        catch (FormatException e)
        {
            throw new ArchAzureException("InvalidOvf", ErrorKind.InvalidData,
                $"CustomData in {FileName} is not base64: {e.Message}", FileName, e);
        }

        return new OvfEnvironment(
            set.Element(s_wa + "HostName")?.Value ?? throw Missing("HostName"),
            set.Element(s_wa + "UserName")?.Value ?? throw Missing("UserName"))
        {
            UserPassword = set.Element(s_wa + "UserPassword")?.Value,
            DisableSshPasswordAuthentication = string.Equals(
                set.Element(s_wa + "DisableSshPasswordAuthentication")?.Value, "true", StringComparison.OrdinalIgnoreCase),
            SshPublicKeys = set.Elements(s_wa + "SSH").Elements(s_wa + "PublicKeys").Elements(s_wa + "PublicKey")
                .Select(key => key.Element(s_wa + "Value")?.Value ?? "").Where(key => key.Length > 0).ToArray(),
            CustomData = customBytes is null ? default(ReadOnlyMemory<byte>?) : customBytes,
        };
    }

    private static void Require(string value, string name)
    {
        if (string.IsNullOrWhiteSpace(value))
        {
            throw new ArchAzureException("InvalidOvfValue", ErrorKind.InvalidInput,
                string.Create(CultureInfo.InvariantCulture, $"{name} of the simulated machine is empty; Azure always gives one."), name);
        }
    }

    private static ArchAzureException Missing(string element) => new("InvalidOvf", ErrorKind.InvalidData,
        $"{FileName} has no element {element} where Azure's schema wants it.", FileName);
}
