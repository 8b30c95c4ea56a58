using System.Globalization;
using ArchAzure.FileSystems;

namespace ArchAzure.Disks;

/// <summary>The partition table of old disks: four records in the first sector, and more in a chain of sectors.</summary>
/// <remarks>Source: UEFI Specification 2.10, 5.2.1 "Legacy Master Boot Record"; Linux kernel, block/partitions/msdos.c.</remarks>
internal sealed class MasterBootRecord : IPartitionTable
{
    /// <summary>Where the four records begin.</summary>
    public const int FirstRecord = 446;

    /// <summary>The bytes of a record.</summary>
    public const int RecordLength = 16;

    /// <summary>The type of the record that covers a disk with a GPT.</summary>
    public const byte GptProtective = 0xEE;

    private const int DiskIdOffset = 440;

    // As many as Linux takes of a chain.
    private const int MostLogical = 100;

    private static readonly Dictionary<byte, Guid> s_types = new()
    {
        [0x82] = PartitionTypes.LinuxSwap,
        [0x83] = PartitionTypes.LinuxFileSystem,
        [0x8E] = PartitionTypes.LinuxLvm,
        [0xEA] = PartitionTypes.ExtendedBoot,
        [0xEF] = PartitionTypes.EfiSystem,
        [0xFD] = PartitionTypes.LinuxRaid,
    };

    private MasterBootRecord(IReadOnlyList<DiskPartition> partitions) => Partitions = partitions;

    /// <inheritdoc/>
    public IReadOnlyList<DiskPartition> Partitions { get; }

    /// <inheritdoc/>
    public IReadOnlyList<string> Problems => [];

    /// <summary>Reads it, or tells by null that the disk has none with partitions of its own.</summary>
    /// <param name="disk">The whole disk.</param>
    public static MasterBootRecord? TryRead(DiskRegion disk)
    {
        ArgumentNullException.ThrowIfNull(disk);
        if (disk.Length < GuidPartitionTable.SectorSize)
        {
            return null;
        }

        var first = disk.ReadBytes(0, GuidPartitionTable.SectorSize);
        var records = Records(first).ToList();
        if (records.Count == 0 || records.Exists(record => record.Type == GptProtective))
        {
            return null;
        }

        var diskId = first.U32(DiskIdOffset);
        List<DiskPartition> partitions = [];
        foreach (var record in records.Where(record => !IsExtended(record.Type)))
        {
            Add(record.Number, record, 0);
        }

        var number = 5;
        foreach (var extended in records.Where(record => IsExtended(record.Type)))
        {
            for (long sector = extended.First, count = 0; sector != 0 && count < MostLogical && IsOnDisk(sector, 1); count++)
            {
                var chained = Records(disk.ReadBytes(sector * GuidPartitionTable.SectorSize, GuidPartitionTable.SectorSize)).ToList();
                foreach (var record in chained.Where(record => !IsExtended(record.Type)))
                {
                    Add(number++, record, sector);
                }

                sector = chained.Find(record => IsExtended(record.Type)) is { First: > 0 } next ? extended.First + next.First : 0;
            }
        }

        return new([.. partitions.OrderBy(partition => partition.FirstSector)]);

        void Add(int at, Record record, long from)
        {
            if (IsOnDisk(from + record.First, record.Count))
            {
                partitions.Add(new(
                    at, s_types.GetValueOrDefault(record.Type, TypeOf(record.Type)),
                    string.Create(CultureInfo.InvariantCulture, $"{diskId:x8}-{at:x2}"), from + record.First,
                    from + record.First + record.Count - 1, ""));
            }
        }

        bool IsOnDisk(long from, long count) => count > 0 && from + count <= disk.Length / GuidPartitionTable.SectorSize;
    }

    /// <summary>The name of a type that has no GUID, or null if it is a GUID.</summary>
    public static string? Describe(Guid type)
    {
        var bytes = type.ToByteArray();
        return bytes.AsSpan(1).ContainsAnyExcept((byte)0) ? null : $"type {bytes[0]:x2}";
    }

    private static Guid TypeOf(byte type) => new(type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    private static bool IsExtended(byte type) => type is 0x05 or 0x0F or 0x85;

    private static IEnumerable<Record> Records(byte[] sector)
    {
        if (sector.U16(510) != 0xAA55)
        {
            yield break;
        }

        for (var number = 1; number <= 4; number++)
        {
            var at = FirstRecord + ((number - 1) * RecordLength);
            if (sector[at + 4] != 0 && sector.U32(at + 12) != 0)
            {
                yield return new(number, sector[at + 4], sector.U32(at + 8), sector.U32(at + 12));
            }
        }
    }

    private sealed record Record(int Number, byte Type, long First, long Count);
}
