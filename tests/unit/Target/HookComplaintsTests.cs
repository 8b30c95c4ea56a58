using ArchAzure.Target;

namespace ArchAzure.UnitTests.Target;

/// <summary>By what pacman 7.1 and mkinitcpio v41 print.</summary>
public sealed class HookComplaintsTests
{
    [Fact]
    public void Output_of_a_good_run_gives_no_warning() => Assert.Empty(Warnings(
        ":: Synchronizing package databases...", "warning: sudo-1.9.17p2-1 is up to date -- skipping", ":: Processing package changes...",
        "installing libgpg-error0...", ":: Running post-transaction hooks...", "(1/2) Creating system user accounts...",
        "Group nogroup not found.", "(2/2) Updating linux initcpios...",
        "==> Building image from preset: /etc/mkinitcpio.d/linux.preset: 'default'", "  -> Running build hook: [base]",
        "==> Initcpio image generation successful"));

    [Fact]
    public void A_failed_initramfs_is_told_with_its_lines_what_they_mean_and_the_log()
    {
        var warning = Assert.Single(Warnings(
            ":: Running post-transaction hooks...", "(5/5) Updating linux initcpios...",
            "==> Building image from preset: /etc/mkinitcpio.d/linux.preset: 'default'", "==> ERROR: module not found: 'no_such_module'",
            "==> ERROR: Hook 'no-such-hook' cannot be found", "==> ERROR: file not found: '/etc/udev/hwdb.bin'",
            "==> WARNING: errors were encountered during the build. The image may not be complete.",
            "error: command failed to execute correctly"));
        Assert.StartsWith("The hook 'Updating linux initcpios' complained", warning, StringComparison.Ordinal);
        string[] parts =
        [
            "\n    ==> ERROR: module not found: 'no_such_module'\n", "correct MODULES", "correct HOOKS", "hardware database",
            "nothing needs to be done", "Test-AzureVhd",
            "\n    error: command failed to execute correctly\n", "may be missing", "'/work/logs/3.log'",
        ];
        Assert.All(parts, part => Assert.Contains(part, warning, StringComparison.Ordinal));

        // hwdb.bin is a file that is not found too, with a meaning of its own.
        Assert.DoesNotContain("goes without that file", warning, StringComparison.Ordinal);
    }

    /// <summary>A good build of Arch.</summary>
    [Fact]
    public void What_is_harmless_alone_gives_no_warning() => Assert.Empty(Warnings(
        "(1/1) Updating linux initcpios...", "==> ERROR: file not found: '/etc/udev/hwdb.bin'",
        "==> WARNING: Possibly missing firmware for module: 'aic94xx'",
        "==> WARNING: errors were encountered during the build. The image may not be complete.",
        "error: command failed to execute correctly"));

    [Theory]
    [InlineData("error: command failed to execute correctly")]
    [InlineData("==> WARNING: errors were encountered during the build. The image may not be complete.")]
    [InlineData("==> ERROR: what nobody knows")]
    public void A_failure_without_a_harmless_cause_is_told(string line) =>
        Assert.Single(Warnings("(1/1) Updating linux initcpios...", line));

    [Fact]
    public void Drivers_without_firmware_are_one_line()
    {
        var warning = Assert.Single(Warnings(
            [
                "(1/1) Updating linux initcpios...", "==> ERROR: module not found: 'x'",
                .. Enumerable.Range(1, 60).Select(i => $"==> WARNING: Possibly missing firmware for module: 'driver{i}'"),
            ]));
        Assert.Contains(
            "\n    ==> WARNING: Possibly missing firmware for module: 'driver1', 'driver2', ", warning, StringComparison.Ordinal);
        Assert.Contains(" and 52 more\n", warning, StringComparison.Ordinal);
        Assert.Contains("No machine of Azure has such devices", warning, StringComparison.Ordinal);
        Assert.Equal(4, warning.Split('\n').Length);
    }

    [Fact]
    public void Each_hook_and_script_has_a_warning_of_its_own_and_says_a_thing_once()
    {
        var warnings = Warnings(
            "warning: could not get file information for usr/share/x", "installing broken...", "error: command failed to execute correctly",
            "installing other...", "(1/2) Creating temporary files...", "error: command terminated by signal 9: Killed",
            "(2/2) Updating linux initcpios...", "==> ERROR: binary not found: 'fsck.xfs'", "==> ERROR: binary not found: 'fsck.xfs'");
        Assert.Equal(4, warnings.Count);
        Assert.StartsWith("pacman complained", warnings[0], StringComparison.Ordinal);
        Assert.StartsWith("The script of the package 'broken' complained", warnings[1], StringComparison.Ordinal);
        Assert.StartsWith("The hook 'Creating temporary files' complained", warnings[2], StringComparison.Ordinal);
        Assert.Equal(2, warnings[3].Split("binary not found").Length);
        Assert.Contains("add the package that brings it", warnings[3], StringComparison.Ordinal);
    }

    [Fact]
    public void Many_lines_are_cut()
    {
        var warning = Assert.Single(Warnings([.. Enumerable.Range(1, 100).Select(i => $"error: number {i}")]));
        Assert.Contains("\n    error: number 7\n    (93 more)\n", warning, StringComparison.Ordinal);
    }

    private static List<string> Warnings(params string[] lines)
    {
        var complaints = new HookComplaints("pacman");
        foreach (var line in lines)
        {
            complaints.Add(line);
        }

        return [.. complaints.Warnings("/work/logs/3.log")];
    }
}
