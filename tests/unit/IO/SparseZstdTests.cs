using ArchAzure.IO;

namespace ArchAzure.UnitTests.IO;

/// <summary>What zstd itself makes of the compressed file.</summary>
public sealed class SparseZstdTests : IDisposable
{
    private const long Block = 128 << 10;
    private const long GiB = 1 << 30;
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Lengths and places of data around the borders of blocks, of pieces and of the frames of holes.</summary>
    public static TheoryData<long, long[]> Files => new()
    {
        { 0, [] },
        { 1, [0] },
        { Block, [] },
        { Block + 1, [] },
        { (3 * Block) - 1, [2 * Block] },
        { (9 << 20) + 512, [0, 4 << 20, 9 << 20] },
        { GiB + 1, [] },
        { (2 * GiB) + (5 << 20) + 512, [3, GiB, (2 * GiB) + (5 << 20)] },
    };

    [Theory]
    [MemberData(nameof(Files))]
    public async Task Zstd_makes_the_file_of_it_again(long length, long[] written)
    {
        Write(length, written);

        var hash = await CompressAsync();

        Assert.Equal(Tool.Run("sha256sum", [_folder["file.zst"]])[..64], hash);
        Tool.Run("zstd", ["--decompress", "--quiet", _folder["file.zst"], "-o", _folder["again"]]);
        Assert.Equal(await FsVerity.DigestAsync(_folder["file"], default), await FsVerity.DigestAsync(_folder["again"], default));
        Assert.True(SparseFile.AllocatedBytes(_folder["again"]) <= SparseFile.AllocatedBytes(_folder["file"]) + (1 << 20));
    }

    [Fact]
    public async Task Many_pieces_come_in_order_and_each_frame_can_be_read_alone()
    {
        var content = new byte[50 << 20];
        new Random(5).NextBytes(content.AsSpan(0, 30 << 20));
        await File.WriteAllBytesAsync(_folder["file"], content);

        await CompressAsync();

        var compressed = await File.ReadAllBytesAsync(_folder["file.zst"]);
        var (from, to) = (0L, 0L);
        foreach (var (size, length) in Table())
        {
            await File.WriteAllBytesAsync(_folder["frame"], compressed[(int)from..(int)(from + size)]);
            Tool.Run("zstd", ["--decompress", "--force", "--quiet", _folder["frame"], "-o", _folder["part"]]);
            Assert.Equal(content[(int)to..(int)(to + length)], await File.ReadAllBytesAsync(_folder["part"]));
            (from, to) = (from + size, to + length);
        }

        Assert.Equal(content.Length, to);
    }

    /// <summary>In the time of its data. What a hole needs is one byte in 32768.</summary>
    [Fact]
    public async Task A_file_of_4_TiB_takes_no_time()
    {
        const long length = (4L << 40) + 512;
        Write(length, 0, 1L << 40, length - 9);

        await CompressAsync();

        Assert.Equal(length, Table().Sum(frame => frame.Content));
        Assert.InRange(new FileInfo(_folder["file.zst"]).Length, length >> 15, (length >> 15) + (1 << 20));
    }

    private async Task<string> CompressAsync()
    {
        await using var file = File.Create(_folder["file.zst"]);
        return await SparseZstd.CompressAsync(_folder["file"], file, _ => { }, default);
    }

    /// <summary>The table at the end, as zstd_seekable_compression_format.md has it.</summary>
    private List<(long Size, long Content)> Table()
    {
        using var file = File.OpenRead(_folder["file.zst"]);
        using var reader = new BinaryReader(file);
        file.Position = file.Length - 9;
        var count = reader.ReadInt32();
        Assert.Equal(0, reader.ReadByte());
        Assert.Equal(0x8F92EAB1, reader.ReadUInt32());
        file.Position = file.Length - 9 - (8 * count) - 8;
        Assert.Equal(0x184D2A5Eu, reader.ReadUInt32());
        Assert.Equal((8 * count) + 9, reader.ReadInt32());
        var frames = Enumerable.Range(0, count).Select(_ => (Size: (long)reader.ReadUInt32(), Content: (long)reader.ReadUInt32())).ToList();
        Assert.Equal(file.Length - 9 - (8 * count) - 8, frames.Sum(frame => frame.Size));
        return frames;
    }

    private void Write(long length, params long[] written)
    {
        using var handle = File.OpenHandle(_folder["file"], FileMode.CreateNew, FileAccess.Write);
        RandomAccess.SetLength(handle, length);
        foreach (var offset in written)
        {
            RandomAccess.Write(handle, "some data"u8[..(int)Math.Min(9, length - offset)], offset);
        }
    }
}
