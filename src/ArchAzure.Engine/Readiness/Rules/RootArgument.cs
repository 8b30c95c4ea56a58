using ArchAzure.Disks;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The kernel is told its root by an identifier that the disk really has: names like /dev/sda1 change between boots and generations.
/// </summary>
internal sealed class RootArgument : ReadinessRule
{
    public override string Wanted => "root=UUID=… (or PARTUUID, LABEL) of the root partition";

    public override string Source => Sources.AzureLinuxImage + "; kernel-command-line(7), systemd-gpt-auto-generator(8)";

    public override Finding Check(CheckedDisk disk)
    {
        var root = disk.Boot.Value("root");
        if (root is null or "gpt-auto")
        {
            // systemd finds it by its type, if the loader has told which disk it is.
            return disk.Boot.Loader is BootLoader.Entries or BootLoader.UnifiedKernel
                && disk.RootTree.Partition.Type == PartitionTypes.LinuxRootX64
                ? Pass($"none: systemd finds partition {disk.RootTree.Partition.Number} by its type")
                : Fail($"no root= in {disk.Boot.ConfigurationPath}", "Give the kernel root=UUID=… of the root file system.");
        }

        return Identifiers.Resolve(disk, root) is null
            ? Fail(
                $"root={root} is on no partition, the root is {disk.RootTree.Name}",
                $"Give the kernel root=UUID={disk.Identify(disk.RootTree.Partition).Uuid}.")
            : Pass($"root={root}");
    }
}
