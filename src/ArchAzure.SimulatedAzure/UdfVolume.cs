using System.Buffers.Binary;
using System.Text;

namespace ArchAzure.SimulatedAzure;

/// <summary>
/// Writes the DVD that Azure puts into a new machine: a read-only UDF 1.02 file system with <c>ovf-env.xml</c>. Azure's also holds the
/// agent's package; no agent reads it any more, so it is left out.
/// </summary>
/// <remarks>
/// Why our own: the guest mounts with <c>mount -t udf,iso9660</c>, and neither .NET nor a library we could take
/// writes UDF; an external mastering tool would have to be installed on every user's machine. Structures and
/// field offsets: ECMA-167 (3rd edition), restrictions: OSTA UDF 1.02. Layout, in sectors of 2048 bytes:
/// 16-18 recognition sequence, 32 main and 48 reserve volume descriptor sequence, 64 integrity sequence,
/// 256 and last anchor, 257 on the partition.
/// </remarks>
internal static class UdfVolume
{
    // Of a sector and of a logical block; the only size a DVD has.
    private const int SectorSize = 2048;

    private const int MainSequence = 32;
    private const int ReserveSequence = 48;
    private const int IntegritySequence = 64;
    private const int Anchor = 256;
    private const int PartitionStart = 257;
    private const ushort Revision = 0x0102;

    private const int FileSetBlock = 0;
    private const int RootEntryBlock = 2;
    private const int RootDirectoryBlock = 3;
    private const int FileEntryBlock = 4;
    private const int FileBlock = 5;

    // UDF 1.02, 3.2.1.1: ids below 16 are kept for Macintosh; 0 is the root's.
    private const int FileId = 16;

    private const string Volume = "rd_rdfe_stable";

    private enum Tag : ushort
    {
        PrimaryVolume = 1,
        AnchorPointer = 2,
        ImplementationUseVolume = 4,
        Partition = 5,
        LogicalVolume = 6,
        UnallocatedSpace = 7,
        Terminating = 8,
        LogicalVolumeIntegrity = 9,
        FileSet = 256,
        FileIdentifier = 257,
        FileEntry = 261,
    }

    /// <summary>Makes the DVD.</summary>
    /// <param name="environment">What the machine is told.</param>
    /// <param name="time">The recording time, and the file's.</param>
    /// <returns>The image, a whole number of sectors.</returns>
    public static byte[] Create(OvfEnvironment environment, DateTimeOffset time)
    {
        var content = environment.ToXml();
        var directory = BuildDirectory();
        var partitionBlocks = FileBlock + Blocks(content.Length);
        var sectors = PartitionStart + partitionBlocks + 1;
        var image = new byte[sectors * SectorSize];

        WriteRecognitionSequence(image);
        WriteVolumeSequence(image, MainSequence, time, partitionBlocks);
        WriteVolumeSequence(image, ReserveSequence, time, partitionBlocks);
        WriteIntegrity(image, time, partitionBlocks);
        WriteAnchor(image, Anchor);
        WriteAnchor(image, sectors - 1);

        WriteFileSet(image, time);
        WriteFileEntry(image, RootEntryBlock, isDirectory: true, directory.Length, RootDirectoryBlock, time, uniqueId: 0);
        directory.CopyTo(Block(image, RootDirectoryBlock));
        WriteFileEntry(image, FileEntryBlock, isDirectory: false, content.Length, FileBlock, time, FileId);
        content.CopyTo(image.AsSpan((PartitionStart + FileBlock) * SectorSize));
        return image;
    }

    private static int Blocks(int bytes) => (bytes + SectorSize - 1) / SectorSize;

    private static void WriteRecognitionSequence(byte[] image)
    {
        string[] identifiers = ["BEA01", "NSR02", "TEA01"];
        for (var i = 0; i < identifiers.Length; i++)
        {
            var sector = image.AsSpan((16 + i) * SectorSize);
            Encoding.ASCII.GetBytes(identifiers[i], sector[1..]);
            sector[6] = 1;
        }
    }

