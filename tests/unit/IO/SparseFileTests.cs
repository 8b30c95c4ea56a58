using System.Security.Cryptography;
using ArchAzure.IO;

namespace ArchAzure.UnitTests.IO;

public sealed class SparseFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData((3 << 20) + 5)]
    [InlineData(5 << 20, 0)]
    [InlineData(5 << 20, 2 << 20)]
    [InlineData((5 << 20) + 511, 0, 70_000, 5 << 20)]
    public async Task The_checksum_is_that_of_all_bytes_holes_included(int length, params int[] written)
    {
        var path = Path.Combine(_folder.Path, "file");
        using (var handle = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write))
        {
            RandomAccess.SetLength(handle, length);
            foreach (var offset in written)
            {
                RandomAccess.Write(handle, "some data"u8, offset);
            }
        }

        Assert.Equal(
            Convert.ToHexString(SHA256.HashData(await File.ReadAllBytesAsync(path))).ToLowerInvariant(),
            await SparseFile.Sha256Async(path, null, default));
    }

    [Fact]
    public void Runs_hold_all_data_in_few_pieces_and_no_zeros_but_short_ones_between()
    {
        const int block = 4096, length = 3 << 20;
        var random = new Random(7);
        var content = new byte[length + 100];
        foreach (var at in (int[])[0, 5, 9, 10, 11, 12, 13, 300, 305, 306, 310, 511])
        {
            content[(at * block) + random.Next(block)] = 1;
        }

        content[^1] = 1;
        using var file = File.OpenHandle(_folder.Write("file", content));
        (long, long)[] expected =
        [
            (0, 1), (5, 6), (11, 3), (300, 1), (305, 6), (511, 1),
        ];
        var runs = SparseFile.NonZeroRuns(file, content.Length, gap: 3 * block, most: 6 * block).ToList();
        Assert.Equal([.. expected.Select(run => new DataExtent(run.Item1 * block, run.Item2 * block)), new DataExtent(length, 100)], runs);
    }

    [Fact]
    public async Task A_copy_has_the_data_at_its_place_and_holes_for_zeros()
    {
        const int length = (40 << 20) + 1234;
        var content = new byte[length];
        new Random(3).NextBytes(content.AsSpan(3 << 20, 20 << 20));
        content[^1] = 1;
        var path = _folder.Write("source", content);
        List<long> done = [];
        using (var source = File.OpenHandle(path))
        using (var destination = File.OpenHandle(_folder["copy"], FileMode.CreateNew, FileAccess.ReadWrite))
        {
            RandomAccess.SetLength(destination, (50 << 20) + length);
            await SparseFile.CopyAsync(
                source,
                destination,
                50 << 20,
                length,
                done.Add,
                default);
        }

        Assert.Equal(new byte[50 << 20].Concat(content).ToArray(), await File.ReadAllBytesAsync(_folder["copy"]));
        Assert.InRange(SparseFile.AllocatedBytes(_folder["copy"]), 20 << 20, 21 << 20);
        Assert.Equal(done.Order(), done);
        Assert.InRange(done[^1], 20 << 20, 21 << 20);
    }

    [Fact]
    public async Task A_copy_from_one_file_system_to_another()
    {
        var content = new byte[300_001];
        new Random(4).NextBytes(content.AsSpan(100_000));
        var path = Path.Combine("/dev/shm", $"archazure-test-{Guid.NewGuid():N}");
        try
        {
            await File.WriteAllBytesAsync(path, content);
            using (var source = File.OpenHandle(path))
            using (var destination = File.OpenHandle(_folder["copy"], FileMode.CreateNew, FileAccess.ReadWrite))
            {
                await SparseFile.CopyAsync(source, destination, 0, content.Length, null, default);
            }

            Assert.Equal(content, await File.ReadAllBytesAsync(_folder["copy"]));
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>Where the file system has blocks of 4096 bytes, as ext4 and tmpfs.</summary>
    [Theory]
    [InlineData(4096, 8192, "0+8192 8192+4096 20480+4096 65536+6")]
    [InlineData(8192, 8192, "0+8192 8192+8192 16384+8192 65536+6")]
    [InlineData(16384, 1 << 20, "0+32768 65536+6")]
    [InlineData(1 << 20, 1 << 20, "0+65542")]
    public void Pieces_are_whole_units_up_to_the_end(int unit, int most, string pieces)
    {
        using var handle = File.OpenHandle(_folder["file"], FileMode.CreateNew, FileAccess.ReadWrite);
        RandomAccess.SetLength(handle, 65542);
        RandomAccess.Write(handle, new byte[12288], 0);
        RandomAccess.Write(handle, new byte[1], 20480);
        RandomAccess.Write(handle, new byte[6], 65536);

        Assert.Equal(
            pieces, string.Join(' ', SparseFile.Pieces(handle, 65542, unit, most).Select(piece => $"{piece.Offset}+{piece.Length}")));
    }
}
