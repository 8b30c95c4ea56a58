using ArchAzure.Disks;
using ArchAzure.FileSystems;
using Xunit;

namespace ArchAzure.UnitTests.FileSystems;

public sealed class GuidPartitionTableTests
{
    private const int DiskLength = 8 << 20;
    private static readonly Lazy<byte[]> s_disk = new(MakeDisk);

    [Fact]
    public void Reads_what_sgdisk_writes()
    {
        var table = Read(s_disk.Value);

        Assert.Empty(table.Problems);
        Assert.Equal(new Guid("11111111-2222-3333-4444-555555555555"), table.DiskId);
        Assert.Equal(
            [
                new GuidPartition(1, PartitionTypes.BiosBoot, new("aaaaaaaa-0000-0000-0000-000000000001"), 2048, 4095, 0, ""),
                new GuidPartition(2, PartitionTypes.EfiSystem, new("aaaaaaaa-0000-0000-0000-000000000002"), 4096, 6143, 0, "EFI system"),
                new GuidPartition(
                    3,
                    PartitionTypes.LinuxRootX64,
                    new("aaaaaaaa-0000-0000-0000-000000000003"),
                    8192,
                    (DiskLength / 512) - 34,
                    0,
                    "root ☃"),
            ],
            table.Partitions);
        Assert.Equal(1 << 20, table.Partitions[0].Offset);
        Assert.Equal(1 << 20, table.Partitions[0].Length);
    }

    [Theory]
    [InlineData(446, "protective MBR")]
    [InlineData(512, "primary GPT is missing")]
    [InlineData(512 + 56, "primary GPT has a header with a wrong checksum")]
    [InlineData(1024 + 5, "primary GPT has entries with a wrong checksum")]
    [InlineData(DiskLength - 512, "backup GPT is missing")]
    [InlineData(DiskLength - 512 + 40, "backup GPT has a header with a wrong checksum")]
    [InlineData(DiskLength - (33 * 512) + 5, "backup GPT has entries with a wrong checksum")]
    public void One_damaged_copy_is_a_problem_and_the_other_is_used(int offset, string problem)
    {
        var disk = s_disk.Value.ToArray();
        disk.AsSpan(offset, 16).Clear();

        var table = Read(disk);

        Assert.Contains(problem, Assert.Single(table.Problems), StringComparison.OrdinalIgnoreCase);
        Assert.Equal(3, table.Partitions.Count);
    }

    [Fact]
    public void Enlarged_disk_has_its_backup_in_the_wrong_place()
    {
        var disk = new byte[DiskLength + (1 << 20)];
        s_disk.Value.CopyTo(disk, 0);

        var problems = Read(disk).Problems;

        Assert.Contains(problems, problem => problem.Contains("backup GPT is missing", StringComparison.Ordinal));
        Assert.Contains(problems, problem => problem.Contains("expects the other copy in sector 16383", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(0, "PartitionTableNotFound")]
    [InlineData(1024, "PartitionTableNotFound")]
    [InlineData(1 << 20, "PartitionTableNotFound")]
    public void None_is_told(int length, string errorId) =>
        Assert.Equal(errorId, Assert.Throws<ArchAzureException>(() => Read(new byte[length])).ErrorId);

    [Fact]
    public void Both_copies_damaged_is_an_error_with_all_reasons()
    {
        var disk = s_disk.Value.ToArray();
        disk[512 + 56] ^= 1;
        disk[DiskLength - 512 + 56] ^= 1;

        var error = Assert.Throws<ArchAzureException>(() => Read(disk));

        Assert.Equal("PartitionTableDamaged", error.ErrorId);
        Assert.Contains("primary", error.Message, StringComparison.Ordinal);
        Assert.Contains("backup", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Overlaps_are_found()
    {
        var disk = s_disk.Value.ToArray();

        // Partition 2 is moved onto partition 1, in both copies, with right checksums.
        foreach (var (header, entries) in new[] { (512, 1024), (DiskLength - 512, DiskLength - (33 * 512)) })
        {
            BitConverter.TryWriteBytes(disk.AsSpan(entries + 128 + 32), 4000L);
            BitConverter.TryWriteBytes(disk.AsSpan(header + 88), Crc(disk.AsSpan(entries, 128 * 128)));
            disk.AsSpan(header + 16, 4).Clear();
            BitConverter.TryWriteBytes(disk.AsSpan(header + 16), Crc(disk.AsSpan(header, 92)));
        }

        Assert.Equal(["Partitions 1 and 2 overlap."], Read(disk).Problems);
    }

    internal static GuidPartitionTable Read(byte[] disk) => GuidPartitionTable.Read(new DiskRegion(new MemoryStream(disk), disk.Length));

    internal static byte[] Sample() => s_disk.Value.ToArray();

    internal static uint Crc(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var b in bytes)
        {
            crc ^= b;
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xEDB88320 : crc >> 1;
            }
        }

        return ~crc;
    }

    private static byte[] MakeDisk()
    {
        using var work = new TemporaryDirectory();
        File.WriteAllBytes(work["disk"], new byte[DiskLength]);
        ImageTool.Run(
            new() { ["LC_ALL"] = "C.UTF-8" },
            "sgdisk",
            [
                "-a", "2048", "-U", "11111111-2222-3333-4444-555555555555",
                "-n", "1:2048:+1M", "-t", "1:ef02", "-u", "1:aaaaaaaa-0000-0000-0000-000000000001",
                "-n", "2:4096:+1M", "-t", "2:ef00", "-u", "2:aaaaaaaa-0000-0000-0000-000000000002", "-c", "2:EFI system",
                "-n", "3:8192:0", "-t", "3:8304", "-u", "3:aaaaaaaa-0000-0000-0000-000000000003", "-c", "3:root ☃",
                work["disk"],
            ]);
        return File.ReadAllBytes(work["disk"]);
    }
}
