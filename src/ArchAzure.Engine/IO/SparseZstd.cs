using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using ZstdSharp;
using ZstdSharp.Unsafe;

namespace ArchAzure.IO;

/// <summary>
/// Compresses a file with holes in the time of its data: pieces of it become frames of their own, by all cores at once, and a hole becomes
/// frames that say how often zero comes. Any zstd makes the file of it again, holes included.
/// </summary>
/// <remarks>
/// RFC 8878, section 3.1: frames one after the other are one content, and skippable frames are ignored. The last one is the table of the
/// frames, by which a reader finds a place in the middle: contrib/seekable_format/zstd_seekable_compression_format.md in zstd's source.
/// </remarks>
internal sealed class SparseZstd : IDisposable
{
    // 3, zstd's default, takes half as long again for 6 % less.
    private const int Level = 2;
    private const int PieceSize = 4 << 20;

    /// <summary>Shorter holes are compressed with the data around them.</summary>
    private const int Unit = 64 << 10;

    /// <summary>RFC 8878, section 3.1.1.2.4: no block holds more.</summary>
    private const int BlockSize = 128 << 10;

    /// <summary>The most that a frame of zeros stands for; its frame has 32 KiB.</summary>
    private const int HoleSize = 1 << 30;

    private static readonly byte[] s_hole = Hole(HoleSize);

    private readonly SafeFileHandle _source;
    private readonly FileStream _destination;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly ConcurrentBag<Compressor> _compressors = [];
    private readonly List<(int Compressed, int Content)> _frames = [];

    private SparseZstd(SafeFileHandle source, FileStream destination) => (_source, _destination) = (source, destination);

    /// <summary>Compresses a file.</summary>
    /// <param name="source">The file.</param>
    /// <param name="destination">Where the frames go.</param>
    /// <param name="progress">Gets the bytes of data done so far, without holes.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>The SHA-256 of what was written: 64 lower-case hexadecimal digits.</returns>
    public static async Task<string> CompressAsync(
        string source, FileStream destination, Action<long> progress, CancellationToken cancellationToken)
    {
        using var handle = File.OpenHandle(source);
        using var writer = new SparseZstd(handle, destination);
        var (length, position, done) = (RandomAccess.GetLength(handle), 0L, 0L);
        var frames = OrderedWork.RunAsync(SparseFile.Pieces(handle, length, Unit, PieceSize), writer.Compress, cancellationToken);
        await foreach (var (piece, frame, size) in frames)
        {
            writer.AddHole(piece.Offset - position);
            writer.Add(frame.AsSpan(0, size), (int)piece.Length);
            ArrayPool<byte>.Shared.Return(frame);
            position = piece.Offset + piece.Length;
            done += piece.Length;
            progress(done);
        }

        writer.AddHole(length - position);
        writer.AddTable();
        return Convert.ToHexString(writer._hash.GetHashAndReset()).ToLowerInvariant();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _hash.Dispose();
        foreach (var compressor in _compressors)
        {
            compressor.Dispose();
        }
    }

    private (DataExtent Piece, byte[] Frame, int Size) Compress(DataExtent piece)
    {
        if (!_compressors.TryTake(out var compressor))
        {
            compressor = new Compressor(Level);
            compressor.SetParameter(ZSTD_cParameter.ZSTD_c_checksumFlag, 1);
        }

        var content = ArrayPool<byte>.Shared.Rent((int)piece.Length);
        var frame = ArrayPool<byte>.Shared.Rent(Compressor.GetCompressBound((int)piece.Length));
        SparseFile.ReadExactly(_source, content.AsSpan(0, (int)piece.Length), piece.Offset);
        var size = compressor.Wrap(content.AsSpan(0, (int)piece.Length), frame);
        ArrayPool<byte>.Shared.Return(content);
        _compressors.Add(compressor);
        return (piece, frame, size);
    }

    private void Add(ReadOnlySpan<byte> frame, int content)
    {
        Write(frame);
        _frames.Add((frame.Length, content));
    }

    private void AddHole(long length)
    {
        for (; length >= HoleSize; length -= HoleSize)
        {
            Add(s_hole, HoleSize);
        }

        if (length > 0)
        {
            Add(Hole((int)length), (int)length);
        }
    }

    /// <summary>A frame of zeros: blocks of one byte and how often it comes.</summary>
    private static byte[] Hole(int length)
    {
        var blocks = (length + BlockSize - 1) / BlockSize;
        var frame = new byte[10 + (4 * blocks)];
        BinaryPrimitives.WriteUInt32LittleEndian(frame, 0xFD2FB528);
        frame[4] = 0b10_0_0_0_0_00; // the content's size has 4 bytes; no single segment, checksum or dictionary
        frame[5] = 7 << 3; // a window of 2^(10 + 7) bytes, which is that of a block
        BinaryPrimitives.WriteInt32LittleEndian(frame.AsSpan(6), length);
        for (var block = 0; block < blocks; block++)
        {
            const int repeated = 1;
            var (last, size) = (block == blocks - 1 ? 1 : 0, Math.Min(BlockSize, length - (block * BlockSize)));

            // 3 bytes of header, and the fourth is the zero.
            BinaryPrimitives.WriteInt32LittleEndian(frame.AsSpan(10 + (4 * block)), last | repeated << 1 | size << 3);
        }

        return frame;
    }

    private void AddTable()
    {
        const int header = 8;
        const int footer = 9;
        var table = new byte[header + (8 * _frames.Count) + footer];
        BinaryPrimitives.WriteUInt32LittleEndian(table, 0x184D2A5E);
        BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan(4), table.Length - header);
        for (var i = 0; i < _frames.Count; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan(header + (8 * i)), _frames[i].Compressed);
            BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan(header + (8 * i) + 4), _frames[i].Content);
        }

        // Between the two: no checksums in the entries.
        BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan(table.Length - footer), _frames.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(table.Length - 4), 0x8F92EAB1);
        Write(table);
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        _destination.Write(bytes);
        _hash.AppendData(bytes);
    }
}
