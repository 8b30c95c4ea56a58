using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>Guests that go nowhere any more are not waited for; the report says why.</summary>
public sealed class DeadGuestTests(ITestOutputHelper output) : AzureTest(output)
{
    [Fact]
    [Trait("Speed", "slow")]
    public async Task A_kernel_that_panics()
    {
        using var folder = new TempFolder();

        // Process 1 ends at once.
        var vhd = await TestImage.WithoutAsync(folder, "rm /usr/lib/systemd/systemd", "ln /usr/bin/true /usr/lib/systemd/systemd");
        var report = await BootAsync(new MachineTestOptions(vhd, 1) { LogDirectory = Logs(), Timeout = Limit });
        Assert.False(report.Passed);
        Assert.Equal("GuestDied", report.ErrorId);
        Assert.Contains("the kernel panicked", report.Error, StringComparison.Ordinal);

        // Not one line of them for certain: the serial port of a busy emulator loses some.
        const string lastWords = @"Kernel panic|Attempted to kill init!|do_group_exit|x64_sys_call|do_syscall_64";
        Assert.Matches(lastWords, report.Error);
        Assert.Matches(lastWords, string.Join('\n', report.LastSerialLines));
        Assert.Contains(report.Timeline, milestone => milestone.Name == "Initramfs");
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task An_initramfs_that_does_not_find_the_root()
    {
        const string grub = "/boot/grub/grub.cfg";
        const string missing = "01234567-89ab-cdef-0123-456789abcdef";
        using var folder = new TempFolder();

        // Azure's delay is what it waits for the root before it gives up.
        var configuration = (await TestImage.ReadAsync(grub))
            .Replace($"root=UUID={TestImage.Build.Disk!.RootUuid}", $"root=UUID={missing}", StringComparison.Ordinal)
            .Replace("rootdelay=300", "rootdelay=5", StringComparison.Ordinal);
        var vhd = await TestImage.WithoutAsync(folder, $"rm {grub}", $"write {folder.Write("grub.cfg", configuration)} {grub}");
        var report = await BootAsync(new MachineTestOptions(vhd, 2) { LogDirectory = Logs(), Timeout = Limit });
        Assert.False(report.Passed);
        Assert.Equal("GuestDied", report.ErrorId);
        Assert.Contains("the initramfs did not find or mount the root file system", report.Error, StringComparison.Ordinal);
        Assert.Contains(missing, report.Error, StringComparison.Ordinal);
    }
}
