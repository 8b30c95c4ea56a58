using System.Buffers.Binary;
using System.Text;

namespace ArchAzure.Vhd;

/// <summary>The kind of a virtual hard disk, as its footer states it.</summary>
internal enum VhdDiskType
{
    /// <summary>A flat image followed by the footer; the only kind Azure takes.</summary>
    Fixed = 2,

    /// <summary>Blocks allocated as they are written.</summary>
    Dynamic = 3,

    /// <summary>The changes against a parent disk.</summary>
    Differencing = 4,
}

/// <summary>
/// The 512-byte footer at the end of a VHD: all fields are big-endian.
/// </summary>
/// <remarks>Source: Microsoft, Virtual Hard Disk Image Format Specification 1.0, "Hard Disk Footer Format".</remarks>
internal sealed record VhdFooter
{
    /// <summary>The footer's size in bytes.</summary>
    public const int Size = 512;

    /// <summary>The size of a sector in bytes.</summary>
    public const int SectorSize = 512;

    /// <summary>
    /// The creator that Hyper-V writes. QEMU reads the size from <see cref="CurrentSize"/> for this code and a few others;
    /// for any creator it does not know it computes a smaller size from the geometry, and the last partition runs off the disk.
    /// </summary>
    public const string HyperVCreator = "win ";

    private const uint FixedFormatVersion = 0x0001_0000;
    private const uint ReservedFeature = 0x0000_0002;
    private const ulong NoDataOffset = ulong.MaxValue;

    /// <summary>The first instant a footer's time stamp can express.</summary>
    public static readonly DateTimeOffset Epoch = new(2000, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>How a footer begins.</summary>
    public static ReadOnlySpan<byte> Cookie => "conectix"u8;

    /// <summary>The size of the disk when it was made, in bytes.</summary>
    public required long OriginalSize { get; init; }

    /// <summary>The size of the disk now, in bytes, without the footer. This is the field Azure goes by.</summary>
    public required long CurrentSize { get; init; }

    /// <summary>The geometry computed from the size.</summary>
    public required DiskGeometry Geometry { get; init; }

    /// <summary>The kind of disk.</summary>
    public VhdDiskType DiskType { get; init; } = VhdDiskType.Fixed;

    /// <summary>Four characters that name the program that made the disk.</summary>
    public string CreatorApplication { get; init; } = HyperVCreator;

    /// <summary>The creator's version: major in the high, minor in the low 16 bits.</summary>
    public uint CreatorVersion { get; init; } = 0x000A_0000;

    /// <summary>Four characters for the creator's operating system; <c>Wi2k</c> is Windows.</summary>
    public string CreatorHostOs { get; init; } = "Wi2k";

    /// <summary>When the disk was made; whole seconds from <see cref="Epoch"/> on.</summary>
    public required DateTimeOffset Timestamp { get; init; }

    /// <summary>The disk's identity, stored in the byte order of RFC 9562.</summary>
    public required Guid UniqueId { get; init; }

    /// <summary>Makes the footer of a fixed disk.</summary>
    /// <param name="diskBytes">The disk's size in bytes: a positive multiple of 512.</param>
    /// <param name="uniqueId">The disk's identity.</param>
    /// <param name="timestamp">When the disk was made; before 2000 counts as 2000, after 2136 as the last second that fits.</param>
    public static VhdFooter ForFixedDisk(long diskBytes, Guid uniqueId, DateTimeOffset timestamp)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(diskBytes);
        if (diskBytes % SectorSize != 0)
        {
            throw new ArgumentOutOfRangeException(nameof(diskBytes), diskBytes, "A disk is a whole number of 512-byte sectors.");
        }

        return new VhdFooter
        {
            OriginalSize = diskBytes,
            CurrentSize = diskBytes,
            Geometry = DiskGeometry.FromSize(diskBytes),
            UniqueId = uniqueId,
            Timestamp = Epoch.AddSeconds(Math.Clamp((timestamp - Epoch).Ticks / TimeSpan.TicksPerSecond, 0, uint.MaxValue)),
        };
    }

