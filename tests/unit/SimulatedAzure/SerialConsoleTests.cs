using ArchAzure.SimulatedAzure;
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

    /// <summary>The serial port of a busy emulator loses characters, and with them lines.</summary>
    [Theory]
    [InlineData(":: running early hook [udev]\r\n")]
    [InlineData(":: performing fsck on '/dev/sda3'\r\n")]
    [InlineData(":: mounting 'UUID=1' on real root\r\n")]
    [InlineData("Loading, please wait...\r\n")]
    public void AnyLineOfTheInitramfsShowsThatItRuns(string line)
    {
        var console = new SerialConsole();
        console.Take("[    8.913892] ata1.00ched SCSI disk\r\n" + line);
        Assert.Contains(BootStage.Initramfs, console.Stages.Keys);
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
}
