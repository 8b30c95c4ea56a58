using ArchAzure.Disks;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// No swap on the OS disk, which is remote storage with limited requests; the agent makes swap on the resource disk if asked.
/// </summary>
internal sealed class NoSwap : ReadinessRule
{
    public override string Wanted => "no swap partition, no swap in fstab";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk)
    {
        var swap = disk.PartitionTable.Partitions
            .Where(partition => partition.Type == PartitionTypes.LinuxSwap || disk.Identify(partition).Kind == FileSystemKind.Swap)
            .Select(partition => $"partition {partition.Number} is swap")
            .ToList();
        swap.AddRange(disk.Fstab.Where(entry => entry.Type == "swap").Select(entry => $"{entry.Source} is swap in /etc/fstab"));
        swap.AddRange(Glob.Expand(disk.Root, "/etc/systemd/system/*.swap").Select(path => $"{path} is a swap unit"));
        return PassIfNone(swap, "no swap", "Remove it; set ResourceDisk.EnableSwap in waagent.conf for swap on the resource disk.");
    }
}