    /// <summary>Writes the footer's 512 bytes, checksum included.</summary>
    public byte[] ToBytes()
    {
        var bytes = new byte[Size];
        var span = bytes.AsSpan();
        Cookie.CopyTo(span);
        BinaryPrimitives.WriteUInt32BigEndian(span[8..], ReservedFeature);
        BinaryPrimitives.WriteUInt32BigEndian(span[12..], FixedFormatVersion);
        BinaryPrimitives.WriteUInt64BigEndian(span[16..], NoDataOffset);
        BinaryPrimitives.WriteUInt32BigEndian(span[24..], checked((uint)((Timestamp - Epoch).Ticks / TimeSpan.TicksPerSecond)));
        WriteFourCharacters(span[28..32], CreatorApplication);
        BinaryPrimitives.WriteUInt32BigEndian(span[32..], CreatorVersion);
        WriteFourCharacters(span[36..40], CreatorHostOs);
        BinaryPrimitives.WriteInt64BigEndian(span[40..], OriginalSize);
        BinaryPrimitives.WriteInt64BigEndian(span[48..], CurrentSize);
        BinaryPrimitives.WriteUInt16BigEndian(span[56..], Geometry.Cylinders);
        span[58] = Geometry.Heads;
        span[59] = Geometry.SectorsPerTrack;
        BinaryPrimitives.WriteUInt32BigEndian(span[60..], (uint)DiskType);
        UniqueId.TryWriteBytes(span[68..84], bigEndian: true, out _);
        BinaryPrimitives.WriteUInt32BigEndian(span[64..], Checksum(span));
        return bytes;
    }

    /// <summary>Reads a footer and checks it: cookie, version, checksum, sizes.</summary>
    /// <param name="bytes">The 512 bytes.</param>
    /// <exception cref="ArchAzureException">The bytes are no VHD footer (<c>NotAVhd</c>) or a damaged one
    /// (<c>DamagedVhdFooter</c>).</exception>
    public static VhdFooter Parse(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length != Size || !HasCookie(bytes))
        {
            throw new ArchAzureException(
                "NotAVhd", ErrorKind.InvalidData, "These bytes are no VHD footer: the cookie 'conectix' is missing.");
        }

        var stored = BinaryPrimitives.ReadUInt32BigEndian(bytes[64..]);
        var computed = Checksum(bytes);
        if (stored != computed)
        {
            throw Damaged($"its checksum is 0x{stored:X8}, but its bytes add up to 0x{computed:X8}");
        }

        var version = BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]);
        if (version >> 16 != 1)
        {
            throw Damaged($"its format version is 0x{version:X8}, known is 0x{FixedFormatVersion:X8}");
        }

        var type = BinaryPrimitives.ReadUInt32BigEndian(bytes[60..]);
        if (type is < 2 or > 4)
        {
            throw Damaged($"its disk type is {type}, known are 2 (fixed), 3 (dynamic) and 4 (differencing)");
        }

        var original = BinaryPrimitives.ReadInt64BigEndian(bytes[40..]);
        var current = BinaryPrimitives.ReadInt64BigEndian(bytes[48..]);
        if (original < 0 || current < 0)
        {
            throw Damaged("its size is negative");
        }

        return new VhdFooter
        {
            Timestamp = Epoch.AddSeconds(BinaryPrimitives.ReadUInt32BigEndian(bytes[24..])),
            CreatorApplication = Encoding.Latin1.GetString(bytes[28..32]),
            CreatorVersion = BinaryPrimitives.ReadUInt32BigEndian(bytes[32..]),
            CreatorHostOs = Encoding.Latin1.GetString(bytes[36..40]),
            OriginalSize = original,
            CurrentSize = current,
            Geometry = new DiskGeometry(BinaryPrimitives.ReadUInt16BigEndian(bytes[56..]), bytes[58], bytes[59]),
            DiskType = (VhdDiskType)type,
            UniqueId = new Guid(bytes[68..84], bigEndian: true),
        };
    }

    /// <summary>Whether the bytes begin as a VHD footer does.</summary>
    public static bool HasCookie(ReadOnlySpan<byte> bytes) => bytes.StartsWith(Cookie);

    /// <summary>The one's complement of the sum of all bytes but the checksum's own four.</summary>
    private static uint Checksum(ReadOnlySpan<byte> footer)
    {
        uint sum = 0;
        for (var i = 0; i < Size; i++)
        {
            if (i is < 64 or >= 68)
            {
                sum += footer[i];
            }
        }

        return ~sum;
    }

    private static void WriteFourCharacters(Span<byte> field, string value)
    {
        if (Encoding.Latin1.GetByteCount(value) != 4)
        {
            throw new InvalidOperationException($"'{value}' must be four characters.");
        }

        Encoding.Latin1.GetBytes(value, field);
    }

    private static ArchAzureException Damaged(string reason) =>
        new("DamagedVhdFooter", ErrorKind.InvalidData, $"The VHD's footer is damaged: {reason}.");
}
