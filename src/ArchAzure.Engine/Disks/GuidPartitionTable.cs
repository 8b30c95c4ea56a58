using System.Buffers.Binary;
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
internal sealed record GuidPartition(int Number, Guid Type, Guid Id, long FirstSector, long LastSector, ulong Attributes, string Name)
    : DiskPartition(Number, Type, Id.ToString(), FirstSector, LastSector, Name);

/// <summary>The partition types that matter here.</summary>
/// <remarks>
/// Source: UEFI Specification 2.10, table 5.7; The Discoverable Partitions Specification (uapi-group.org); GRUB manual, "BIOS
/// installation".
/// </remarks>
internal static class PartitionTypes
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

    /// <summary>A boot partition that the boot loader reads (sgdisk: ea00).</summary>
    /// <remarks>Source: the Boot Loader Specification, XBOOTLDR.</remarks>
    public static readonly Guid ExtendedBoot = new("bc13c2ff-59e6-4262-a352-b275fd6f7172");

    /// <summary>A member of a Linux software RAID (sgdisk: fd00).</summary>
    public static readonly Guid LinuxRaid = new("a19d880f-05fc-4d3b-a006-743f0f84911e");

    /// <summary>The type that sgdisk has a code for; of those an image of ours has.</summary>
    public static Guid Parse(string code) => code switch
    {
        "ef02" => BiosBoot,
        "ef00" => EfiSystem,
        "8304" => LinuxRootX64,
        _ => throw new ArgumentOutOfRangeException(nameof(code), code, null),
    };

    /// <summary>The name of a type for people.</summary>
    public static string Describe(Guid type) =>
        type == BiosBoot ? "BIOS boot"
        : type == EfiSystem ? "EFI system"
        : type == LinuxRootX64 ? "Linux root (x86-64)"
        : type == LinuxFileSystem ? "Linux file system"
        : type == LinuxSwap ? "Linux swap"
        : type == LinuxLvm ? "Linux LVM"
        : type == ExtendedBoot ? "boot (XBOOTLDR)"
        : type == LinuxRaid ? "Linux RAID"
        : MasterBootRecord.Describe(type) is { } name ? name
        : type.ToString();
}

/// <summary>The GUID partition table of a disk with sectors of 512 bytes.</summary>
/// <remarks>Source: UEFI Specification 2.10, chapter 5, "GUID Partition Table (GPT) Disk Layout".</remarks>
internal sealed class GuidPartitionTable : IPartitionTable
{
    /// <summary>Bytes in a sector; all of Azure's disks and all VHDs have such.</summary>
    public const int SectorSize = 512;

    // The specification reserves at least 16 KiB for the entries; nobody has use for more than this.
    private const int MaximumEntriesLength = 1 << 20;
    private const int MinimumHeaderLength = 92;
    private const uint Revision = 0x0001_0000;

    private const int FirstRecord = MasterBootRecord.FirstRecord;
    private const int RecordLength = MasterBootRecord.RecordLength;
    private const byte GptProtective = MasterBootRecord.GptProtective;

    private const int MinimumEntryLength = 128;
    private const int EntryCount = 128;

    /// <summary>The sectors of the entries of one copy.</summary>
    private const int EntriesSectors = EntryCount * MinimumEntryLength / SectorSize;

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

    /// <inheritdoc/>
    public IReadOnlyList<string> Problems { get; }

    /// <inheritdoc/>
    IReadOnlyList<DiskPartition> IPartitionTable.Partitions => Partitions;

