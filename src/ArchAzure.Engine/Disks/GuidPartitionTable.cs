using ArchAzure.FileSystems;

namespace ArchAzure.Disks;

/// <summary>One partition of a GPT.</summary>
/// <param name="Number">Its number, from 1 on, as in <c>/dev/sda1</c>.</param>
/// <param name="Type">The GUID of its type, see <see cref="PartitionTypes"/>.</param>
/// <param name="Id">Its own GUID, the PARTUUID.</param>
/// <param name="FirstSector">The first of its sectors, of 512 bytes.</param>
/// <param name="LastSector">The last of its sectors.</param>
/// <param name="Attributes">The attribute bits.</param>
/// <param name="Name">Its name, the PARTLABEL; may be empty.</param>
public sealed record GuidPartition(int Number, Guid Type, Guid Id, long FirstSector, long LastSector, ulong Attributes, string Name)
{
    /// <summary>Where it begins, in bytes.</summary>
    public long Offset => FirstSector * GuidPartitionTable.SectorSize;

    /// <summary>How long it is, in bytes.</summary>
    public long Length => (LastSector - FirstSector + 1) * GuidPartitionTable.SectorSize;
}

/// <summary>The partition types that matter here.</summary>
/// <remarks>Source: UEFI Specification 2.10, table 5.7; The Discoverable Partitions Specification (uapi-group.org); GRUB manual, "BIOS installation".</remarks>
public static class PartitionTypes
{
    /// <summary>Where GRUB's core image lies for BIOS (sgdisk: ef02).</summary>
    public static readonly Guid BiosBoot = new("21686148-6449-6e6f-744e-656564454649");

    /// <summary>The EFI system partition (sgdisk: ef00).</summary>
    public static readonly Guid EfiSystem = new("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");

    /// <summary>The root of Linux on x86-64 (sgdisk: 8304).</summary>
    public static readonly Guid LinuxRootX64 = new("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");

    /// <summary>Any file system of Linux (sgdisk: 8300).</summary>
    public static readonly Guid LinuxFileSystem = new("0fc63daf-8483-4772-8e79-3d69d8477de4");

    /// <summary>Swap space (sgdisk: 8200).</summary>
    public static readonly Guid LinuxSwap = new("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f");

    /// <summary>An LVM physical volume (sgdisk: 8e00).</summary>
    public static readonly Guid LinuxLvm = new("e6d6d379-f507-44c2-a23c-238f2a3df928");

    /// <summary>The name of a type for people.</summary>
    public static string Describe(Guid type) =>
        type == BiosBoot ? "BIOS boot"
        : type == EfiSystem ? "EFI system"
        : type == LinuxRootX64 ? "Linux root (x86-64)"
        : type == LinuxFileSystem ? "Linux file system"
        : type == LinuxSwap ? "Linux swap"
        : type == LinuxLvm ? "Linux LVM"
        : type.ToString();
}

/// <summary>The GUID partition table of a disk with sectors of 512 bytes.</summary>
/// <remarks>Source: UEFI Specification 2.10, chapter 5, "GUID Partition Table (GPT) Disk Layout".</remarks>
public sealed class GuidPartitionTable
{
    /// <summary>Bytes in a sector; all of Azure's disks and all VHDs have such.</summary>
    public const int SectorSize = 512;

    // The specification reserves at least 16 KiB for the entries; nobody has use for more than this.
    private const int MaximumEntriesLength = 1 << 20;
    private const int MinimumHeaderLength = 92;
    private const int MinimumEntryLength = 128;

    private GuidPartitionTable(Guid diskId, IReadOnlyList<GuidPartition> partitions, IReadOnlyList<string> problems)
    {
        DiskId = diskId;
        Partitions = partitions;
        Problems = problems;
    }

    /// <summary>The disk's GUID.</summary>
    public Guid DiskId { get; }

    /// <summary>The partitions, by their place on the disk.</summary>
    public IReadOnlyList<GuidPartition> Partitions { get; }

    /// <summary>All that contradicts the specification, in whole sentences; empty for a good table.</summary>
    public IReadOnlyList<string> Problems { get; }

    /// <summary>
    /// Reads the table: from its first copy, or from the one at the disk's end where the first is damaged, as firmware and kernel do.
    /// </summary>
    /// <param name="disk">The whole disk.</param>
    /// <exception cref="ArchAzureException"><c>PartitionTableNotFound</c>: there is none; <c>PartitionTableDamaged</c>: neither copy can be used.</exception>
    public static GuidPartitionTable Read(ImageRegion disk)
    {
        ArgumentNullException.ThrowIfNull(disk);
        var sectors = disk.Length / SectorSize;
        if (sectors < 6)
        {
            throw NotFound("the disk is too small for one");
        }

        var problems = new List<string>();
        if (!HasProtectiveMbr(disk))
        {
            problems.Add("Sector 0 is no protective MBR.");
        }

        var first = TryReadCopy(disk, 1, sectors, "The primary GPT", problems, out var firstHasSignature);
        var last = TryReadCopy(disk, sectors - 1, sectors, "The backup GPT", problems, out var lastHasSignature);
        if (first is not null && last is not null
            && (first.DiskId != last.DiskId || !first.Entries.AsSpan().SequenceEqual(last.Entries)
                || first.FirstUsable != last.FirstUsable || first.LastUsable != last.LastUsable))
        {
            problems.Add("The primary and the backup GPT are not alike.");
        }

        if ((first ?? last) is not { } copy)
        {
            throw firstHasSignature || lastHasSignature
                ? new ArchAzureException(
                    "PartitionTableDamaged",
                    ErrorKind.InvalidData,
                    $"The disk's partition table (GPT) is damaged: {string.Join(" ", problems)} Repair it with gdisk or make the disk again.")
                : NotFound("neither sector 1 nor the last one holds its header");
        }

        return new(copy.DiskId, ReadPartitions(copy, problems), problems);
    }

