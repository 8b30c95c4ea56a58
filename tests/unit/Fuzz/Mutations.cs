using System.Buffers.Binary;
using System.Text;
using CsCheck;

namespace ArchAzure.UnitTests.Fuzz;

/// <summary>
/// Valid samples with a few changes: bits flipped; bytes set, inserted, deleted, repeated; the end cut off; numbers at their limits.
/// </summary>
internal static class Mutations
{
    private static readonly byte[] s_edgeBytes = [0, 1, 0x7F, 0x80, 0xFE, 0xFF, (byte)' ', (byte)'\n', (byte)'-', (byte)'9', (byte)'/'];
    private static readonly ulong[] s_edgeNumbers =
        [
            0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000, long.MaxValue,
            0x8000_0000_0000_0000, ulong.MaxValue,
        ];
    private static readonly string[] s_edgeTexts =
        [
            "-1", "0", "-0", "99999999999999999999", "2147483648", "9223372036854775808", "1e9", "0x10", "NaN", "null", "\"", "'",
            "$(id)", "`id`", "\0", "\r\n", "\u001b[2J", "é", "\u2028", "../", "//", "\ud83d\ude00", "%", "{", "}", "[", "]", "<", ">",
            "&#0;", "=",
        ];

    /// <summary>Mutated samples, a few as they are, and noise.</summary>
    /// <param name="samples">Valid inputs.</param>
    /// <param name="words">Words of the format, to be inserted.</param>
    public static Gen<byte[]> Of(IReadOnlyList<byte[]> samples, params string[] words)
    {
        var tokens = words.Concat(s_edgeTexts).Select(Encoding.UTF8.GetBytes).ToArray();
        var change = Gen.Select(Gen.Int[0, 9], Gen.UInt, Gen.UInt, Gen.ULong);
        var mutated = Gen.Select(Gen.Int[0, samples.Count - 1], change.Array[0, 8], (sample, changes) =>
        {
            var bytes = samples[sample].ToList();
            foreach (var (kind, place, length, value) in changes)
            {
                Change(bytes, kind, place, length, value, tokens);
            }

            return bytes.ToArray();
        });
        return Gen.Frequency(
            (20, mutated),
            (1, Gen.Byte.Array[0, 600]),
            (2, Gen.Int[0, tokens.Length - 1].Array[0, 40].Select(picks => picks.SelectMany(i => tokens[i]).ToArray())));
    }

    /// <summary>As <see cref="Of(IReadOnlyList{byte[]}, string[])"/>, of texts.</summary>
    public static Gen<string> OfText(IReadOnlyList<string> samples, params string[] words) =>
        Of(samples.Select(Encoding.UTF8.GetBytes).ToArray(), words).Select(Encoding.UTF8.GetString);

    private static void Change(List<byte> bytes, int kind, uint place, uint length, ulong value, byte[][] tokens)
    {
        var at = (int)(place % (uint)(bytes.Count + 1));
        var rest = bytes.Count - at;
        var count = (int)Math.Min(1 + (length % (length % 7 == 0 ? 700u : 12u)), (uint)rest);
        switch (kind)
        {
            case 0 when rest > 0:
                bytes[at] ^= (byte)(1 << (int)(value % 8));
                break;
            case 1 when rest > 0:
                bytes[at] = (byte)value;
                break;
            case 2 when rest > 0:
                bytes[at] = s_edgeBytes[value % (uint)s_edgeBytes.Length];
                break;
            case 3:
                bytes.InsertRange(at, BitConverter.GetBytes(value)[..(int)(1 + (length % 8))]);
                break;
            case 4 or 5:
                bytes.InsertRange(at, tokens[value % (uint)tokens.Length]);
                break;
            case 6:
                bytes.RemoveRange(at, count);
                break;
            case 7:
                bytes.InsertRange((int)(value % (uint)(bytes.Count + 1)), bytes.GetRange(at, count));
                break;
            case 8:
                bytes.RemoveRange(at, rest);
                break;
            case 9:
                Number(bytes, at, s_edgeNumbers[value % (uint)s_edgeNumbers.Length] + (length % 3) - 1, (int)(length % 8));
                break;
        }
    }

    private static void Number(List<byte> bytes, int at, ulong number, int form)
    {
        Span<byte> eight = stackalloc byte[8];
        var size = 1 << (form % 4);
        if (form < 4)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(eight, number);
            eight = eight[..size];
        }
        else
        {
            BinaryPrimitives.WriteUInt64BigEndian(eight, number);
            eight = eight[(8 - size)..];
        }

        for (var i = 0; i < size && at + i < bytes.Count; i++)
        {
            bytes[at + i] = eight[i];
        }
    }
}
