using ArchAzure.IO;

namespace ArchAzure.BuildTests.Faults;

/// <summary>A run of differing bytes in a file.</summary>
internal readonly record struct ByteRun(long Offset, int Length);

/// <summary>Where two files of one length differ. What is a hole in both is not read.</summary>
internal sealed class DifferingBytes
{
    public const int BlockSize = 4096;

    // Two file systems with other contents differ everywhere; nobody reads more than this of it.
    private const int MaxBlocks = 50_000;

    private readonly SortedDictionary<long, IReadOnlyList<ByteRun>> _blocks = [];

    private DifferingBytes()
    {
    }

    /// <summary>The runs by block (the offset in blocks of 4 KiB).</summary>
    public IReadOnlyDictionary<long, IReadOnlyList<ByteRun>> Blocks => _blocks;

    /// <summary>How many blocks differ that are not in <see cref="Blocks"/>.</summary>
    public long Further { get; private set; }

    public static DifferingBytes Find(string expected, string actual)
    {
        using var one = File.OpenHandle(expected);
        using var other = File.OpenHandle(actual);
        var length = RandomAccess.GetLength(one);
        var result = new DifferingBytes();
        var (left, right) = (new byte[1 << 20], new byte[1 << 20]);

        // A chunk in which either has data; chunks that both have come twice, and are taken once.
        var chunks = SparseFile.DataExtents(one, length).Concat(SparseFile.DataExtents(other, length))
            .SelectMany(extent => Chunks(extent.Offset, extent.Offset + extent.Length, left.Length)).Distinct().Order();
        foreach (var chunk in chunks)
        {
            var count = (int)Math.Min(left.Length, length - chunk);
            Read(one, left.AsSpan(0, count), chunk);
            Read(other, right.AsSpan(0, count), chunk);
            for (var start = 0; start < count; start += BlockSize)
            {
                var size = Math.Min(BlockSize, count - start);
                if (!left.AsSpan(start, size).SequenceEqual(right.AsSpan(start, size)))
                {
                    result.Add(chunk + start, left.AsSpan(start, size), right.AsSpan(start, size));
                }
            }
        }

        return result;
    }

    private static IEnumerable<long> Chunks(long from, long to, int size)
    {
        for (var chunk = from / size * size; chunk < to; chunk += size)
        {
            yield return chunk;
        }
    }

    private static void Read(Microsoft.Win32.SafeHandles.SafeFileHandle file, Span<byte> buffer, long offset)
    {
        while (buffer.Length > 0)
        {
            var read = RandomAccess.Read(file, buffer, offset);
            if (read == 0)
            {
                throw new EndOfStreamException("A VHD became shorter while it was compared.");
            }

            buffer = buffer[read..];
            offset += read;
        }
    }

    private void Add(long offset, ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        if (_blocks.Count >= MaxBlocks)
        {
            Further++;
            return;
        }

        List<ByteRun> runs = [];
        for (var i = 0; i < left.Length; i++)
        {
            var start = i;
            while (i < left.Length && left[i] != right[i])
            {
                i++;
            }

            if (i > start)
            {
                runs.Add(new ByteRun(offset + start, i - start));
            }
        }

        _blocks[offset / BlockSize] = runs;
    }
}
