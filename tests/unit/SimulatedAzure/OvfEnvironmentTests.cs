using System.Text;
using System.Xml.Linq;
using ArchAzure.SimulatedAzure;
using CsCheck;
using Xunit;

namespace ArchAzure.UnitTests.SimulatedAzure;

public sealed class OvfEnvironmentTests
{
    [Fact]
    public void HasAzuresShape()
    {
        var xml = new OvfEnvironment("web1", "azureuser")
        {
            UserPassword = "p<&>\"'w",
            DisableSshPasswordAuthentication = false,
            SshPublicKeys = ["ssh-ed25519 AAAA me@here"],
            CustomData = Encoding.UTF8.GetBytes("#!/bin/sh\n"),
        }.ToXml();

        var root = XDocument.Parse(Encoding.UTF8.GetString(xml)).Root!;
        XNamespace wa = "http://schemas.microsoft.com/windowsazure";
        Assert.Equal("{http://schemas.dmtf.org/ovf/environment/1}Environment", root.Name.ToString());
        var section = root.Element(wa + "ProvisioningSection")!;
        Assert.Equal("1.0", section.Element(wa + "Version")!.Value);
        var set = section.Element(wa + "LinuxProvisioningConfigurationSet")!;
        Assert.Equal("web1", set.Element(wa + "HostName")!.Value);
        Assert.Equal("azureuser", set.Element(wa + "UserName")!.Value);
        Assert.Equal("p<&>\"'w", set.Element(wa + "UserPassword")!.Value);
        Assert.Equal("false", set.Element(wa + "DisableSshPasswordAuthentication")!.Value);
        var key = set.Element(wa + "SSH")!.Element(wa + "PublicKeys")!.Element(wa + "PublicKey")!;
        Assert.Equal("/home/azureuser/.ssh/authorized_keys", key.Element(wa + "Path")!.Value);
        Assert.Equal("ssh-ed25519 AAAA me@here", key.Element(wa + "Value")!.Value);
        Assert.Equal("IyEvYmluL3NoCg==", set.Element(wa + "CustomData")!.Value);
        Assert.NotNull(root.Element(wa + "PlatformSettingsSection")!.Element(wa + "PlatformSettings")!.Element(wa + "ProvisionGuestAgent"));
    }

    [Fact]
    public void LeavesOutThePasswordWhereThereIsNone() =>
        Assert.DoesNotContain("UserPassword", Encoding.UTF8.GetString(new OvfEnvironment("h", "u").ToXml()), StringComparison.Ordinal);

    [Fact]
    public void RoundTripsAnyLegalText()
    {
        var text = Gen.String[Gen.Char.Where(c => System.Xml.XmlConvert.IsXmlChar(c)), 1, 40].Where(s => !string.IsNullOrWhiteSpace(s));
        Gen.Select(text, text, text.Null(), Gen.Byte.Array[0, 100].Null(), Gen.Bool).Sample((host, user, password, data, disable) =>
        {
            var written = new OvfEnvironment(host, user)
            {
                UserPassword = password,
                CustomData = data is null ? default(ReadOnlyMemory<byte>?) : data,
                DisableSshPasswordAuthentication = disable,
            };
            var read = OvfEnvironment.Parse(written.ToXml());
            Assert.Equal((host, user, password, disable), (read.HostName, read.UserName, read.UserPassword, read.DisableSshPasswordAuthentication));
            Assert.Equal(data, read.CustomData?.ToArray());
        });
    }

    [Fact]
    public void RefusesWhatXmlCannotCarry()
    {
        var error = Assert.Throws<ArchAzureException>(() => new OvfEnvironment("h", "u") { UserPassword = "a\u0001" }.ToXml());
        Assert.Equal("InvalidOvfValue", error.ErrorId);
        Assert.DoesNotContain("a\u0001", error.Message, StringComparison.Ordinal);
        Assert.Throws<ArchAzureException>(() => new OvfEnvironment("", "u").ToXml());
    }

    [Theory]
    [InlineData("")]
    [InlineData("<a>")]
    [InlineData("<a/>")]
    [InlineData("<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>")]
    [InlineData("<Environment xmlns='http://schemas.dmtf.org/ovf/environment/1'/>")]
    public void ReaderNamesWhatIsWrong(string xml)
    {
        var error = Assert.Throws<ArchAzureException>(() => OvfEnvironment.Parse(Encoding.UTF8.GetBytes(xml)));
        Assert.Equal("InvalidOvf", error.ErrorId);
    }
}
