using System.Buffers.Binary;
using ArchAzure.Disks;
using ArchAzure.UnitTests.FileSystems;
using ArchAzure.Vhd;
using CsCheck;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Fuzz;

/// <summary>
/// VHD footers and partition tables, most of them with right checksums: without them nothing behind the first test would be reached.
/// </summary>
public sealed class DiskFuzzTests(ITestOutputHelper output)
{
    private const int DiskLength = 128 << 10;
    private const int TableLength = 6 * 512;

    private static readonly Lazy<byte[]> s_disk = new(MakeDisk);

    private static readonly byte[] s_footer = VhdFooter.ForFixedDisk(
        30720L << 20, Guid.Parse("00112233-4455-6677-8899-aabbccddeeff"), VhdFooter.Epoch.AddDays(9000)).ToBytes();

    private static Gen<byte[]> Footers =>
        Mutations.Of([s_footer], "conectix", "win ", "Wi2k").Select(Gen.Int[0, 3], (bytes, way) => way switch
    {
        0 => bytes,
        1 => Sized(bytes, VhdFooter.Size),
        _ => WithChecksum(Sized(bytes, VhdFooter.Size)),
    });

    [Fact]
    public void A_footer_is_read_or_refused() => Footers.Run(
        output,
        bytes =>
        {
            var footer = VhdFooter.Parse(bytes);
            Assert.Equal(footer, VhdFooter.Parse(footer.ToBytes()));
            Assert.True(footer.CurrentSize >= 0 && footer.Geometry.Bytes >= 0 && footer.Timestamp >= VhdFooter.Epoch);
        },
        count: 30000);

    [Fact]
    public void A_file_is_a_fixed_vhd_or_refused()
    {
        using var folder = new TempFolder();
        Gen.Select(Mutations.Of([new byte[1024], s_footer, "vhdxfile"u8.ToArray()], "conectix", "vhdxfile"), Footers, Gen.Bool, Gen.Bool)
            .Run(
            output,
            parts =>
            {
                var (content, footer, fitting, cut) = parts;
                if (fitting && footer.Length == VhdFooter.Size && !cut)
                {
                    BinaryPrimitives.WriteInt64BigEndian(footer.AsSpan(48), content.Length);
                    WithChecksum(footer);
                }

                Assert.Equal(
                    content.Length,
                    FixedVhd.ReadFooter(
                        folder.Write("a.vhd", [.. content, .. cut && footer.Length > 0 ? footer[1..] : footer])).CurrentSize);
            },
            count: 3000);
    }

    [Fact]
    public void A_partition_table_is_read_or_refused() =>
        Gen.Select(Mutations.Of([s_disk.Value[..TableLength]], "EFI PART"), Gen.Bool, Gen.Bool, Gen.Int[0, 4]).Run(
            output,
            parts =>
            {
                var (table, repaired, backup, shorter) = parts;
                var disk = s_disk.Value.ToArray();
                Sized(table, TableLength).CopyTo(disk, 0);
                if (repaired)
                {
                    Repair(disk, 512, 1024);
                }

                if (backup)
                {
                    // The same wrong table at the disk's end, where it expects itself.
                    disk.AsSpan(1024, 32 * 512).CopyTo(disk.AsSpan(DiskLength - (33 * 512)));
                    var header = disk.AsSpan(DiskLength - 512, 512);
                    disk.AsSpan(512, 512).CopyTo(header);
                    BinaryPrimitives.WriteInt64LittleEndian(header[24..], (DiskLength / 512) - 1);
                    BinaryPrimitives.WriteInt64LittleEndian(header[32..], 1);
                    BinaryPrimitives.WriteInt64LittleEndian(header[72..], (DiskLength / 512) - 33);
                    Repair(disk, DiskLength - 512, DiskLength - (33 * 512));
                }

                disk = shorter == 0 ? disk[..(DiskLength - (int)(table.Length > 5 ? table[5] : 1))] : disk;
                var read = GuidPartitionTableTests.Read(disk);
                foreach (var partition in read.Partitions)
                {
                    Assert.True(
                        partition.Offset > 0 && partition.Length > 0 && partition.Offset + partition.Length <= disk.Length, $"{partition}");
                    Assert.NotNull(PartitionTypes.Describe(partition.Type));
                }

                Assert.All(read.Problems, problem => Assert.EndsWith(".", problem, StringComparison.Ordinal));
            },
            count: 1000);

    private static byte[] Sized(byte[] bytes, int length)
    {
        Array.Resize(ref bytes, length);
        return bytes;
    }

    private static byte[] WithChecksum(byte[] footer)
    {
        var sum = 0u;
        for (var i = 0; i < footer.Length; i++)
        {
            sum += i is >= 64 and < 68 ? 0u : footer[i];
        }

        BinaryPrimitives.WriteUInt32BigEndian(footer.AsSpan(64), ~sum);
        return footer;
    }

    private static void Repair(byte[] disk, int header, int entries)
    {
        var length = BinaryPrimitives.ReadUInt32LittleEndian(disk.AsSpan(header + 12));
        var count = (ulong)BinaryPrimitives.ReadUInt32LittleEndian(disk.AsSpan(header + 80))
            * BinaryPrimitives.ReadUInt32LittleEndian(disk.AsSpan(header + 84));
        if (length <= 512 && count <= (ulong)(disk.Length - entries))
        {
            BinaryPrimitives.WriteUInt32LittleEndian(disk.AsSpan(header + 88), Crc(disk.AsSpan(entries, (int)count)));
            disk.AsSpan(header + 16, 4).Clear();
            BinaryPrimitives.WriteUInt32LittleEndian(disk.AsSpan(header + 16), Crc(disk.AsSpan(header, (int)length)));
        }
    }

    private static uint Crc(ReadOnlySpan<byte> bytes) => GuidPartitionTableTests.Crc(bytes);

    private static byte[] MakeDisk()
    {
        using var work = new TemporaryDirectory();
        File.WriteAllBytes(work["disk"], new byte[DiskLength]);
        ImageTool.Run(
            "sgdisk", "-a", "1", "-n", "1:40:80", "-t", "1:ef02", "-n", "2:81:120", "-t", "2:ef00", "-c", "2:EFI system", "-n", "3:130:200",
            "-t", "3:8304", work["disk"]);
        return File.ReadAllBytes(work["disk"]);
    }
}
