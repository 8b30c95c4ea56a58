using ArchAzure.Disks;

namespace ArchAzure.Readiness.Rules;

/// <summary>The partitions that firmware and loader need have their types, and there is one root.</summary>
internal sealed class PartitionLayout : ReadinessRule
{
    public override string Wanted => "a BIOS boot partition (generation 1), one EFI system partition (generation 2), one root";

    public override string Source => Sources.AzureLinuxImage + "; " + Sources.AzureGeneration2;

    public override Finding Check(CheckedDisk disk)
    {
        var partitions = disk.PartitionTable.Partitions;
        var missing = new List<string>();
        if (disk.Options.Generation is not 2 && !partitions.Any(partition => partition.Type == PartitionTypes.BiosBoot))
        {
            missing.Add("no BIOS boot partition");
        }

        var efiSystems = partitions.Count(partition => partition.Type == PartitionTypes.EfiSystem);
        if (disk.Options.Generation is not 1 && efiSystems != 1)
        {
            missing.Add($"{efiSystems} EFI system partitions");
        }

        var roots = disk.RootCandidates().Count;
        if (roots != 1)
        {
            missing.Add($"{roots} partitions that could be the root");
        }

        var found = string.Join(", ", partitions.Select(partition => $"{partition.Number}: {PartitionTypes.Describe(partition.Type)}"));
        return missing.Count == 0
            ? Pass(found)
            : Fail($"{string.Join(", ", missing)} ({found})", "Partition the disk again: ef02, ef00 and 8304 are the types for sgdisk.");
    }
}
