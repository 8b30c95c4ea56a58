using System.Text.RegularExpressions;
using ArchAzure.Builds;
using ArchAzure.Disks;

namespace ArchAzure.BootTests;

/// <summary>The shared image starts under both firmwares, without a simulated Azure around it, up to the login prompt.</summary>
public sealed partial class LoginPromptTests
{
    // Without KVM it takes 35 s on two idle cores.
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(8);

    // A unit that fails may do so after the prompt is there; nothing tells that none will.
    private static readonly TimeSpan Settling = TimeSpan.FromSeconds(15);

    [Theory]
    [InlineData(Generation.Bios, 0)]
    [InlineData(Generation.Uefi, 4096)]
    [Trait("Speed", "slow")]
    public async Task Starts_to_the_login_prompt_without_a_failed_unit(Generation generation, long extraMiB)
    {
        var build = SharedBuild();
        var vhd = build.VhdPath!;
        var before = new FileInfo(vhd);
        var (length, written) = (before.Length, before.LastWriteTimeUtc);
        await using var machine = await Machine.StartAsync(vhd, generation, extraMiB);
        await machine.WaitForAsync(Login(), BootLimit);
        if (extraMiB > 0)
        {
            await machine.WaitForAsync(Resized(), BootLimit);
        }

        await Task.Delay(Settling);
        var serial = machine.Serial;
        var commandLine = Assert.Single(serial.Split('\n').Where(line => line.Contains("] Command line: ", StringComparison.Ordinal)).Distinct(StringComparer.Ordinal)).Split(' ');
        Assert.Contains($"root=UUID={build.Disk!.RootUuid}", commandLine);
        foreach (var word in new[] { "console=ttyS0,115200n8", "earlyprintk=ttyS0,115200", "rootdelay=300", "net.ifnames=0" })
        {
            Assert.Contains(word, commandLine);
        }

        Assert.Matches(@"EXT4-fs \(sda3\): mounted filesystem", serial);
        Assert.Matches(@"\[  OK  \] (Started|Finished|Reached)", serial);
        Assert.DoesNotContain(serial.Split('\n'), line => line.Contains("[FAILED]", StringComparison.Ordinal) || line.Contains("[DEPEND]", StringComparison.Ordinal));
        Assert.DoesNotContain("Kernel panic", serial, StringComparison.Ordinal);
        Assert.DoesNotContain("emergency mode", serial, StringComparison.OrdinalIgnoreCase);

        await machine.StopAsync();
        if (extraMiB > 0)
        {
            await AssertGrownAsync(machine, build, serial, extraMiB);
        }

        var after = new FileInfo(vhd);
        Assert.Equal((length, written), (after.Length, after.LastWriteTimeUtc));
    }

    private static async Task AssertGrownAsync(Machine machine, ArchBuild build, string serial, long extraMiB)
    {
        var root = build.Disk!.Partitions[PartitionPlan.Root];
        var blocks = long.Parse(Resized().Match(serial).Groups[1].ValueSpan);

        // The image ends a MiB behind its root partition; the larger disk is used up to its backup GPT.
        Assert.InRange(blocks * 4096, root.Length + (extraMiB << 20), root.Length + ((extraMiB + 1) << 20));

        // The partition table as the guest left it.
        var raw = Path.Combine(machine.Folder, "disk.raw");
        await Machine.RunAsync("qemu-img", "convert", "-O", "raw", machine.Overlay, raw);
        Assert.Contains("No problems found", await Machine.RunAsync("sgdisk", "--verify", raw), StringComparison.Ordinal);
        var information = await Machine.RunAsync("sgdisk", "--info=3", raw);
        Assert.Contains($"Partition unique GUID: {root.PartitionGuid}", information, StringComparison.OrdinalIgnoreCase);
        var sectors = long.Parse(PartitionSize().Match(information).Groups[1].ValueSpan);
        Assert.InRange(sectors * 512, blocks * 4096, root.Length + ((extraMiB + 1) << 20));
    }

    private static ArchBuild SharedBuild()
    {
        const string variable = "ARCHAZURE_IMAGE_WORKDIR";
        var path = Environment.GetEnvironmentVariable(variable);
        Assert.True(!string.IsNullOrEmpty(path), $"{variable} is not set. It names a work directory in which 'build.sh --stand-in' has made an image; run the tests with test.sh.");
        var build = BuildStore.Load(new WorkDirectory(path));
        Assert.True(build.LastGoodStep == 5, $"The build in '{path}' is not complete ({build.Status}).");
        return build;
    }

    [GeneratedRegex(@"^archlinux login: *\z", RegexOptions.Multiline, 5000)]
    private static partial Regex Login();

    [GeneratedRegex(@"EXT4-fs \(sda3\): resized filesystem to (\d+)", RegexOptions.None, 5000)]
    private static partial Regex Resized();

    [GeneratedRegex(@"Partition size: (\d+) sectors", RegexOptions.None, 5000)]
    private static partial Regex PartitionSize();
}
