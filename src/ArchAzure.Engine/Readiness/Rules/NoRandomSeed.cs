using ArchAzure.Disks;

namespace ArchAzure.Readiness.Rules;

/// <summary>No stored random seed: machines that start from the same one can make the same keys.</summary>
internal sealed class NoRandomSeed : ReadinessRule
{
    public override string Wanted => "no random seed";

    public override string Source => Sources.BuildingImages + "; systemd-random-seed.service(8)";

    public override Finding Check(CheckedDisk disk)
    {
        string[] patterns =
        [
            "/var/lib/systemd/random-seed", "/var/lib/urandom/random-seed", "/var/lib/random-seed", "/boot/loader/random-seed",
        ];
        var found = patterns.SelectMany(pattern => Glob.Expand(disk.Root, pattern)).ToList();

        // systemd-boot keeps its own on the EFI system partition.
        if (disk.PartitionTable.Partitions.Any(partition => partition.Type == PartitionTypes.EfiSystem))
        {
            found.AddRange(Glob.Expand(disk.EfiSystem, "/loader/random-seed").Select(path => $"{path} of the EFI system partition"));
        }

        return PassIfNone(found, "none", "Remove it.");
    }
}
