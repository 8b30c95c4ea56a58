namespace ArchAzure.Disks;

/// <summary>One partition of a disk.</summary>
/// <param name="Number">Its number, from 1 on, as in <c>/dev/sda1</c>.</param>
/// <param name="Type">The GUID of its type, see <see cref="PartitionTypes"/>.</param>
/// <param name="Uuid">Its PARTUUID, as Linux writes it.</param>
/// <param name="FirstSector">The first of its sectors, of 512 bytes.</param>
/// <param name="LastSector">The last of its sectors.</param>
/// <param name="Name">Its name, the PARTLABEL; may be empty.</param>
internal record DiskPartition(int Number, Guid Type, string Uuid, long FirstSector, long LastSector, string Name)
{
    /// <summary>Where it begins, in bytes.</summary>
    public long Offset => FirstSector * GuidPartitionTable.SectorSize;

    /// <summary>How long it is, in bytes.</summary>
    public long Length => (LastSector - FirstSector + 1) * GuidPartitionTable.SectorSize;
}

/// <summary>What a disk is divided by.</summary>
internal interface IPartitionTable
{
    /// <summary>The partitions, by their place on the disk.</summary>
    IReadOnlyList<DiskPartition> Partitions { get; }

    /// <summary>All that contradicts the specification, in whole sentences; empty for a good table.</summary>
    IReadOnlyList<string> Problems { get; }
}
