using System.Buffers;
using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace ArchAzure.IO;

/// <summary>A run of bytes of a file that is stored on disk (all around it are holes).</summary>
/// <param name="Offset">Where it starts, in bytes.</param>
/// <param name="Length">Its length in bytes.</param>
internal readonly record struct DataExtent(long Offset, long Length);

/// <summary>
/// Copying and measuring files with holes. On Linux the kernel tells where they are; elsewhere blocks of zeros count as holes.
/// </summary>
internal static class SparseFile
{
    private const int BlockSize = 1 << 20;
    private const int HoleGranularity = 4096;

    /// <summary>What is read and written in one go when copying: it stays in the processor's cache.</summary>
    private const int BufferSize = 256 << 10;

    /// <summary>What is copied before the disk is told to write it.</summary>
    private const int PieceSize = 8 << 20;

    /// <summary>
    /// Copies <paramref name="length"/> bytes into <paramref name="destination"/> at an offset, leaving holes where the source has holes or
    /// zeros. The destination range must read as zeros already (a new file, or a hole).
    /// </summary>
    /// <param name="source">The file to read.</param>
    /// <param name="destination">The file to write.</param>
    /// <param name="destinationOffset">Where the source's first byte goes.</param>
    /// <param name="length">How much of the source is copied.</param>
    /// <param name="progress">Gets the bytes of data done so far, without holes, from any thread; null for none.</param>
    /// <param name="cancellationToken">Stops it.</param>
    public static Task CopyAsync(
        SafeFileHandle source, SafeFileHandle destination, long destinationOffset, long length, Action<long>? progress,
        CancellationToken cancellationToken)
    {
        // One reads while the other writes: a file has one writer at a time in the kernel, so that more would only wait.
        var options = new ParallelOptions { MaxDegreeOfParallelism = 2, CancellationToken = cancellationToken };
        var done = 0L;
        return Parallel.ForEachAsync(
            Pieces(source, length, HoleGranularity, PieceSize),
            options,
            (piece, _) =>
            {
                Copy(source, destination, destinationOffset, piece);
                progress?.Invoke(Interlocked.Add(ref done, piece.Length));
                return ValueTask.CompletedTask;
            });
    }

