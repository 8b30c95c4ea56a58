using ArchAzure.Disks;
using CsCheck;

namespace ArchAzure.UnitTests.Disks;

public sealed class PartitionPlanTests
{
    [Fact]
    public void The_layout_is_that_of_the_official_images()
    {
        var disk = PartitionPlan.Create(30720, 2048, "ext4", Guid.NewGuid);

        Assert.Equal(["ef02", "ef00", "8304"], disk.Partitions.Select(p => p.TypeCode));
        Assert.Equal([1L << 20, 300L << 20], disk.Partitions.Take(2).Select(p => p.Length));
        Assert.Equal(1L << 20, disk.Partitions[0].Offset);
        Assert.Equal((30720L - 1) << 20, disk.Partitions[2].Offset + disk.Partitions[2].Length);
    }

    [Fact]
    public void Partitions_are_aligned_in_order_and_leave_room_for_the_backup_table() =>
        Gen.Select(Gen.Long[2048, 4 << 20], Gen.Long[1, 32]).Sample((sizeMiB, startMiB) =>
        {
            var partitions = PartitionPlan.Create(sizeMiB, startMiB * 2048, "btrfs", Guid.NewGuid).Partitions;
            for (var i = 0; i < partitions.Count; i++)
            {
                Assert.Equal(0, partitions[i].FirstSector % 2048);
                Assert.Equal(0, partitions[i].SectorCount % 2048);
                Assert.True(partitions[i].SectorCount > 0);
                Assert.Equal(
                    i == 0 ? startMiB * 2048 : partitions[i - 1].FirstSector + partitions[i - 1].SectorCount, partitions[i].FirstSector);
            }

            Assert.True(partitions[2].FirstSector + partitions[2].SectorCount <= (sizeMiB * 2048) - 33);
        });

    [Fact]
    public void Every_identity_is_another_one()
    {
        var disk = PartitionPlan.Create(2048, 2048, "ext4", Guid.NewGuid);
        Guid[] all = [disk.DiskGuid, disk.RootUuid, disk.HashSeed, .. disk.Partitions.Select(p => p.PartitionGuid)];

        Assert.Equal(all.Length, all.Distinct().Count());
        Assert.Matches("^[0-9A-F]{4}-[0-9A-F]{4}$", disk.EspUuid);
    }

    [Theory]
    [InlineData(2048, 4096)]
    [InlineData(4 << 20, 2048)]
    public void The_table_is_the_one_that_sgdisk_writes(long sizeMiB, long firstSector)
    {
        using var folder = new TempFolder();
        var disk = PartitionPlan.Create(sizeMiB, firstSector, "ext4", Guid.NewGuid);
        foreach (var name in new[] { "disk.img", "sgdisk.img" })
        {
            using var image = File.Create(folder[name]);
            image.SetLength(sizeMiB << 20);
            if (name == "disk.img")
            {
                GuidPartitionTable.Write(image, image.Length, disk.DiskGuid, PartitionPlan.Table(disk));
            }
        }

        Tool.Run(
            "sgdisk",
            [
                "--clear", "--set-alignment=1", $"--disk-guid={disk.DiskGuid}",
                .. disk.Partitions.SelectMany(partition => new[]
                {
                    $"--new={partition.Number}:{partition.FirstSector}:{partition.FirstSector + partition.SectorCount - 1}",
                    $"--typecode={partition.Number}:{partition.TypeCode}",
                    $"--partition-guid={partition.Number}:{partition.PartitionGuid}",
                    $"--change-name={partition.Number}:{partition.Name}",
                }),
                folder["sgdisk.img"],
            ]);
        foreach (var (offset, length) in new[] { (0L, 1 << 20), ((sizeMiB - 1) << 20, 1 << 20) })
        {
            Assert.Equal(Bytes("sgdisk.img"), Bytes("disk.img"));

            byte[] Bytes(string name)
            {
                using var image = File.OpenHandle(folder[name]);
                var bytes = new byte[length];
                Assert.Equal(length, RandomAccess.Read(image, bytes, offset));
                return bytes;
            }
        }

        Assert.Contains("No problems found", Tool.Run("sgdisk", ["--verify", folder["disk.img"]]), StringComparison.Ordinal);
        var root = Tool.Run("sgdisk", ["--info=3", folder["disk.img"]]);
        Assert.Contains(disk.Partitions[2].PartitionGuid.ToString(), root, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", root, StringComparison.Ordinal);
        Assert.Contains($"First sector: {disk.Partitions[2].FirstSector} ", root, StringComparison.Ordinal);
        Assert.Contains("Partition name: 'root'", root, StringComparison.Ordinal);
    }
}
