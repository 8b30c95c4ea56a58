using ZstdSharp;

namespace ArchAzure.Bootstrap;

/// <summary>The blocks of a tar archive; turns what a decoder throws at damaged data into <c>CorruptArchive</c>.</summary>
internal sealed class TarSource(Stream plain, string fileName)
{
    private readonly byte[] _block = new byte[TarHeader.BlockSize];
    private long _position;

    /// <summary>The next header, or null at the archive's end, when all of the compressed stream has been read and found whole.</summary>
    public async Task<TarHeader?> ReadHeaderAsync(CancellationToken cancellationToken)
    {
        await ReadDataAsync(_block, cancellationToken);
        if (_block.AsSpan().ContainsAnyExcept((byte)0))
        {
            return TarHeader.Decode(_block) ?? throw Corrupt($"at byte {_position - TarHeader.BlockSize} there is no tar header");
        }

        // One empty block ends the archive (POSIX wants two, not all write them). Reading on makes the decoder check its checksum.
        int read;
        while ((read = await ReadAsync(_block, cancellationToken)) > 0)
        {
            if (_block.AsSpan(0, read).ContainsAnyExcept((byte)0))
            {
                throw Corrupt("there is data after its end");
            }
        }

        return null;
    }

    /// <summary>Fills the memory.</summary>
    public async Task ReadDataAsync(Memory<byte> data, CancellationToken cancellationToken)
    {
        while (data.Length > 0)
        {
            var read = await ReadAsync(data, cancellationToken);
            if (read == 0)
            {
                throw Corrupt("it ends in the middle");
            }

            data = data[read..];
        }
    }

    /// <summary>Skips what fills the last block of an entry.</summary>
    public async Task SkipPaddingAsync(long size, CancellationToken cancellationToken) =>
        await ReadDataAsync(_block.AsMemory(0, TarHeader.Padding(size).Length), cancellationToken);

    public ArchAzureException Corrupt(string reason, Exception? inner = null) => new("CorruptArchive", ErrorKind.InvalidData,
        $"'{WebText.Plain(fileName)}' is damaged: {reason}. Delete it and download a new copy.", fileName, inner);

    private async ValueTask<int> ReadAsync(Memory<byte> data, CancellationToken cancellationToken)
    {
        try
        {
            var read = await plain.ReadAsync(data, cancellationToken);
            _position += read;
            return read;
        }
        catch (EndOfStreamException e)
        {
            throw Corrupt("the compressed data ends in the middle", e);
        }
        catch (Exception e) when (e is ZstdException or InvalidDataException or IOException)
        {
            throw Corrupt($"it cannot be decompressed ({e.Message.TrimEnd('.')})", e);
        }
    }
}
