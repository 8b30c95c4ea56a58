using System.Text;
using ArchAzure.SimulatedAzure;
using CsCheck;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Fuzz;

public sealed class ProvisioningFuzzTests(ITestOutputHelper output)
{
    private static readonly byte[] s_sample = new OvfEnvironment("web1", "azureuser")
    {
        UserPassword = "p<&>\"'w",
        DisableSshPasswordAuthentication = false,
        SshPublicKeys = ["ssh-ed25519 AAAA me@here", "ssh-rsa BBBB"],
        CustomData = "#!/bin/sh\n"u8.ToArray(),
    }.ToXml();

    private static readonly string[] s_words =
    [
        "<wa:HostName>", "</wa:HostName>", "<wa:UserName/>", "<wa:CustomData>", "<![CDATA[", "]]>", "<!--", "-->", "<?xml version=\"1.0\" encoding=\"utf-7\"?>", "encoding=\"utf-16\"", "encoding=\"x\"",
        "encoding=\"ucs-4\"", "standalone=\"maybe\"", "<!DOCTYPE a [<!ENTITY b \"c\">]>", "&b;", "&#1114112;", "&#x1;", "xmlns:wa=\"\"", "xmlns=\"x\"", "=", "\ufeff", "\ufffe",
    ];

    [Fact]
    public void An_ovf_environment_is_read_or_refused() =>
        Mutations.Of([s_sample], s_words).Run(
            output,
            bytes =>
            {
                var read = OvfEnvironment.Parse(bytes);
                if (!string.IsNullOrWhiteSpace(read.HostName) && !string.IsNullOrWhiteSpace(read.UserName))
                {
                    AssertSame(read, OvfEnvironment.Parse(read.ToXml()));
                }
            },
            count: 8000);

    [Fact]
    public void What_is_written_is_read_back_or_refused() =>
        Gen.Select(Awkward.Text, Awkward.Text, Awkward.Text, Awkward.Text.Array[0, 3]).Run(
            output,
            values =>
            {
                var (host, user, password, keys) = values;
                var written = new OvfEnvironment(host, user) { UserPassword = password, SshPublicKeys = keys.Where(key => key.Length > 0).ToArray(), CustomData = Encoding.UTF8.GetBytes(password) };
                AssertSame(written, OvfEnvironment.Parse(written.ToXml()));
            },
            count: 3000);

    [Fact]
    public void What_the_guest_shows_is_read_whatever_it_is() =>
        Mutations.OfText(["\n@@host\nweb1\n\n@@user\nazureuser\n\n@@groups\na b\n\n@@rootsize\n123\n\n@@mounts\n/ /dev/sda3 ext4\n/boot /dev/sda2 vfat\n"], "@@", "@@host\n", "\n", "\r").Run(
            output,
            text => Assert.NotNull(GuestFacts.Parse(text).Groups),
            count: 10000);

    [Fact]
    public void The_serial_console_takes_anything() =>
        Mutations.OfText(
            ["[    0.000000] Linux version 6.1\r\n\u001b[0;32mRun /init as init process\u001b[0m\r\nsystemd[1]: systemd 260 running in system mode\r\nweb1 login: "],
            "\u001b[", "\u001b", "Kernel panic - not syncing", "\n", " login: ", new string('x', 5000)).Run(
            output,
            text =>
            {
                var console = new SerialConsole();
                for (var at = 0; at < text.Length; at += 97)
                {
                    console.Take(text.Substring(at, Math.Min(97, text.Length - at)));
                }

                Assert.All(console.LastLines(400), line => Assert.True(line.Length <= 4096));
            },
            count: 2000,
            memory: 64 << 20);

    private static void AssertSame(OvfEnvironment expected, OvfEnvironment actual)
    {
        Assert.Equal((expected.HostName, expected.UserName, expected.UserPassword, expected.DisableSshPasswordAuthentication), (actual.HostName, actual.UserName, actual.UserPassword, actual.DisableSshPasswordAuthentication));
        Assert.Equal(expected.SshPublicKeys, actual.SshPublicKeys);
        Assert.Equal(expected.CustomData?.ToArray(), actual.CustomData?.ToArray());
    }
}
