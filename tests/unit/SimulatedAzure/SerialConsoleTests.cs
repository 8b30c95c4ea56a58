using System.Text;
using ArchAzure.SimulatedAzure;
using CsCheck;
using Xunit;

namespace ArchAzure.UnitTests.SimulatedAzure;

public sealed class SerialConsoleTests
{
    [Fact]
    public void StagesAreSeenThroughControlSequences()
    {
        var console = new SerialConsole();
        console.Take("\u001b[2J\u001b[01;01H[    0.000000] Linux version 6.1.0 (a@b)\r\n");
        console.Take("[    1.0] Run /init as init process\r\n[    2.0] systemd[1]: systemd 252 running in system mode (+PAM)\r\n");
        Assert.DoesNotContain(BootStage.LoginPrompt, console.Stages.Keys);
        console.Take("\u001b[0;32mhost\u001b[0m lo");
        console.Take("gin: ");
        Assert.Equal(Enum.GetValues<BootStage>(), console.Stages.Keys.Order());
        Assert.Equal("[    0.000000] Linux version 6.1.0 (a@b)", console.LastLines(10)[0]);
        Assert.Equal("host login: ", console.LastLines(1)[0]);
        Assert.False(console.Dead.IsCompleted);
    }

    [Theory]
    [InlineData("[ 1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n", "panicked")]
    [InlineData("grub rescue> ", "GRUB")]
    [InlineData("You are in emergency mode. After logging in, type\r\n", "emergency")]
    [InlineData("Cannot open access to console, the root account is locked.\r\n", "emergency")]
    [InlineData("\r\nBusyBox v1.35.0 (Debian 1:1.35.0-4+deb12u1+b1) built-in shell (ash)\r\n", "root file system")]
    [InlineData("ERROR: Failed to mount\r\nYou are now being dropped into an emergency shell.\r\n", "root file system")]
    [InlineData("UEFI Interactive Shell v2.2\r\n", "firmware")]
    [InlineData("BdsDxe: No bootable option or device was found.\r\n", "firmware")]
    public async Task DeadEndsAreSeenAtOnce(string text, string meaning)
    {
        var console = new SerialConsole();
        console.Take("some line\r\n" + text);
        Assert.Contains(meaning, await console.Dead.WaitAsync(TimeSpan.FromSeconds(5)), StringComparison.Ordinal);
    }

    [Fact]
    public void NoOutputIsTooLong() =>
        Gen.Byte.Array[0, 20000].Sample(
            bytes =>
            {
                var console = new SerialConsole();
                console.Take(Encoding.Latin1.GetString(bytes));
                Assert.All(console.LastLines(1000), line => Assert.True(line.Length <= 4096));
            },
            iter: 50);

    [Fact]
    public async Task EveryByteIsLogged()
    {
        var bytes = Encoding.Latin1.GetBytes("a\u001b[1mb\r\nüx");
        using var log = new MemoryStream();
        await new SerialConsole().ReadAsync(new MemoryStream(bytes), log, CancellationToken.None);
        Assert.Equal(bytes, log.ToArray());
    }

    [Fact]
    public void FactsAreReadBySection()
    {
        var facts = GuestFacts.Parse("""

            @@host
            web1

            @@user
            azureuser

            @@groups
            azureuser wheel
            @@sudo
            yes
            @@root
            /dev/sda3 ext4 rw,relatime
            @@rootsize
            1479102464
            @@failed
            a.service
            b.service
            @@state
            degraded
            @@cmdline
            root=UUID=1 ro
            """);
        Assert.Equal(("web1", "azureuser", true, 1479102464L, 0L), (facts.HostName, facts.UserName, facts.PasswordlessSudo, facts.RootBytes, facts.DiskBytes));
        Assert.Equal(["azureuser", "wheel"], facts.Groups);
        Assert.Equal(["a.service", "b.service"], facts.FailedUnits);
        Assert.Equal("root=UUID=1 ro", facts.CommandLine);
        Assert.Equal("", facts.AgentVersion);
    }

    [Fact]
    public void KeyPairsAreFreshAndOpenSshs()
    {
        var (first, second) = (SshKeyPair.Create("me"), SshKeyPair.Create("me"));
        Assert.NotEqual(first.PublicKey, second.PublicKey);
        Assert.Matches("^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43} me$", first.PublicKey);
        Assert.StartsWith("-----BEGIN OPENSSH PRIVATE KEY-----\n", Encoding.ASCII.GetString(first.ToOpenSshFile()), StringComparison.Ordinal);
        using var stream = new MemoryStream(first.ToOpenSshFile());
        using var file = new Renci.SshNet.PrivateKeyFile(stream);
        Assert.Equal("ssh-ed25519", file.HostKeyAlgorithms.First().Name);
    }
}