    private static void WriteVolumeSequence(byte[] image, int start, DateTimeOffset time, int partitionBlocks)
    {
        var primary = Sector(image, start);
        U32(primary, 16, 0);
        DString(primary.Slice(24, 32), Volume);
        U16(primary, 56, 1);
        U16(primary, 58, 1);
        U16(primary, 60, 2);
        U16(primary, 62, 2);
        U32(primary, 64, 1);
        U32(primary, 68, 1);
        // UDF 1.02, 2.2.2.5: the set's name begins with 16 characters that make it unique.
        DString(primary.Slice(72, 128), $"{time.ToUnixTimeSeconds():X16}{Volume}");
        CharSpec(primary[200..]);
        CharSpec(primary[264..]);
        Timestamp(primary[376..], time);
        Implementation(primary[388..]);
        Finish(primary, Tag.PrimaryVolume, start, 512);

        var implementation = Sector(image, start + 1);
        U32(implementation, 16, 1);
        RegId(implementation[20..], "*UDF LV Info", Revision, withDomainFlags: false);
        CharSpec(implementation[52..]);
        DString(implementation.Slice(116, 128), Volume);
        Implementation(implementation[352..]);
        Finish(implementation, Tag.ImplementationUseVolume, start + 1, 512);

        var partition = Sector(image, start + 2);
        U32(partition, 16, 2);
        U16(partition, 20, 1);
        U16(partition, 22, 0);
        RegId(partition[24..], "+NSR02", 0, withDomainFlags: false);
        U32(partition, 184, 1);
        U32(partition, 188, PartitionStart);
        U32(partition, 192, (uint)partitionBlocks);
        Implementation(partition[196..]);
        Finish(partition, Tag.Partition, start + 2, 512);

        var logical = Sector(image, start + 3);
        U32(logical, 16, 3);
        CharSpec(logical[20..]);
        DString(logical.Slice(84, 128), Volume);
        U32(logical, 212, SectorSize);
        RegId(logical[216..], "*OSTA UDF Compliant", Revision, withDomainFlags: true);
        LongAllocation(logical[248..], 2 * SectorSize, FileSetBlock, 0);
        U32(logical, 264, 6);
        U32(logical, 268, 1);
        Implementation(logical[272..]);
        U32(logical, 432, 2 * SectorSize);
        U32(logical, 436, IntegritySequence);
        logical[440] = 1;
        logical[441] = 6;
        U16(logical, 442, 1);
        U16(logical, 444, 0);
        Finish(logical, Tag.LogicalVolume, start + 3, 446);

        var unallocated = Sector(image, start + 4);
        U32(unallocated, 16, 4);
        Finish(unallocated, Tag.UnallocatedSpace, start + 4, 24);

        Finish(Sector(image, start + 5), Tag.Terminating, start + 5, 512);
    }

    private static void WriteIntegrity(byte[] image, DateTimeOffset time, int partitionBlocks)
    {
        var integrity = Sector(image, IntegritySequence);
        Timestamp(integrity[16..], time);
        U32(integrity, 28, 1);
        BinaryPrimitives.WriteUInt64LittleEndian(integrity[40..], FileId + 1);
        U32(integrity, 72, 1);
        U32(integrity, 76, 46);
        U32(integrity, 80, 0);
        U32(integrity, 84, (uint)partitionBlocks);
        Implementation(integrity[88..]);
        U32(integrity, 120, 1);
        U32(integrity, 124, 1);
        U16(integrity, 128, Revision);
        U16(integrity, 130, Revision);
        U16(integrity, 132, Revision);
        Finish(integrity, Tag.LogicalVolumeIntegrity, IntegritySequence, 134);
        Finish(Sector(image, IntegritySequence + 1), Tag.Terminating, IntegritySequence + 1, 512);
    }

    private static void WriteAnchor(byte[] image, int sector)
    {
        var anchor = Sector(image, sector);
        U32(anchor, 16, 16 * SectorSize);
        U32(anchor, 20, MainSequence);
        U32(anchor, 24, 16 * SectorSize);
        U32(anchor, 28, ReserveSequence);
        Finish(anchor, Tag.AnchorPointer, sector, 512);
    }

    private static void WriteFileSet(byte[] image, DateTimeOffset time)
    {
        var set = Block(image, FileSetBlock);
        Timestamp(set[16..], time);
        U16(set, 28, 3);
        U16(set, 30, 3);
        U32(set, 32, 1);
        U32(set, 36, 1);
        CharSpec(set[48..]);
        DString(set.Slice(112, 128), Volume);
        CharSpec(set[240..]);
        DString(set.Slice(304, 32), Volume);
        LongAllocation(set[400..], SectorSize, RootEntryBlock, 0);
        RegId(set[416..], "*OSTA UDF Compliant", Revision, withDomainFlags: true);
        Finish(set, Tag.FileSet, FileSetBlock, 512);
        Finish(Block(image, FileSetBlock + 1), Tag.Terminating, FileSetBlock + 1, 512);
    }

