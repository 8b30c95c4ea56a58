using ArchAzure.Disks;

namespace ArchAzure.Readiness.Rules;

/// <summary>The partitions that firmware and loader need have their types, and there is one root.</summary>
internal sealed class PartitionLayout : ReadinessRule
{
    public override string Wanted => "a BIOS boot partition (generation 1), one EFI system partition (generation 2), a root";

    public override string Source => Sources.AzureLinuxImage + "; " + Sources.AzureGeneration2;

    public override Finding Check(CheckedDisk disk)
    {
        var partitions = disk.PartitionTable.Partitions;
        var missing = new List<string>();
        if (disk.Options.Generation is not 2 && disk.PartitionTable is GuidPartitionTable
            && !partitions.Any(partition => partition.Type == PartitionTypes.BiosBoot))
        {
            missing.Add("no BIOS boot partition");
        }

        var efiSystems = partitions.Count(partition => partition.Type == PartitionTypes.EfiSystem);
        if (disk.Options.Generation is not 1 && efiSystems != 1)
        {
            missing.Add($"{efiSystems} EFI system partitions");
        }

        // Which one it is, others see by evidence; without one there is nothing to look for.
        if (disk.RootCandidates().Count == 0)
        {
            missing.Add("no partition that could be the root");
        }

        var found = string.Join(", ", partitions.Select(partition => $"{partition.Number}: {PartitionTypes.Describe(partition.Type)}"));
        return missing.Count == 0
            ? Pass(found)
            : Fail($"{string.Join(", ", missing)} ({found})", "Partition the disk again: ef02, ef00 and 8304 are the types for sgdisk.");
    }
}
