using System.Text.Json.Serialization;

namespace ArchAzure.Disks;

/// <summary>Step 2: the raw disk and every identity on it.</summary>
/// <param name="SizeMiB">The disk's size in MiB.</param>
/// <param name="DiskGuid">The GPT's disk GUID.</param>
/// <param name="Partitions">The three partitions.</param>
/// <param name="RootFileSystem"><c>ext4</c> or <c>btrfs</c>.</param>
/// <param name="RootUuid">The root file system's UUID.</param>
/// <param name="HashSeed">The seed of ext4's directory hashes.</param>
/// <param name="EspVolumeId">The ESP's FAT volume id.</param>
public sealed record DiskProduct(
    long SizeMiB, Guid DiskGuid, IReadOnlyList<Partition> Partitions, string RootFileSystem, Guid RootUuid, Guid HashSeed, uint EspVolumeId)
{
    /// <summary>The ESP's volume id as <c>/dev/disk/by-uuid</c> shows it.</summary>
    [JsonIgnore]
    public string EspUuid => $"{EspVolumeId >> 16:X4}-{EspVolumeId & 0xFFFF:X4}";
}
