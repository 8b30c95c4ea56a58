using System.Buffers;
using System.Buffers.Binary;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace ArchAzure.IO;

/// <summary>
/// The fs-verity digest of a file: it depends on the file's length and content alone. Holes are never read: the hash of so many zeros is
/// known. So it takes the time of the data, whatever the length.
/// </summary>
/// <remarks>
/// https://docs.kernel.org/filesystems/fsverity.html, "File digest computation", with SHA-256, blocks of 4096 bytes and no salt, which are
/// the defaults of <c>fsverity digest</c>. The file is cut into blocks of 4096 bytes, the last one filled up with zeros. Their hashes, 128
/// a block, are the next level, cut and filled up likewise, until one block is left. Its hash is the root, and the digest is the hash of a
/// descriptor that holds the root and the file's length.
/// </remarks>
internal static class FsVerity
{
    private const int BlockSize = 4096;
    private const int HashesPerBlock = BlockSize / SHA256.HashSizeInBytes;

    /// <summary>The bytes whose hashes fill one block of the second level.</summary>
    private const int ChunkSize = BlockSize * HashesPerBlock;

    private static readonly byte[] s_hashOfZeros = SHA256.HashData(new byte[BlockSize]);

    /// <summary>Computes a file's digest.</summary>
    /// <returns>64 lower-case hexadecimal digits.</returns>
    public static async Task<string> DigestAsync(string path, CancellationToken cancellationToken)
    {
        using var handle = File.OpenHandle(path);
        var length = RandomAccess.GetLength(handle);
        var root = length <= BlockSize
            ? length == 0 ? new byte[SHA256.HashSizeInBytes] : HashOfBlock(Read(handle, new DataExtent(0, length), new byte[BlockSize]))
            : await RootAsync(handle, length, cancellationToken);

        // struct fsverity_descriptor.
        var descriptor = new byte[256];
        descriptor[0] = 1; // version
        descriptor[1] = 1; // FS_VERITY_HASH_ALG_SHA256
        descriptor[2] = 12; // log2 of the block size
        BinaryPrimitives.WriteInt64LittleEndian(descriptor.AsSpan(8), length);
        root.CopyTo(descriptor, 16);
        return Convert.ToHexString(SHA256.HashData(descriptor)).ToLowerInvariant();
    }

    private static async Task<byte[]> RootAsync(SafeFileHandle handle, long length, CancellationToken cancellationToken)
    {
        var (tree, chunks, next) = (new Tree(), length / ChunkSize, 0L);
        var data = SparseFile.Pieces(handle, chunks * ChunkSize, ChunkSize, ChunkSize);
        var hashes = OrderedWork.RunAsync(data, piece => (piece.Offset / ChunkSize, HashOfChunk(handle, piece)), cancellationToken);
        await foreach (var (chunk, hash) in hashes)
        {
            tree.AddZeros(chunk - next);
            tree.Add(hash);
            next = chunk + 1;
        }

        tree.AddZeros(chunks - next);
        if (length % ChunkSize > 0)
        {
            tree.Add(HashOfChunk(handle, new DataExtent(chunks * ChunkSize, length % ChunkSize)));
        }

        return tree.Root();
    }

    private static byte[] HashOfChunk(SafeFileHandle handle, DataExtent chunk)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(ChunkSize);
        try
        {
            Read(handle, chunk, buffer);
            var hashes = new byte[BlockSize];
            for (var offset = 0; offset < chunk.Length; offset += BlockSize)
            {
                HashOfBlock(buffer.AsSpan(offset, BlockSize)).CopyTo(hashes, offset / BlockSize * SHA256.HashSizeInBytes);
            }

            return SHA256.HashData(hashes);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static byte[] HashOfBlock(ReadOnlySpan<byte> block) =>
        block.IndexOfAnyExcept((byte)0) < 0 ? s_hashOfZeros : SHA256.HashData(block);

    /// <summary>
    /// Reads a part of the file; the rest of the buffer's last block are zeros. Its holes are not read: a large file system has thousands
    /// of single blocks far apart.
    /// </summary>
    private static byte[] Read(SafeFileHandle handle, DataExtent part, byte[] buffer)
    {
        buffer.AsSpan(0, (int)((part.Length + BlockSize - 1) / BlockSize * BlockSize)).Clear();
        foreach (var extent in SparseFile.DataExtents(handle, part.Offset + part.Length, part.Offset))
        {
            SparseFile.ReadExactly(handle, buffer.AsSpan((int)(extent.Offset - part.Offset), (int)extent.Length), extent.Offset);
        }

        return buffer;
    }

    /// <summary>The levels of hashes above those of the blocks; a hash of the lowest stands for a chunk.</summary>
    private sealed class Tree
    {
        private readonly List<(byte[] Block, int Count)> _levels = [];
        private readonly List<byte[]> _hashesOfZeros = [HashOfHashes(s_hashOfZeros)];

        /// <summary>Adds the hash of the next chunk, or of so many that it belongs to a higher level.</summary>
        public void Add(byte[] hash, int level = 0)
        {
            if (level == _levels.Count)
            {
                _levels.Add((new byte[BlockSize], 0));
            }

            var (block, count) = _levels[level];
            hash.CopyTo(block, count * hash.Length);
            _levels[level] = (block, (count + 1) % HashesPerBlock);
            if (count + 1 == HashesPerBlock)
            {
                Add(SHA256.HashData(block), level + 1);
            }
        }

        /// <summary>Adds chunks of zeros: many at once where a higher level begins.</summary>
        public void AddZeros(long chunks)
        {
            while (chunks > 0)
            {
                var (level, size) = (0, 1L);
                while ((level >= _levels.Count || _levels[level].Count == 0) && size * HashesPerBlock <= chunks)
                {
                    (level, size) = (level + 1, size * HashesPerBlock);
                    if (level == _hashesOfZeros.Count)
                    {
                        _hashesOfZeros.Add(HashOfHashes(_hashesOfZeros[^1]));
                    }
                }

                for (var below = _levels.Count; below < level; below++)
                {
                    _levels.Add((new byte[BlockSize], 0));
                }

                Add(_hashesOfZeros[level], level);
                chunks -= size;
            }
        }

        /// <summary>Ends the tree; the chunks are all there.</summary>
        public byte[] Root()
        {
            for (var level = 0; ; level++)
            {
                var (block, count) = _levels[level];
                if (count == 1 && level == _levels.Count - 1)
                {
                    return block[..SHA256.HashSizeInBytes];
                }

                if (count > 0)
                {
                    block.AsSpan(count * SHA256.HashSizeInBytes).Clear();
                    Add(SHA256.HashData(block), level + 1);
                }
            }
        }

        private static byte[] HashOfHashes(byte[] hash) =>
            SHA256.HashData(Enumerable.Repeat(hash, HashesPerBlock).SelectMany(bytes => bytes).ToArray());
    }
}