    /// <summary>
    /// Computes a file's SHA-256 over all its bytes. Holes are hashed without being read, which saves a third of the time where there is
    /// little else.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="progress">Gets the bytes done so far; null for none.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>64 lower-case hexadecimal digits.</returns>
    public static async Task<string> Sha256Async(string path, Action<long>? progress, CancellationToken cancellationToken)
    {
        using var handle = File.OpenHandle(path, options: FileOptions.SequentialScan);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var (zeros, buffer, position, length) = (new byte[BlockSize], new byte[BlockSize], 0L, RandomAccess.GetLength(handle));
        foreach (var extent in DataExtents(handle, length).Append(new DataExtent(length, 0)))
        {
            await AddAsync(extent.Offset, hole: true);
            await AddAsync(extent.Offset + extent.Length, hole: false);
        }

        return Convert.ToHexString(hash.GetHashAndReset()).ToLowerInvariant();

        async Task AddAsync(long end, bool hole)
        {
            while (position < end)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var count = (int)Math.Min(BlockSize, end - position);
                if (!hole && (count = await RandomAccess.ReadAsync(handle, buffer.AsMemory(0, count), position, cancellationToken)) == 0)
                {
                    throw new EndOfStreamException($"'{path}' became shorter while it was read.");
                }

                hash.AppendData(hole ? zeros : buffer, 0, count);
                position += count;
                progress?.Invoke(position);
            }
        }
    }

    /// <summary>
    /// Makes <paramref name="destination"/> share the source's blocks, where the file system can (btrfs, XFS). False where it cannot.
    /// </summary>
    public static bool TryReflink(SafeFileHandle source, SafeFileHandle destination) =>
        OperatingSystem.IsLinux() && Posix.TryReflink(source, destination);

    /// <summary>The bytes a file occupies on disk; its length where that cannot be told.</summary>
    public static long AllocatedBytes(string path)
    {
        using var handle = File.OpenHandle(path);
        return DataExtents(handle, RandomAccess.GetLength(handle)).Sum(extent => extent.Length);
    }

    /// <summary>The runs of data among the first <paramref name="length"/> bytes, in order.</summary>
    public static IEnumerable<DataExtent> DataExtents(SafeFileHandle handle, long length)
    {
        if (!OperatingSystem.IsLinux())
        {
            return length == 0 ? [] : [new DataExtent(0, length)];
        }

        return Enumerate(handle, length);

        static IEnumerable<DataExtent> Enumerate(SafeFileHandle handle, long length)
        {
            for (var position = 0L; position < length;)
            {
                var data = Posix.Seek(handle, position, Posix.SeekData);
                if (data < 0)
                {
                    // ENXIO: no data after this point. EINVAL: the file system cannot tell; take the rest as data.
                    if (Marshal.GetLastPInvokeError() != Posix.Enxio)
                    {
                        yield return new DataExtent(position, length - position);
                    }

                    yield break;
                }

                if (data >= length)
                {
                    yield break;
                }

                var hole = Math.Min(Posix.Seek(handle, data, Posix.SeekHole), length);
                if (hole <= data)
                {
                    throw new IOException($"lseek(SEEK_HOLE) failed: {new Win32Exception(Marshal.GetLastPInvokeError()).Message}");
                }

                yield return new DataExtent(data, hole - data);
                position = hole;
            }
        }
    }

    /// <summary>
    /// The runs of data among the first <paramref name="length"/> bytes, in order, widened to whole units and cut into pieces.
    /// </summary>
    /// <param name="handle">The file.</param>
    /// <param name="length">How far it is looked at.</param>
    /// <param name="unit">Each piece begins at a multiple of it.</param>
    /// <param name="most">The longest piece; a multiple of the unit.</param>
    public static IEnumerable<DataExtent> Pieces(SafeFileHandle handle, long length, int unit, int most)
    {
        var (start, end) = (0L, 0L);
        foreach (var extent in DataExtents(handle, length).Append(new DataExtent(long.MaxValue - unit, 0)))
        {
            var from = extent.Offset / unit * unit;
            if (from > end)
            {
                for (; start < end; start += most)
                {
                    yield return new DataExtent(start, Math.Min(most, end - start));
                }

                start = from;
            }

            end = Math.Min((extent.Offset + extent.Length + unit - 1) / unit * unit, length);
        }
    }

    /// <summary>
    /// The runs of 4096-byte blocks that are not all zeros, among the first <paramref name="length"/> bytes, in order. The kernel's data is
    /// not enough: pages in memory of what is allocated but not written count as data.
    /// </summary>
    /// <param name="handle">The file.</param>
    /// <param name="length">How far it is looked at.</param>
    /// <param name="gap">Two runs with no more zeros than this between them are one.</param>
    /// <param name="most">The longest run; a multiple of the block.</param>
    public static IEnumerable<DataExtent> NonZeroRuns(SafeFileHandle handle, long length, int gap, int most)
    {
        var buffer = new byte[BlockSize];
        var (start, end) = (0L, 0L);
        foreach (var piece in Pieces(handle, length, HoleGranularity, BlockSize))
        {
            var count = (int)piece.Length;
            ReadExactly(handle, buffer.AsSpan(0, count), piece.Offset);
            for (var at = 0; at < count; at += HoleGranularity)
            {
                if (IsZeroBlock(buffer.AsSpan(0, count), at))
                {
                    continue;
                }

                var (from, to) = (piece.Offset + at, piece.Offset + Math.Min(at + HoleGranularity, count));
                if (start < end && (from - end > gap || to - start > most))
                {
                    yield return new DataExtent(start, end - start);
                    start = from;
                }
                else if (start == end)
                {
                    start = from;
                }

                end = to;
            }
        }

        if (start < end)
        {
            yield return new DataExtent(start, end - start);
        }
    }

    /// <summary>Fills a buffer from a place in a file.</summary>
    /// <exception cref="EndOfStreamException">The file is too short for that.</exception>
    public static void ReadExactly(SafeFileHandle handle, Span<byte> buffer, long offset)
    {
        while (buffer.Length > 0)
        {
            var read = RandomAccess.Read(handle, buffer, offset);
            if (read == 0)
            {
                throw new EndOfStreamException("A file became shorter while it was read.");
            }

            buffer = buffer[read..];
            offset += read;
        }
    }

    /// <summary>Whether a file in this folder can have holes: a small one is made, measured and removed.</summary>
    public static bool IsSupportedIn(string folder)
    {
        // Always the same name: what a run killed in this instant leaves, the next one removes.
        var path = Path.Combine(folder, ".sparse");
        File.Delete(path);
        try
        {
            using var handle = File.OpenHandle(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, FileOptions.DeleteOnClose);
            const int size = 16 << 20;
            RandomAccess.Write(handle, [1], size - 1);
            return !OperatingSystem.IsLinux() || DataExtents(handle, size).Sum(extent => extent.Length) < size;
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static void Copy(SafeFileHandle source, SafeFileHandle destination, long destinationOffset, DataExtent piece)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
        try
        {
            for (var (offset, end) = (piece.Offset, piece.Offset + piece.Length); offset < end; offset += BufferSize)
            {
                var chunk = buffer.AsSpan(0, (int)Math.Min(BufferSize, end - offset));
                ReadExactly(source, chunk, offset);
                WriteNonZero(destination, chunk, destinationOffset + offset);
            }

            // The disk writes while the rest is copied; else it would stand idle until the flush at the end.
            if (OperatingSystem.IsLinux())
            {
                Posix.StartWriting(destination, destinationOffset + piece.Offset, piece.Length);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>
    /// The kernel reports data by extent, and file-system tools preallocate: drops whole zero pages, in as few writes as there are runs.
    /// </summary>
    private static void WriteNonZero(SafeFileHandle destination, ReadOnlySpan<byte> data, long offset)
    {
        for (var start = 0; start < data.Length;)
        {
            var zero = IsZeroBlock(data, start);
            var end = start;
            while (end < data.Length && IsZeroBlock(data, end) == zero)
            {
                end = Math.Min(end + HoleGranularity, data.Length);
            }

            if (!zero)
            {
                RandomAccess.Write(destination, data[start..end], offset + start);
            }

            start = end;
        }
    }

    private static bool IsZeroBlock(ReadOnlySpan<byte> data, int offset) =>
        data.Slice(offset, Math.Min(HoleGranularity, data.Length - offset)).IndexOfAnyExcept((byte)0) < 0;
}
