using ArchAzure.IO;

namespace ArchAzure.UnitTests.IO;

/// <summary>The digest is the one that fsverity-utils, another implementation of the kernel's definition, computes.</summary>
public sealed class FsVerityTests : IDisposable
{
    private const int Chunk = 512 << 10;
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Around the borders of blocks (4096 bytes), of chunks (128 blocks) and of the third level (128 chunks, 64 MiB).</summary>
    public static TheoryData<long, long[]> Files => new()
    {
        { 0, [] },
        { 1, [0] },
        { 4095, [] },
        { 4096, [4095] },
        { 4097, [4096] },
        { Chunk - 1, [4096, Chunk - 2] },
        { Chunk, [] },
        { Chunk + 1, [0, Chunk] },
        { 3 * Chunk, [Chunk] },
        { (5 * Chunk) + 512, [3 * Chunk, 5 * Chunk] },
        { 128L * Chunk, [] },
        { 128L * Chunk, [0, (128L * Chunk) - 1] },
        { (128L * Chunk) + 4096, [130 * 4096] },
        { (129L * Chunk) + 512, [129L * Chunk] },
        { (400L * Chunk) + 512, [1, 127L * Chunk, 256L * Chunk, (300L * Chunk) + 5] },
    };

    [Theory]
    [MemberData(nameof(Files))]
    public async Task Is_the_one_of_fsverity(long length, long[] written)
    {
        var path = _folder["file"];
        Write(path, length, written);

        Assert.Equal(Tool.Run("fsverity", ["digest", "--compact", path]).Trim(), await FsVerity.DigestAsync(path, default));
    }

    [Fact]
    public async Task Does_not_depend_on_how_zeros_are_stored()
    {
        Write(_folder["sparse"], 40L << 20, 5 << 20, 39 << 20);
        Tool.Run("cp", ["--sparse=never", _folder["sparse"], _folder["stored"]]);
        Assert.True(SparseFile.AllocatedBytes(_folder["stored"]) > 8 * SparseFile.AllocatedBytes(_folder["sparse"]));

        Assert.Equal(await FsVerity.DigestAsync(_folder["sparse"], default), await FsVerity.DigestAsync(_folder["stored"], default));
    }

    [Fact]
    public async Task Any_change_gives_another_one()
    {
        const long length = 70L << 20;
        Write(_folder["file"], length, 5 << 20);
        Write(_folder["moved by a block"], length, (5 << 20) + 4096);
        Write(_folder["moved by a chunk"], length, (5 << 20) + Chunk);
        Write(_folder["more data"], length, 5 << 20, 69 << 20);
        Write(_folder["longer"], length + 512, 5 << 20);
        Write(_folder["longer by a chunk"], length + Chunk, 5 << 20);
        Write(_folder["a byte"], length, 5 << 20);
        await using (var file = File.OpenWrite(_folder["a byte"]))
        {
            file.Position = (5 << 20) + 1;
            file.WriteByte((byte)'O');
        }

        var digests = await Task.WhenAll(
            Directory.EnumerateFiles(_folder.Path).Select(path => FsVerity.DigestAsync(path, default)));
        Assert.Equal(7, digests.Distinct(StringComparer.Ordinal).Count());
    }

    /// <summary>In the time of its data: reading its holes would take half an hour.</summary>
    [Fact]
    public async Task A_file_of_4_TiB_takes_no_time()
    {
        Write(_folder["file"], (4L << 40) + 512, 0, 1L << 40, (4L << 40) - 1, 4L << 40);

        Assert.Matches("^[0-9a-f]{64}$", await FsVerity.DigestAsync(_folder["file"], default));
    }

    [Fact]
    public async Task Stops_when_cancelled()
    {
        Write(_folder["file"], 4 << 20, 0);

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => FsVerity.DigestAsync(_folder["file"], new(canceled: true)));
    }

    private static void Write(string path, long length, params long[] written)
    {
        using var handle = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write);
        RandomAccess.SetLength(handle, length);
        foreach (var offset in written)
        {
            RandomAccess.Write(handle, "some data"u8[..(int)Math.Min(9, length - offset)], offset);
        }
    }
}