    /// <summary>
    /// Reads the table: from its first copy, or from the one at the disk's end where the first is damaged, as firmware and kernel do.
    /// </summary>
    /// <param name="disk">The whole disk.</param>
    /// <exception cref="ArchAzureException"><c>PartitionTableNotFound</c>: there is none; <c>PartitionTableDamaged</c>: neither copy
    /// can be used.</exception>
    public static GuidPartitionTable Read(DiskRegion disk)
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
                    $"The disk's partition table (GPT) is damaged: {string.Join(" ", problems)} Repair it with gdisk or make the disk "
                    + "again.")
                : NotFound("neither sector 1 nor the last one holds its header");
        }

        return new(copy.DiskId, ReadPartitions(copy, problems), problems);
    }

    /// <summary>Writes a table to an empty disk: the protective MBR, and both copies with 128 entries, as sgdisk does.</summary>
    /// <param name="disk">The disk; its position is not kept.</param>
    /// <param name="length">The disk's length in bytes, a multiple of <see cref="SectorSize"/>.</param>
    /// <param name="diskId">The disk's GUID.</param>
    /// <param name="partitions">The partitions.</param>
    public static void Write(FileStream disk, long length, Guid diskId, IEnumerable<GuidPartition> partitions)
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentNullException.ThrowIfNull(partitions);
        var last = (length / SectorSize) - 1;
        var entries = new byte[EntriesSectors * SectorSize];
        foreach (var partition in partitions)
        {
            var entry = entries.AsSpan((partition.Number - 1) * MinimumEntryLength, MinimumEntryLength);
            partition.Type.TryWriteBytes(entry);
            partition.Id.TryWriteBytes(entry[16..]);
            BinaryPrimitives.WriteInt64LittleEndian(entry[32..], partition.FirstSector);
            BinaryPrimitives.WriteInt64LittleEndian(entry[40..], partition.LastSector);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[48..], partition.Attributes);
            System.Text.Encoding.Unicode.GetBytes(partition.Name, entry[56..]);
        }

        var header = new byte[SectorSize];
        "EFI PART"u8.CopyTo(header);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(8), Revision);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(12), MinimumHeaderLength);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(40), 2 + EntriesSectors);
        diskId.TryWriteBytes(header.AsSpan(56));
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(80), EntryCount);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(84), MinimumEntryLength);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(88), Crc32(entries));

        var mbr = new byte[SectorSize];
        var record = mbr.AsSpan(FirstRecord, RecordLength);
        BinaryPrimitives.WriteUInt32LittleEndian(record, 0x0002_0000);
        BinaryPrimitives.WriteUInt32LittleEndian(record[4..], (CylinderHeadSector(last) << 8) | GptProtective);
        BinaryPrimitives.WriteUInt32LittleEndian(record[8..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(record[12..], (uint)Math.Min(last, uint.MaxValue));
        mbr[510] = 0x55;
        mbr[511] = 0xAA;

        var backupEntries = last - EntriesSectors;
        Write(disk, 0, mbr);
        Write(disk, 1, Header(header, own: 1, other: last, 2, lastUsable: backupEntries - 1));
        Write(disk, 2, entries);
        Write(disk, backupEntries, entries);
        Write(disk, last, Header(header, own: last, other: 1, backupEntries, lastUsable: backupEntries - 1));
    }

    /// <summary>
    /// Moves the backup to the end of a disk that has been made larger, as sgdisk --move-second-header does: entries, header, and what the
    /// primary and the protective MBR say of the disk's size. At each moment one copy is good: the backup is on the disk before the
    /// primary, which all readers prefer, is changed.
    /// </summary>
    /// <param name="disk">The disk; its position is not kept.</param>
    /// <param name="length">The disk's length in bytes, a multiple of <see cref="SectorSize"/>; the stream may go on after it.</param>
    /// <returns>
    /// Why it could not be done, in whole sentences; null where it was, where nothing was to do, and where there is no GPT.
    /// </returns>
    public static string? MoveBackupToEnd(FileStream disk, long length)
    {
        ArgumentNullException.ThrowIfNull(disk);
        var sectors = length / SectorSize;
        if (sectors < 6)
        {
            return null;
        }

        var region = new DiskRegion(disk, length);
        var problems = new List<string>();
        var copy = TryReadCopy(region, 1, sectors, "The primary GPT", problems, out var hasSignature);
        if (copy is null)
        {
            return hasSignature ? string.Join(" ", problems) : null;
        }

        var header = region.ReadBytes(SectorSize, SectorSize);
        var before = (long)header.U64(32);
        var last = sectors - 1;
        if (before == last)
        {
            return null;
        }

        var entriesSector = last - ((copy.Entries.Length + SectorSize - 1) / SectorSize);
        if (ReadPartitions(copy, problems).Any(partition => partition.LastSector >= entriesSector))
        {
            return $"A partition reaches into the last {last - entriesSector + 1} sectors of the disk, where the backup GPT has to be.";
        }

        var backup = Header(header, own: last, other: 1, entriesSector, lastUsable: entriesSector - 1);
        var primary = Header(header, own: 1, other: last, (long)header.U64(72), lastUsable: entriesSector - 1);
        Write(disk, entriesSector, copy.Entries);
        Write(disk, last, backup);
        disk.Flush(flushToDisk: true);
        Write(disk, 1, primary);
        ResizeProtectiveRecord(disk, region, before, last);
        disk.Flush(flushToDisk: true);

        // The old one, now somewhere in the disk, would mislead whoever looks for lost tables.
        if (before > 1 && before < entriesSector && region.ReadBytes(before * SectorSize, SectorSize).AsSpan().StartsWith("EFI PART"u8))
        {
            Write(disk, before, new byte[SectorSize]);
        }

        return null;
    }

    /// <summary>A sector's address of three bytes, for a disk of 255 heads and 63 sectors; the largest one where it does not fit.</summary>
    private static uint CylinderHeadSector(long sector)
    {
        var (cylinder, head, number) = (sector / (255 * 63), sector / 63 % 255, (sector % 63) + 1);
        return cylinder > 1023 ? 0xFF_FFFF : (uint)(head | ((number | ((cylinder >> 8) << 6)) << 8) | ((cylinder & 0xFF) << 16));
    }

    private static byte[] Header(byte[] header, long own, long other, long entriesSector, long lastUsable)
    {
        var changed = header.ToArray();
        BinaryPrimitives.WriteUInt64LittleEndian(changed.AsSpan(24), (ulong)own);
        BinaryPrimitives.WriteUInt64LittleEndian(changed.AsSpan(32), (ulong)other);
        BinaryPrimitives.WriteUInt64LittleEndian(changed.AsSpan(48), (ulong)lastUsable);
        BinaryPrimitives.WriteUInt64LittleEndian(changed.AsSpan(72), (ulong)entriesSector);
        changed.AsSpan(16, 4).Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(changed.AsSpan(16), Crc32(changed.AsSpan(0, (int)header.U32(12))));
        return changed;
    }

    /// <summary>
    /// The record of the protective MBR that covers the disk, as far as 32 bits go; not one of a hybrid MBR that covers less.
    /// </summary>
    private static void ResizeProtectiveRecord(FileStream disk, DiskRegion region, long before, long last)
    {
        var mbr = region.ReadBytes(0, SectorSize);
        for (var record = FirstRecord; record < FirstRecord + (4 * RecordLength); record += RecordLength)
        {
            if (mbr[record + 4] == GptProtective && mbr.U32(record + 8) == 1 && mbr.U32(record + 12) == Math.Min(before, uint.MaxValue))
            {
                BinaryPrimitives.WriteUInt32LittleEndian(mbr.AsSpan(record + 12), (uint)Math.Min(last, uint.MaxValue));
                Write(disk, 0, mbr);
                return;
            }
        }
    }

    private static void Write(FileStream disk, long sector, byte[] bytes)
    {
        disk.Position = sector * SectorSize;
        disk.Write(bytes);
        disk.Flush();
    }

    private static ArchAzureException NotFound(string reason) =>
        new(
            "PartitionTableNotFound",
            ErrorKind.InvalidData,
            $"The disk has no partition table of the kind GPT: {reason}. Make the disk again, with a GPT.");

    private static bool HasProtectiveMbr(DiskRegion disk)
    {
        var mbr = disk.ReadBytes(0, SectorSize);
        return mbr.U16(510) == 0xAA55
            && Enumerable.Range(0, 4)
                .Any(i => mbr[FirstRecord + (i * RecordLength) + 4] == GptProtective && mbr.U32(FirstRecord + (i * RecordLength) + 8) == 1);
    }

    private static Copy? TryReadCopy(DiskRegion disk, long sector, long sectors, string name, List<string> problems, out bool hasSignature)
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
        if (header.U32(8) != Revision || header.U64(24) != (ulong)sector || entryLength < MinimumEntryLength
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
                problems.Add(
                    $"Partition {number} (sectors {first} to {last}) does not lie within the usable sectors {copy.FirstUsable} to "
                    + $"{copy.LastUsable}.");
                continue;
            }

            var name = System.Text.Encoding.Unicode.GetString(entry[56..128]);
            var end = name.IndexOf('\0', StringComparison.Ordinal);
            partitions.Add(
                new(number, type, new Guid(entry[16..32]), (long)first, (long)last, entry.U64(48), end < 0 ? name : name[..end]));
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
