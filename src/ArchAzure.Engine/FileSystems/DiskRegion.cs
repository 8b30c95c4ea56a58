using System.Buffers.Binary;

namespace ArchAzure.FileSystems;

/// <summary>
/// A window of a disk, e.g. one partition, that no read can leave. Positions and lengths are in bytes, positions relative to its start.
/// Not safe for use by several threads at once: all regions of a disk share its stream's position.
/// </summary>
internal sealed class DiskRegion
{
    private readonly Stream _disk;
    private readonly long _start;

    /// <summary>Makes a region of a whole seekable stream.</summary>
    /// <param name="disk">The bytes of the disk; stays open and stays the caller's.</param>
    /// <param name="length">How many of its bytes belong to the disk: a VHD's footer does not.</param>
    /// <param name="budget">Pays for each read, here and of file systems within; null for one of its own.</param>
    public DiskRegion(Stream disk, long length, ReadBudget? budget = null)
        : this(disk, 0, length, budget ?? new ReadBudget())
    {
        ArgumentNullException.ThrowIfNull(disk);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
    }

    private DiskRegion(Stream disk, long start, long length, ReadBudget budget)
    {
        _disk = disk;
        _start = start;
        Length = length;
        Budget = budget;
    }

    /// <summary>The region's length in bytes.</summary>
    public long Length { get; }

    /// <summary>What the reads of this disk may still cost.</summary>
    public ReadBudget Budget { get; }

    /// <summary>A window of this window.</summary>
    /// <exception cref="ArchAzureException"><c>ImageDamaged</c>: it would reach beyond this one.</exception>
    public DiskRegion Slice(long position, long length)
    {
        if (position < 0 || length < 0 || position > Length || length > Length - position)
        {
            throw DiskErrors.Damaged(
                $"something at byte {position}, {length} bytes long, lies outside its disk or partition of {Length} bytes.");
        }

        return new DiskRegion(_disk, _start + position, length, Budget);
    }

    /// <summary>Fills the buffer from the given position on.</summary>
    /// <exception cref="ArchAzureException"><c>ImageDamaged</c>: the bytes lie outside the region, or the file ends before them;
    /// <c>CheckLimitReached</c>.</exception>
    public void Read(long position, Span<byte> buffer)
    {
        // A few bytes cost as much time as some more.
        const int LeastCost = 128;
        Budget.Spend(ReadCost.Bytes, Math.Max(buffer.Length, LeastCost));
        if (position < 0 || position > Length || buffer.Length > Length - position)
        {
            throw DiskErrors.Damaged($"something points to byte {position}, outside its disk or partition of {Length} bytes.");
        }

        _disk.Position = _start + position;
        if (_disk.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false) != buffer.Length)
        {
            throw DiskErrors.Damaged($"the file ends before byte {_start + position + buffer.Length}.");
        }
    }

    /// <summary>Reads an array; the caller bounds the count.</summary>
    internal byte[] ReadBytes(long position, int count)
    {
        // Checked before allocating: a count from the image must fit into the image.
        if (count > Length)
        {
            throw DiskErrors.Damaged($"a structure of {count} bytes is larger than its disk or partition of {Length} bytes.");
        }

        var bytes = new byte[count];
        Read(position, bytes);
        return bytes;
    }
}

/// <summary>
/// Little-endian fields by offset, as the specifications give them. An offset outside the bytes is damage, not a programming error.
/// </summary>
internal static class Fields
{
    public static byte U8(this ReadOnlySpan<byte> bytes, int offset) => At(bytes, offset, 1)[0];

    public static ushort U16(this ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt16LittleEndian(At(bytes, offset, 2));

    public static uint U32(this ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(At(bytes, offset, 4));

    public static ulong U64(this ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(At(bytes, offset, 8));

    public static ReadOnlySpan<byte> At(this ReadOnlySpan<byte> bytes, int offset, int length)
    {
        if (offset < 0 || length < 0 || offset > bytes.Length - length)
        {
            throw DiskErrors.Damaged($"a field at {offset}, {length} bytes long, lies outside its structure of {bytes.Length} bytes.");
        }

        return bytes.Slice(offset, length);
    }

    public static byte U8(this byte[] bytes, int offset) => ((ReadOnlySpan<byte>)bytes).U8(offset);

    public static ushort U16(this byte[] bytes, int offset) => ((ReadOnlySpan<byte>)bytes).U16(offset);

    public static uint U32(this byte[] bytes, int offset) => ((ReadOnlySpan<byte>)bytes).U32(offset);

    public static ulong U64(this byte[] bytes, int offset) => ((ReadOnlySpan<byte>)bytes).U64(offset);

    public static ReadOnlySpan<byte> At(this byte[] bytes, int offset, int length) => ((ReadOnlySpan<byte>)bytes).At(offset, length);

    /// <summary>A 64-bit byte position or count that must be usable as a signed one.</summary>
    public static long Signed(this ulong value) =>
        value <= long.MaxValue ? (long)value : throw DiskErrors.Damaged($"the number {value} is no possible position or size.");

    /// <summary>UTF-8 up to the first zero byte.</summary>
    public static string Text(this ReadOnlySpan<byte> bytes)
    {
        var end = bytes.IndexOf((byte)0);
        return System.Text.Encoding.UTF8.GetString(end < 0 ? bytes : bytes[..end]);
    }
}