    private static ArchAzureException NotFound(string reason) =>
        new("PartitionTableNotFound", ErrorKind.InvalidData, $"The disk has no partition table of the kind GPT: {reason}. Make the disk again, with a GPT.");

    private static bool HasProtectiveMbr(ImageRegion disk)
    {
        const int FirstRecord = 446;
        const int RecordLength = 16;
        const byte GptProtective = 0xEE;
        var mbr = disk.ReadBytes(0, SectorSize);
        return mbr.U16(510) == 0xAA55
            && Enumerable.Range(0, 4).Any(i => mbr[FirstRecord + (i * RecordLength) + 4] == GptProtective && mbr.U32(FirstRecord + (i * RecordLength) + 8) == 1);
    }

    private static Copy? TryReadCopy(ImageRegion disk, long sector, long sectors, string name, List<string> problems, out bool hasSignature)
    {
        var header = disk.ReadBytes(sector * SectorSize, SectorSize);
        hasSignature = header.AsSpan().StartsWith("EFI PART"u8);
        if (!hasSignature)
        {
            problems.Add($"{name} is missing: sector {sector} does not hold its header.");
            return null;
        }

        var headerLength = header.U32(12);
        if (headerLength is < MinimumHeaderLength or > SectorSize)
        {
            problems.Add($"{name} claims a header of {headerLength} bytes.");
            return null;
        }

        var checkedHeader = header.AsSpan(0, (int)headerLength).ToArray();
        checkedHeader.AsSpan(16, 4).Clear();
        if (Crc32(checkedHeader) != header.U32(16))
        {
            problems.Add($"{name} has a header with a wrong checksum.");
            return null;
        }

        var count = header.U32(80);
        var entryLength = header.U32(84);
        if (header.U32(8) != 0x0001_0000 || header.U64(24) != (ulong)sector || entryLength < MinimumEntryLength
            || !System.Numerics.BitOperations.IsPow2(entryLength) || (ulong)count * entryLength > MaximumEntriesLength)
        {
            problems.Add($"{name} has a header with impossible fields.");
            return null;
        }

        var entriesSector = header.U64(72);
        var entriesLength = (int)(count * entryLength);
        var firstUsable = header.U64(40);
        var lastUsable = header.U64(48);
        if (firstUsable > lastUsable || lastUsable >= (ulong)sectors || entriesSector >= (ulong)sectors
            || ((long)entriesSector * SectorSize) + entriesLength > disk.Length)
        {
            problems.Add($"{name} describes a disk larger than this one of {sectors} sectors.");
            return null;
        }

        var entries = disk.ReadBytes((long)entriesSector * SectorSize, entriesLength);
        if (Crc32(entries) != header.U32(88))
        {
            problems.Add($"{name} has entries with a wrong checksum.");
            return null;
        }

        var other = sector == 1 ? sectors - 1 : 1;
        if (header.U64(32) != (ulong)other)
        {
            problems.Add($"{name} expects the other copy in sector {header.U64(32)} instead of {other}.");
        }

        return new(new Guid(header.AsSpan(56, 16)), (long)firstUsable, (long)lastUsable, entries, (int)entryLength);
    }

    private static List<GuidPartition> ReadPartitions(Copy copy, List<string> problems)
    {
        var partitions = new List<GuidPartition>();
        for (var number = 1; number <= copy.Entries.Length / copy.EntryLength; number++)
        {
            var entry = copy.Entries.At((number - 1) * copy.EntryLength, MinimumEntryLength);
            var type = new Guid(entry[..16]);
            if (type == Guid.Empty)
            {
                continue;
            }

            var first = entry.U64(32);
            var last = entry.U64(40);
            if (first > last || first < (ulong)copy.FirstUsable || last > (ulong)copy.LastUsable)
            {
                problems.Add($"Partition {number} (sectors {first} to {last}) does not lie within the usable sectors {copy.FirstUsable} to {copy.LastUsable}.");
                continue;
            }

            var name = System.Text.Encoding.Unicode.GetString(entry[56..128]);
            var end = name.IndexOf('\0', StringComparison.Ordinal);
            partitions.Add(new(number, type, new Guid(entry[16..32]), (long)first, (long)last, entry.U64(48), end < 0 ? name : name[..end]));
        }

        partitions.Sort((a, b) => a.FirstSector.CompareTo(b.FirstSector));
        foreach (var (before, after) in partitions.Zip(partitions.Skip(1)))
        {
            if (after.FirstSector <= before.LastSector)
            {
                problems.Add($"Partitions {before.Number} and {after.Number} overlap.");
            }
        }

        foreach (var same in partitions.GroupBy(partition => partition.Id).Where(same => same.Count() > 1))
        {
            problems.Add($"Partitions {string.Join(" and ", same.Select(partition => partition.Number))} have the same GUID {same.Key}.");
        }

        return partitions;
    }

    /// <summary>The CRC-32 of ISO 3309, as UEFI and zlib use it.</summary>
    private static uint Crc32(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var b in bytes)
        {
            crc ^= b;
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (crc >> 1) ^ (0xEDB8_8320 & (uint)-(int)(crc & 1));
            }
        }

        return ~crc;
    }

    private sealed record Copy(Guid DiskId, long FirstUsable, long LastUsable, byte[] Entries, int EntryLength);
}
