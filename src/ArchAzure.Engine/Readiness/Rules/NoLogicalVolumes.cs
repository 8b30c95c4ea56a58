using ArchAzure.Disks;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>No LVM: its names clash when the disk is attached to another machine for repair.</summary>
internal sealed class NoLogicalVolumes : ReadinessRule
{
    public override string Wanted => "no LVM on the OS disk";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk) => PassIfNone(
        [.. disk.PartitionTable.Partitions
            .Where(partition => partition.Type == PartitionTypes.LinuxLvm || disk.Identify(partition).Kind == FileSystemKind.Lvm)
            .Select(partition => $"partition {partition.Number} is for LVM")],
        "no LVM",
        "Put the root file system onto a partition of its own.");
}
