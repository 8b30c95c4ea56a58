using ArchAzure.Disks;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>Finds a partition by the ways in which fstab and the kernel name one.</summary>
internal static class Identifiers
{
    private static readonly (string Prefix, string Tag)[] s_links =
    [
        ("/dev/disk/by-uuid/", "UUID"), ("/dev/disk/by-label/", "LABEL"), ("/dev/disk/by-partuuid/", "PARTUUID"),
        ("/dev/disk/by-partlabel/", "PARTLABEL"),
    ];

    /// <summary>Whether it is a name that stays the same whatever disk comes first.</summary>
    public static bool IsStable(string name) => Tagged(name) is not null;

    /// <summary>The partition that is meant, or null if the image has none such (or the name is no stable one).</summary>
    public static DiskPartition? Resolve(CheckedDisk disk, string name)
    {
        if (Tagged(name) is not var (tag, value))
        {
            return null;
        }

        disk.Budget.Spend(ReadCost.Lookups, disk.PartitionTable.Partitions.Count);

        // udev makes links of these names, so letters count as they are written; it writes the GUIDs in lower case.
        return disk.PartitionTable.Partitions.FirstOrDefault(partition => tag switch
        {
            "UUID" => disk.Identify(partition).Uuid == value,
            "LABEL" => disk.Identify(partition).Label == value,
            "PARTUUID" => partition.Uuid.Equals(value, StringComparison.OrdinalIgnoreCase),
            _ => partition.Name == value,
        });
    }

    private static (string Tag, string Value)? Tagged(string name)
    {
        foreach (var (prefix, tag) in s_links)
        {
            if (name.StartsWith(prefix, StringComparison.Ordinal))
            {
                return (tag, name[prefix.Length..]);
            }

            if (name.StartsWith(tag + "=", StringComparison.Ordinal))
            {
                return (tag, name[(tag.Length + 1)..].Trim('"'));
            }
        }

        return null;
    }
}
