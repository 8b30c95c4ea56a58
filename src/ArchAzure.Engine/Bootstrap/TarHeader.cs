using System.Text;

namespace ArchAzure.Bootstrap;

/// <summary>The header of one tar entry: the ustar block's fields, and the pax records that belong to it.</summary>
internal sealed class TarHeader
{
    public const int BlockSize = 512;

    // What the octal fields of a ustar header can say at most; more goes into a pax record.
    private const long MaximumOctalSize = 0x1_FFFF_FFFF;
    private const long MaximumOctalId = 0x1F_FFFF;

    public required byte[] Name { get; set; }

    public required byte[] LinkName { get; set; }

    public required char Type { get; set; }

    public required int Mode { get; init; }

    public required long UserId { get; set; }

    public required long GroupId { get; set; }

    public required long Size { get; set; }

    /// <summary>Whole seconds; a fraction is in the record <c>mtime</c>.</summary>
    public required long ModifiedAt { get; init; }

    public Dictionary<string, byte[]> Records { get; set; } = [];

    /// <summary>A raw name for messages.</summary>
    public static string Show(byte[] name) => WebText.Plain(Encoding.UTF8.GetString(name));

    public static byte[] UntilNul(byte[] text) => Array.IndexOf(text, (byte)0) is var end and >= 0 ? text[..end] : text;

    /// <summary>What fills the last block.</summary>
    public static byte[] Padding(long size) => new byte[(BlockSize - (size % BlockSize)) % BlockSize];

    /// <summary>Reads a block; null when it is not a header (checksum, numbers).</summary>
    public static TarHeader? Decode(ReadOnlySpan<byte> block)
    {
        if (Number(block.Slice(148, 8)) is not { } checksum
            || checksum != Checksum(block, signed: false)
            && checksum != Checksum(block, signed: true))
        {
            return null;
        }

        if (Number(block.Slice(100, 8)) is not { } mode
            || Number(block.Slice(108, 8)) is not { } user
            || Number(block.Slice(116, 8)) is not { } group
            || Number(block.Slice(124, 12)) is not { } size || Number(block.Slice(136, 12)) is not { } time)
        {
            return null;
        }

        var name = UntilNul(block[..100].ToArray());
        // POSIX has a prefix for the name at 345; GNU has other things there and says "ustar  ".
        if (block.Slice(257, 6).SequenceEqual("ustar\0"u8) && UntilNul(block.Slice(345, 155).ToArray()) is { Length: > 0 } prefix)
        {
            name = [.. prefix, (byte)'/', .. name];
        }

        return new TarHeader
        {
            Name = name,
            LinkName = UntilNul(block.Slice(157, 100).ToArray()),
            Type = (char)block[156],
            Mode = (int)(mode & 0xFFF),
            UserId = user,
            GroupId = group,
            Size = size,
            ModifiedAt = time,
        };
    }

    /// <summary>The entry's blocks up to its data: a pax header where one is needed, and the ustar header.</summary>
    public static byte[] Encode(TarHeader header)
    {
        // Sorted, so that equal input gives equal bytes.
        var records = new SortedDictionary<string, byte[]>(header.Records, StringComparer.Ordinal);
        if (header.Name.Length > 100)
        {
            records["path"] = header.Name;
        }

        if (header.LinkName.Length > 100)
        {
            records["linkpath"] = header.LinkName;
        }

        AddNumber("size", header.Size, MaximumOctalSize);
        AddNumber("uid", header.UserId, MaximumOctalId);
        AddNumber("gid", header.GroupId, MaximumOctalId);
        if (header.ModifiedAt is < 0 or > MaximumOctalSize)
        {
            records.TryAdd("mtime", Encoding.ASCII.GetBytes(header.ModifiedAt.ToString()));
        }

        using var blocks = new MemoryStream();
        if (records.Count > 0)
        {
            var data = TarRecords.Encode(records);
            Write(blocks, "PaxHeader"u8, [], 'x', 0x1A4, 0, 0, data.Length, 0);
            blocks.Write(data);
            blocks.Write(Padding(data.Length));
        }

        Write(
            blocks, header.Name, header.LinkName, header.Type, header.Mode, header.UserId, header.GroupId, header.Size, header.ModifiedAt);
        return blocks.ToArray();

        void AddNumber(string key, long value, long maximum)
        {
            if (value > maximum)
            {
                records[key] = Encoding.ASCII.GetBytes(value.ToString());
            }
        }
    }

    private static void Write(
        MemoryStream blocks, ReadOnlySpan<byte> name, ReadOnlySpan<byte> link, char type, int mode, long user, long group, long size,
        long time)
    {
        Span<byte> block = stackalloc byte[BlockSize];
        block.Clear();
        name[..Math.Min(name.Length, 100)].CopyTo(block);
        Octal(block.Slice(100, 8), mode);
        Octal(block.Slice(108, 8), Math.Min(user, MaximumOctalId));
        Octal(block.Slice(116, 8), Math.Min(group, MaximumOctalId));
        Octal(block.Slice(124, 12), Math.Min(size, MaximumOctalSize));
        Octal(block.Slice(136, 12), Math.Clamp(time, 0, MaximumOctalSize));
        block[156] = (byte)type;
        link[..Math.Min(link.Length, 100)].CopyTo(block[157..]);
        "ustar\0"u8.CopyTo(block[257..]);
        "00"u8.CopyTo(block[263..]);
        Octal(block.Slice(148, 7), Checksum(block, signed: false));
        block[155] = (byte)' ';
        blocks.Write(block);
    }

    private static void Octal(Span<byte> field, long value)
    {
        field[^1] = 0;
        for (var i = field.Length - 2; i >= 0; i--)
        {
            field[i] = (byte)('0' + (value & 7));
            value >>= 3;
        }
    }

    // Octal with spaces or NUL around it, or, with the top bit set, a big-endian number in two's complement (GNU, star).
    private static long? Number(ReadOnlySpan<byte> field)
    {
        if ((field[0] & 0x80) != 0)
        {
            var negative = (field[0] & 0x40) != 0;
            long binary = negative ? (long)(sbyte)field[0] : field[0] & 0x7F;
            foreach (var b in field[1..])
            {
                if (binary is > long.MaxValue >> 8 or < long.MinValue >> 8)
                {
                    return null;
                }

                binary = (binary << 8) | b;
            }

            return binary;
        }

        var text = field.Trim(" \0"u8);
        long value = 0;
        foreach (var c in text)
        {
            if (c is < (byte)'0' or > (byte)'7')
            {
                return null;
            }

            value = (value << 3) | (uint)(c - '0');
        }

        return value;
    }

    // Some old programs added up signed bytes.
    private static long Checksum(ReadOnlySpan<byte> block, bool signed)
    {
        long sum = 8 * ' ';
        for (var i = 0; i < BlockSize; i++)
        {
            if (i is < 148 or >= 156)
            {
                sum += signed ? (sbyte)block[i] : block[i];
            }
        }

        return sum;
    }
}
