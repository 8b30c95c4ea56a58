namespace ArchAzure.Disks;

/// <summary>
/// The partitions of an image that boots on both generations: BIOS boot for generation 1, ESP for generation 2, one root.
/// </summary>
/// <remarks>The layout is that of the official Arch VM images (archlinux/arch-boxes).</remarks>
internal static class PartitionPlan
{
    private const long SectorsPerMiB = 2048;

    /// <summary>Index of the BIOS boot partition.</summary>
    public const int BiosBoot = 0;

    /// <summary>Index of the ESP.</summary>
    public const int Esp = 1;

    /// <summary>Index of the root partition.</summary>
    public const int Root = 2;

    /// <summary>Lays out a disk and chooses every GUID and UUID on it.</summary>
    /// <param name="sizeMiB">The disk's size in MiB.</param>
    /// <param name="firstSector">Where the first partition starts, in sectors; a multiple of 2048.</param>
    /// <param name="rootFileSystem"><c>ext4</c> or <c>btrfs</c>.</param>
    /// <param name="newGuid">Where GUIDs come from.</param>
    public static DiskProduct Create(long sizeMiB, long firstSector, string rootFileSystem, Func<Guid> newGuid)
    {
        // The backup GPT takes the last 33 sectors; ending at a MiB boundary keeps root aligned when the disk is grown.
        var rootStart = firstSector + (301 * SectorsPerMiB);
        var rootEnd = (sizeMiB - 1) * SectorsPerMiB;
        Partition[] partitions =
        [
            new(1, "BIOS boot", "ef02", newGuid(), firstSector, SectorsPerMiB),
            new(2, "EFI system", "ef00", newGuid(), firstSector + SectorsPerMiB, 300 * SectorsPerMiB),
            new(3, "root", "8304", newGuid(), rootStart, rootEnd - rootStart),
        ];
        return new DiskProduct(
            sizeMiB, newGuid(), partitions, rootFileSystem, newGuid(), newGuid(), BitConverter.ToUInt32(newGuid().ToByteArray()));
    }

    /// <summary>The plan as a partition table.</summary>
    public static IReadOnlyList<GuidPartition> Table(DiskProduct disk) =>
    [
        .. disk.Partitions.Select(partition => new GuidPartition(
            partition.Number, PartitionTypes.Parse(partition.TypeCode), partition.PartitionGuid, partition.FirstSector,
            partition.FirstSector + partition.SectorCount - 1, 0, partition.Name)),
    ];
}