    private static void WriteFileEntry(
        byte[] image, int block, bool isDirectory, int length, int dataBlock, DateTimeOffset time, ulong uniqueId)
    {
        var entry = Block(image, block);
        U16(entry, 20, 4);
        U16(entry, 24, 1);
        entry[27] = (byte)(isDirectory ? 4 : 5);
        U16(entry, 34, 0);
        // Read for all, and search for directories: 5 bits each for other, group, owner (ECMA-167 4/14.9.5).
        U32(entry, 44, isDirectory ? 0x14A5u : 0x1084u);
        U16(entry, 48, 1);
        BinaryPrimitives.WriteUInt64LittleEndian(entry[56..], (ulong)length);
        BinaryPrimitives.WriteUInt64LittleEndian(entry[64..], (ulong)Blocks(length));
        Timestamp(entry[72..], time);
        Timestamp(entry[84..], time);
        Timestamp(entry[96..], time);
        U32(entry, 108, 1);
        Implementation(entry[128..]);
        BinaryPrimitives.WriteUInt64LittleEndian(entry[160..], uniqueId);
        U32(entry, 172, 8);
        U32(entry, 176, (uint)length);
        U32(entry, 180, (uint)dataBlock);
        Finish(entry, Tag.FileEntry, block, 184);
    }

    private static byte[] BuildDirectory()
    {
        return
        [
            .. Identifier(characteristics: 0x0A, RootEntryBlock, 0, []),
            .. Identifier(0, FileEntryBlock, FileId, Encode(OvfEnvironment.FileName)),
        ];

        static byte[] Identifier(byte characteristics, int entryBlock, uint uniqueId, byte[] name)
        {
            var identifier = new byte[(38 + name.Length + 3) & ~3];
            U16(identifier, 16, 1);
            identifier[18] = characteristics;
            identifier[19] = (byte)name.Length;
            LongAllocation(identifier.AsSpan(20), SectorSize, entryBlock, uniqueId);
            name.CopyTo(identifier, 38);
            Finish(identifier, Tag.FileIdentifier, RootDirectoryBlock, identifier.Length);
            return identifier;
        }
    }

    // OSTA compressed Unicode (UDF 1.02, 2.1.1): 8 bits a character.
    private static byte[] Encode(string name) => [8, .. Encoding.Latin1.GetBytes(name)];

    private static void DString(Span<byte> field, string value)
    {
        var encoded = Encode(value);
        encoded.CopyTo(field);
        field[^1] = (byte)encoded.Length;
    }

    private static void CharSpec(Span<byte> field) => Encoding.ASCII.GetBytes("OSTA Compressed Unicode", field[1..]);

    private static void Implementation(Span<byte> field) => RegId(field, "*ArchAzure", 0, withDomainFlags: false);

    private static void RegId(Span<byte> field, string identifier, ushort revision, bool withDomainFlags)
    {
        Encoding.ASCII.GetBytes(identifier, field[1..]);
        U16(field, 24, revision);
        if (withDomainFlags)
        {
            // UDF 1.02, 2.1.4.3: hard and soft write protect.
            field[26] = 3;
        }
    }

    private static void LongAllocation(Span<byte> field, int length, int block, uint uniqueId)
    {
        U32(field, 0, (uint)length);
        U32(field, 4, (uint)block);
        U16(field, 8, 0);
        U32(field, 12, uniqueId);
    }

    // ECMA-167 1/7.3; type 1 (local time) with offset 0 is UTC.
    private static void Timestamp(Span<byte> field, DateTimeOffset time)
    {
        var utc = time.UtcDateTime;
        U16(field, 0, 0x1000);
        U16(field, 2, (ushort)utc.Year);
        field[4] = (byte)utc.Month;
        field[5] = (byte)utc.Day;
        field[6] = (byte)utc.Hour;
        field[7] = (byte)utc.Minute;
        field[8] = (byte)utc.Second;
    }

    private static void Finish(Span<byte> descriptor, Tag tag, int location, int length)
    {
        U16(descriptor, 0, (ushort)tag);
        U16(descriptor, 2, 2);
        U16(descriptor, 8, Crc(descriptor[16..length]));
        U16(descriptor, 10, (ushort)(length - 16));
        U32(descriptor, 12, (uint)location);
        byte sum = 0;
        for (var i = 0; i < 16; i++)
        {
            sum += i == 4 ? (byte)0 : descriptor[i];
        }

        descriptor[4] = sum;
    }

    // CRC-CCITT, polynomial 0x1021, start 0 (ECMA-167 1/7.2.6).
    private static ushort Crc(ReadOnlySpan<byte> data)
    {
        ushort crc = 0;
        foreach (var value in data)
        {
            crc ^= (ushort)(value << 8);
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (ushort)((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
            }
        }

        return crc;
    }

    private static Span<byte> Sector(byte[] image, int sector) => image.AsSpan(sector * SectorSize, SectorSize);

    private static Span<byte> Block(byte[] image, int block) => Sector(image, PartitionStart + block);

    private static void U16(Span<byte> field, int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(field[offset..], value);

    private static void U32(Span<byte> field, int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(field[offset..], value);
}
