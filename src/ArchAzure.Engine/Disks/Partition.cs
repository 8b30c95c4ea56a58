namespace ArchAzure.Disks;

/// <summary>One partition of the disk.</summary>
/// <param name="Number">1 to 3.</param>
/// <param name="Name">Its GPT name.</param>
/// <param name="TypeCode">Its type as sgdisk codes it: ef02, ef00 or 8304.</param>
/// <param name="PartitionGuid">Its unique GUID (PARTUUID).</param>
/// <param name="FirstSector">Its first sector (512 bytes).</param>
/// <param name="SectorCount">Its length in sectors.</param>
public sealed record Partition(int Number, string Name, string TypeCode, Guid PartitionGuid, long FirstSector, long SectorCount)
{
    /// <summary>Where it starts, in bytes.</summary>
    public long Offset => FirstSector * 512;

    /// <summary>Its length in bytes.</summary>
    public long Length => SectorCount * 512;
}
