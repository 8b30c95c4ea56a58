using ArchAzure.Disks;
using ArchAzure.FileSystems;
using ArchAzure.IO;
using ArchAzure.Vhd;

namespace ArchAzure.UnitTests.Vhd;

public sealed class VhdConverterTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_copy_is_rounded_up_and_keeps_the_source_and_its_holes()
    {
        var raw = MakeRaw("disk.raw", length: (64 << 20) + 1234, dataAt: 10 << 20);

        var footer = await ConvertAsync(raw, _folder["disk.vhd"]);

        Assert.Equal(65L << 20, footer.CurrentSize);
        Assert.Equal((65L << 20) + 512, new FileInfo(_folder["disk.vhd"]).Length);
        Assert.Equal(footer, FixedVhd.ReadFooter(_folder["disk.vhd"]));
        Assert.Equal((64 << 20) + 1234, new FileInfo(raw).Length);
        Assert.Equal(File.ReadAllBytes(raw), File.ReadAllBytes(_folder["disk.vhd"])[..((64 << 20) + 1234)]);
        Assert.True(SparseFile.AllocatedBytes(_folder["disk.vhd"]) < 4 << 20, "the copy is not sparse");
        Assert.False(File.Exists(_folder["disk.vhd.part"]));
    }

    [Fact]
    public async Task In_place_the_file_itself_becomes_the_vhd()
    {
        var raw = MakeRaw("disk.raw", length: 3 << 20, dataAt: 0);

        await VhdConverter.ConvertAsync(
            new VhdConversion { SourcePath = raw, DestinationPath = _folder["disk.vhd"], InPlace = true },
            new RecordingReporter(),
            default);

        Assert.False(File.Exists(raw));
        Assert.Equal(3L << 20, FixedVhd.ReadFooter(_folder["disk.vhd"]).CurrentSize);
    }

    /// <summary>Sizes that end with a MiB, a sector after one, in the middle of the old backup's reach, and in no whole sector.</summary>
    [Theory]
    [InlineData(8 << 20, false)]
    [InlineData((8 << 20) + 512, false)]
    [InlineData((9 << 20) - 512, false)]
    [InlineData((9 << 20) - (20 * 512), true)]
    [InlineData((8 << 20) + 131_072, true)]
    [InlineData((8 << 20) + 1234, false)]
    public async Task A_gpt_has_its_backup_at_the_end_of_the_vhd(int length, bool inPlace)
    {
        var raw = _folder["disk.raw"];
        Tool.Run("truncate", [$"--size={length}", raw]);
        Tool.Run("sgdisk", ["--new=1:2048:+1M", "--new=2:0:0", "--change-name=2:root", raw]);
        var table = Tool.Run("sgdisk", ["--print", raw]);

        await VhdConverter.ConvertAsync(
            new VhdConversion { SourcePath = raw, DestinationPath = _folder["disk.vhd"], InPlace = inPlace },
            new RecordingReporter(),
            default);

        using var file = File.OpenRead(_folder["disk.vhd"]);
        var read = GuidPartitionTable.Read(new DiskRegion(file, FixedVhd.ReadFooter(_folder["disk.vhd"]).CurrentSize));
        Assert.Empty(read.Problems);
        file.Close();

        // sgdisk sees the VHD's disk without its footer.
        Tool.Run("truncate", ["--size=-512", _folder["disk.vhd"]]);
        Assert.Contains("No problems found", Tool.Run("sgdisk", ["--verify", _folder["disk.vhd"]]), StringComparison.Ordinal);
        var after = Tool.Run("sgdisk", ["--print", _folder["disk.vhd"]]);
        Assert.Equal(table.Split('\n')[^3..], after.Split('\n')[^3..]);
        var mbr = File.ReadAllBytes(_folder["disk.vhd"])[..512];
        Assert.Equal((uint)(new FileInfo(_folder["disk.vhd"]).Length / 512) - 1, BitConverter.ToUInt32(mbr, 446 + 12));
    }

    /// <summary>Kill it anywhere: what is on the disk up to then is a table whose primary is good, and the next run finishes it.</summary>
    [Fact]
    public async Task A_move_of_the_backup_that_is_cut_off_is_finished_by_the_next()
    {
        var raw = _folder["disk.raw"];
        Tool.Run("truncate", ["--size=8M", raw]);
        Tool.Run("sgdisk", ["--new=1:2048:+1M", raw]);
        var before = await File.ReadAllBytesAsync(raw);
        var enlarged = before.Concat(new byte[1 << 20]).ToArray();
        var moved = Moved(enlarged);

        // In the order in which they are written: entries, backup, primary, protective MBR, the old backup.
        var sectors = moved.Length / 512;
        int[] order = [.. Enumerable.Range(sectors - 33, 33), 1, 0, (8 << 11) - 1];
        Assert.Equal(
            order.Order(),
            Enumerable.Range(0, sectors)
                .Where(sector => !Sector(moved, sector).SequenceEqual(Sector(enlarged, sector)))
                .Union(order)
                .Order());
        var cut = enlarged.ToArray();
        foreach (var sector in order)
        {
            Sector(moved, sector).CopyTo(cut.AsSpan(sector * 512));
            using var stream = new MemoryStream(cut);
            Assert.Single(GuidPartitionTable.Read(new DiskRegion(stream, cut.Length)).Partitions);
            Assert.Equal(moved[..^512], sector == order[^1] ? cut[..^512] : Finished(cut)[..^512]);
        }

        byte[] Finished(byte[] disk)
        {
            var again = Moved(disk);
            Sector(moved, order[^1]).CopyTo(again.AsSpan(order[^1] * 512));
            Sector(moved, 0).CopyTo(again);
            return again;
        }

        byte[] Moved(byte[] disk)
        {
            var path = _folder.Write("moved", disk);
            using (var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite))
            {
                Assert.Null(GuidPartitionTable.MoveBackupToEnd(file, disk.Length));
            }

            return File.ReadAllBytes(path);
        }

        static byte[] Sector(byte[] disk, int sector) => disk[(sector * 512)..((sector + 1) * 512)];
    }

    [Fact]
    public async Task A_gpt_that_is_damaged_is_left_alone_and_told()
    {
        var raw = _folder["disk.raw"];
        Tool.Run("truncate", ["--size=8193K", raw]);
        Tool.Run("sgdisk", ["--new=1:2048:+1M", raw]);
        using (var file = new FileStream(raw, FileMode.Open, FileAccess.Write))
        {
            file.Position = 1024;
            file.WriteByte(0xFF);
        }

        var reporter = new RecordingReporter();
        await VhdConverter.ConvertAsync(new VhdConversion { SourcePath = raw, DestinationPath = _folder["disk.vhd"] }, reporter, default);

        Assert.Contains("entries with a wrong checksum", Assert.Single(reporter.Warnings), StringComparison.Ordinal);
        Assert.Equal(File.ReadAllBytes(raw), File.ReadAllBytes(_folder["disk.vhd"])[..(int)new FileInfo(raw).Length]);
    }

    [Fact]
    public async Task Zeros_that_are_stored_are_not_copied()
    {
        var raw = _folder.Write("disk.raw", new byte[8 << 20]);
        Assert.True(SparseFile.AllocatedBytes(raw) >= 8 << 20, "the source should be stored zeros");

        await ConvertAsync(raw, _folder["disk.vhd"]);

        Assert.True(SparseFile.AllocatedBytes(_folder["disk.vhd"]) < 1 << 20);
    }

    [Fact]
    public async Task Identity_and_time_are_the_callers()
    {
        var raw = MakeRaw("disk.raw", 1 << 20, 0);
        var conversion = new VhdConversion
        {
            SourcePath = raw, DestinationPath = _folder["a.vhd"], UniqueId = Guid.Parse("11111111-2222-3333-4444-555555555555"),
            Timestamp = VhdFooter.Epoch.AddDays(1),
        };

        await VhdConverter.ConvertAsync(conversion, new RecordingReporter(), default);
        await VhdConverter.ConvertAsync(conversion with { DestinationPath = _folder["b.vhd"] }, new RecordingReporter(), default);

        Assert.Equal(File.ReadAllBytes(_folder["a.vhd"]), File.ReadAllBytes(_folder["b.vhd"]));
    }

    [Fact]
    public async Task An_existing_destination_is_kept_unless_forced()
    {
        var raw = MakeRaw("disk.raw", 1 << 20, 0);
        _folder.Write("disk.vhd", "precious");

        var error = await Assert.ThrowsAsync<ArchAzureException>(() => ConvertAsync(raw, _folder["disk.vhd"]));

        Assert.Equal("DestinationExists", error.ErrorId);
        Assert.Contains("-Force", error.Message, StringComparison.Ordinal);
        Assert.Equal("precious", File.ReadAllText(_folder["disk.vhd"]));
    }

    [Fact]
    public async Task Its_checksum_is_the_one_of_sha256sum()
    {
        var raw = MakeRaw("disk.raw", 64 << 20, 1 << 20);
        var reporter = new RecordingReporter();

        await VhdConverter.ConvertAsync(
            new VhdConversion { SourcePath = raw, DestinationPath = _folder["disk.vhd"], InPlace = true, Checksum = true },
            reporter,
            default);

        Tool.Run("sha256sum", ["--check", "--strict", "SHA256SUMS"], _folder.Path);
        Assert.Single(File.ReadAllLines(_folder["SHA256SUMS"]));
        Assert.Contains(reporter.Updates, update => update.Status == "computing the SHA-256 of disk.vhd");
    }

    [Fact]
    public async Task It_is_compressed_next_to_it()
    {
        var raw = MakeRaw("disk.raw", 64 << 20, 10 << 20);

        await VhdConverter.ConvertAsync(
            new VhdConversion { SourcePath = raw, DestinationPath = _folder["disk.vhd"], Compress = true },
            new RecordingReporter(),
            default);

        Tool.Run("sha256sum", ["--check", "--strict", "SHA256SUMS"], _folder.Path);
        Assert.EndsWith("  disk.vhd.zst", Assert.Single(File.ReadAllLines(_folder["SHA256SUMS"])));
        Tool.Run("zstd", ["--decompress", "--quiet", _folder["disk.vhd.zst"], "-o", _folder["again.vhd"]]);
        Tool.Run("cmp", [_folder["disk.vhd"], _folder["again.vhd"]]);
        Assert.Equal(5, Directory.GetFiles(_folder.Path).Length);
    }

    [Fact]
    public async Task A_cancelled_compression_leaves_the_vhd_alone()
    {
        var raw = _folder.Write("disk.raw", Enumerable.Repeat((byte)1, 64 << 20).ToArray());
        using var cancelled = new CancellationTokenSource();
        var reporter = new RecordingReporter
        {
            Watch = status =>
            {
                if (status == "compressing disk.vhd")
                {
                    cancelled.Cancel();
                }
            },
        };

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => VhdConverter.ConvertAsync(
                new VhdConversion { SourcePath = raw, DestinationPath = _folder["disk.vhd"], InPlace = true, Compress = true },
                reporter,
                cancelled.Token));

        Assert.Equal(["disk.vhd"], Directory.GetFiles(_folder.Path).Select(Path.GetFileName));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_speaks_of_another_vhd_goes_when_that_is_replaced(bool inPlace)
    {
        var raw = MakeRaw("disk.raw", 1 << 20, 0);
        var vhd = _folder.Write("disk.vhd", "another");
        _folder.Write("disk.vhd.cdx.json", "its packages");
        _folder.Write("disk.vhd.zst", "compressed");
        foreach (var path in new[] { vhd, vhd + ".cdx.json", vhd + ".zst", _folder["other.vhd"] })
        {
            ChecksumFile.Sha256.Add(path, new string('0', 64));
            ChecksumFile.FsVerity.Add(path, new string('0', 64));
        }

        ChecksumFile.FsVerity.Remove(vhd + ".cdx.json");
        ChecksumFile.FsVerity.Remove(vhd + ".zst");
        await VhdConverter.ConvertAsync(
            new VhdConversion { SourcePath = raw, DestinationPath = vhd, InPlace = inPlace, Force = true },
            new RecordingReporter(),
            default);

        Assert.False(File.Exists(vhd + ".cdx.json"));
        Assert.False(File.Exists(vhd + ".zst"));
        Assert.Equal($"{new string('0', 64)}  other.vhd\n", File.ReadAllText(_folder["SHA256SUMS"]));
        Assert.Equal($"sha256:{new string('0', 64)} other.vhd\n", File.ReadAllText(_folder["FSVERITYSUMS"]));
    }

    [Fact]
    public async Task What_speaks_of_another_vhd_is_not_replaced_without_force()
    {
        var list = _folder.Write("disk.vhd.cdx.json", "its packages");

        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => ConvertAsync(MakeRaw("disk.raw", 1 << 20, 0), _folder["disk.vhd"]));

        Assert.Equal(("DestinationExists", (object)list), (error.ErrorId, error.Target));
        Assert.Equal("its packages", File.ReadAllText(list));
    }

    [Fact]
    public async Task A_cancelled_copy_leaves_nothing()
    {
        var raw = MakeRaw("disk.raw", 8 << 20, 0);
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () =>
                VhdConverter.ConvertAsync(
                    new VhdConversion { SourcePath = raw, DestinationPath = _folder["disk.vhd"] },
                    new RecordingReporter(),
                    cancelled.Token));

        Assert.Equal(["disk.raw"], Directory.GetFiles(_folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public async Task What_is_no_raw_image_is_refused()
    {
        var raw = MakeRaw("disk.raw", 1 << 20, 0);
        await ConvertAsync(raw, _folder["disk.vhd"]);

        await RefusedAsync("NotARawImage", _folder["disk.vhd"]);
        await RefusedAsync("NotARawImage", _folder.Write("a.vhdx", "vhdxfile and more"));
        await RefusedAsync("NotARawImage", _folder.Write("a.qcow2", [.. "QFI"u8, 0xFB, .. new byte[600]]));
        await RefusedAsync("RawImageEmpty", _folder.Write("empty", ""));
        await RefusedAsync("RawImageNotFound", _folder["missing"]);
    }

    [Fact]
    public async Task In_place_goes_nowhere_else()
    {
        var raw = MakeRaw("disk.raw", 1 << 20, 0);
        Directory.CreateDirectory(_folder["other"]);

        var error = await Assert.ThrowsAsync<ArchAzureException>(() => VhdConverter.ConvertAsync(
            new VhdConversion
            {
                SourcePath = raw, DestinationPath = _folder["other/disk.vhd"], InPlace = true,
            }, new RecordingReporter(), default));

        Assert.Equal("InPlaceElsewhere", error.ErrorId);
        Assert.Equal(1 << 20, new FileInfo(raw).Length);
    }

    [Fact]
    public async Task A_fixed_vhd_that_is_not_whole_is_told_from_other_files()
    {
        await ConvertAsync(MakeRaw("disk.raw", 2 << 20, 0), _folder["good.vhd"]);
        var good = File.ReadAllBytes(_folder["good.vhd"]);

        Assert.Equal("NotAVhd", Reading(good[..^1]));
        Assert.Equal("VhdTruncated", Reading(good[1..]));
        Assert.Equal("VhdTruncated", Reading([.. good[^512..], .. new byte[1024]]));
        Assert.Equal("VhdxNotSupported", Reading([.. "vhdxfile"u8, .. good]));
        Assert.Equal("DamagedVhdFooter", Reading([.. good[..^1], 1]));
        Assert.Equal("VhdNotFixed", Reading((VhdFooter.Parse(good.AsSpan()[^512..]) with { DiskType = VhdDiskType.Dynamic }).ToBytes()));
        Assert.Equal("NotAVhd", Reading([]));

        string Reading(byte[] content) =>
            Assert.Throws<ArchAzureException>(() => FixedVhd.ReadFooter(_folder.Write("other.vhd", content))).ErrorId;
    }

    private static Task<VhdFooter> ConvertAsync(string source, string destination) =>
        VhdConverter.ConvertAsync(
            new VhdConversion { SourcePath = source, DestinationPath = destination }, new RecordingReporter(), default);

    private async Task RefusedAsync(string errorId, string source)
    {
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => ConvertAsync(source, _folder["out.vhd"]));
        Assert.Equal(errorId, error.ErrorId);
        Assert.Contains(source, error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(_folder["out.vhd"]));
    }

    private string MakeRaw(string name, long length, long dataAt)
    {
        using var handle = File.OpenHandle(_folder[name], FileMode.CreateNew, FileAccess.Write);
        RandomAccess.SetLength(handle, length);
        var data = new byte[512 << 10];
        new Random(7).NextBytes(data);
        RandomAccess.Write(handle, data, dataAt);
        return _folder[name];
    }
}
