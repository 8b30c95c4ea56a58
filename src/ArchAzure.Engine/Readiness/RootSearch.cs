using ArchAzure.Disks;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>
/// Finds the tree that a running machine would have as its root, by evidence: what the boot loader says, what fstab says, the partition's
/// type, and where a system is installed. A wrong tree would give wrong results, so where they disagree there is none.
/// </summary>
internal static class RootSearch
{
    /// <summary>The root.</summary>
    /// <exception cref="ArchAzureException"><c>ImageNotReadable</c>: none can be told; the message has the evidence.</exception>
    public static SystemTree Find(CheckedDisk disk)
    {
        var (tree, reason) = ByLoader(disk) ?? ByType(disk) ?? ByFiles(disk);
        if (!SystemTree.ReleaseFiles.Any(tree.FileSystem.FileExists))
        {
            throw DiskErrors.Unsupported($"its root is {tree.Name} ({reason}), where no system is installed (there is no os-release).");
        }

        // The machine's own fstab is about the tree that it was read from.
        if (Fstab.Read(tree.FileSystem).FirstOrDefault(entry => entry.MountPoint == "/") is { } line
            && Identifiers.Resolve(disk, line.Source) is { } partition
            && SystemTree.Mounted(disk, partition, line.Options) is var mounted
            && !mounted.IsSame(tree))
        {
            throw DiskErrors.Unsupported($"its root is {tree.Name} ({reason}), but {mounted.Name} by the fstab in it.");
        }

        return tree;
    }

    private static (SystemTree Tree, string Reason)? ByLoader(CheckedDisk disk)
    {
        if (disk.TryBoot is not { } boot
            || boot.Value("root") is not { } root
            || Identifiers.Resolve(disk, root) is not { } partition)
        {
            return null;
        }

        var flags = boot.Value("rootflags")?.Split(',') ?? [];
        return (SystemTree.Mounted(disk, partition, flags), $"by root= in {boot.ConfigurationPath}");
    }

    private static (SystemTree Tree, string Reason)? ByType(CheckedDisk disk) =>
        disk.PartitionTable.Partitions.Where(partition => partition.Type == PartitionTypes.LinuxRootX64).ToList() is [var only]
            ? (SystemTree.Mounted(disk, only, []), "by its partition's type")
            : null;

    private static (SystemTree Tree, string Reason) ByFiles(CheckedDisk disk)
    {
        var trees = disk.Trees.Where(tree => SystemTree.ReleaseFiles.Any(tree.Has)).ToList();
        return trees switch
        {
            [var only] => (only, "the only one where a system is installed"),
            [] => throw DiskErrors.Unsupported($"no system is installed on a file system that can be read{SystemTree.Unreadable(disk)}."),
            _ => throw DiskErrors.Unsupported($"{string.Join(" and ", trees.Select(tree => tree.Name))} could each be its root."),
        };
    }
}
