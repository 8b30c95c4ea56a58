using System.Globalization;
using ArchAzure.Disks;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>A tree of files that a machine could have as its root: a file system, or one subvolume of it.</summary>
/// <param name="Partition">Where it lies.</param>
/// <param name="Name">Its name for people, e.g. <c>partition 3</c> or <c>subvolume @ of partition 2</c>.</param>
/// <param name="FileSystem">Its files; other file systems are not mounted in it.</param>
internal sealed record SystemTree(DiskPartition Partition, string Name, FileSystemView FileSystem)
{
    /// <summary>What every installed system has, one of them at least.</summary>
    /// <remarks>Source: os-release(5).</remarks>
    public static IReadOnlyList<string> ReleaseFiles { get; } = ["/etc/os-release", "/usr/lib/os-release"];

    /// <summary>Whether there is such a regular file, so far as can be seen.</summary>
    public bool Has(string path) => Look(files => files.FileExists(path) ? [path] : Array.Empty<string>()).Count > 0;

    /// <summary>
    /// What is found where nobody knows whether there is anything: nothing where the tree cannot be read, for that is told by those who
    /// need what is in it.
    /// </summary>
    public IReadOnlyList<T> Look<T>(Func<IFileSystemView, IEnumerable<T>> find)
    {
        try
        {
            return [.. find(FileSystem)];
        }
        catch (ArchAzureException e) when (DiskErrors.IsUnreadable(e))
        {
            return [];
        }
    }

    /// <summary>Whether both are the same files.</summary>
    public bool IsSame(SystemTree other) =>
        Partition.Number == other.Partition.Number
        && (FileSystem as BtrfsFileSystem)?.Subvolume == (other.FileSystem as BtrfsFileSystem)?.Subvolume;

    /// <summary>
    /// All trees of a partition: of btrfs the default subvolume, the top level and what lies directly in it. None where there is no file
    /// system that can be read.
    /// </summary>
    public static IReadOnlyList<SystemTree> In(CheckedDisk disk, DiskPartition partition)
    {
        try
        {
            return Open(disk, partition);
        }
        catch (ArchAzureException e) when (DiskErrors.IsUnreadable(e))
        {
            return [];
        }
    }

    private static IReadOnlyList<SystemTree> Open(CheckedDisk disk, DiskPartition partition)
    {
        var identity = disk.Identify(partition);
        switch (identity.Kind)
        {
            case FileSystemKind.Ext or FileSystemKind.Fat:
                return [OfPartition(disk, partition)];
            case FileSystemKind.Btrfs:
                var top = Subvolume(disk, partition, BtrfsFileSystem.TopLevel, "top level");
                List<SystemTree> trees =
                [
                    top, .. ((BtrfsFileSystem)top.FileSystem).Subvolumes()
                        .Select(child => Subvolume(disk, partition, child.Number, $"subvolume {child.Name}")),
                ];
                var standard = OfPartition(disk, partition);
                return trees.FindIndex(tree => tree.IsSame(standard)) is var at and >= 0
                    ? [trees[at], .. trees.Where((_, index) => index != at)]
                    : [standard, .. trees];
            default:
                return [];
        }
    }

    /// <summary>What lies on the disk and cannot be read, as the end of a sentence; empty if there is nothing such.</summary>
    public static string Unreadable(CheckedDisk disk)
    {
        var unreadable = disk.PartitionTable.Partitions
            .Where(partition => !disk.Trees.Any(tree => tree.Partition.Number == partition.Number))
            .Select(partition => (partition.Number, Held: disk.Identify(partition)))
            .Where(found => found.Held.Kind != FileSystemKind.Unknown)
            .Select(found => $"partition {found.Number} holds {found.Held.Name}")
            .ToList();
        return unreadable.Count == 0 ? "" : $" ({string.Join(", ", unreadable)})";
    }

    /// <summary>The tree that a mount with these options has.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="partition">What is mounted.</param>
    /// <param name="options">The options, e.g. of fstab or rootflags.</param>
    /// <exception cref="ArchAzureException"><c>ImageNotReadable</c>, also where there is no such subvolume.</exception>
    /// <remarks>Source: btrfs(5), "subvol=" and "subvolid=".</remarks>
    public static SystemTree Mounted(CheckedDisk disk, DiskPartition partition, IEnumerable<string> options)
    {
        if (disk.Identify(partition).Kind != FileSystemKind.Btrfs)
        {
            return OfPartition(disk, partition);
        }

        var named = options.LastOrDefault(option =>
            option.StartsWith("subvol=", StringComparison.Ordinal) || option.StartsWith("subvolid=", StringComparison.Ordinal));
        if (named?.Split('=', 2) is not [var key, var value])
        {
            return OfPartition(disk, partition);
        }

        if (key == "subvolid")
        {
            return ulong.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                ? Subvolume(disk, partition, number, $"subvolume {number}")
                : throw DiskErrors.Unsupported($"{named} is no subvolume's number.");
        }

        var top = Subvolume(disk, partition, BtrfsFileSystem.TopLevel, "top level");
        return ((BtrfsFileSystem)top.FileSystem).SubvolumeAt(value) is not { } found
            ? throw DiskErrors.Unsupported($"there is no subvolume {value} on partition {partition.Number}.")
            : Subvolume(disk, partition, found, $"subvolume {value.Trim('/')}");
    }

    private static SystemTree OfPartition(CheckedDisk disk, DiskPartition partition) =>
        new(partition, $"partition {partition.Number}", FileSystemIdentity.Open(disk.Region(partition)));

    private static SystemTree Subvolume(CheckedDisk disk, DiskPartition partition, ulong number, string name) =>
        new(
            partition, $"{name} of partition {partition.Number}",
            new BtrfsFileSystem(disk.Region(partition), disk.Identify(partition), number));
}
