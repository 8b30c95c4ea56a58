using System.Buffers.Binary;
using System.Text;
using ArchAzure.Vhd;
using CsCheck;

namespace ArchAzure.UnitTests.Vhd;

public sealed class VhdFooterTests
{
    private static readonly Guid s_id = Guid.Parse("00112233-4455-6677-8899-aabbccddeeff");
    private static readonly DateTimeOffset s_time = new(2026, 11, 22, 20, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Every_field_is_where_the_specification_has_it()
    {
        var bytes = VhdFooter.ForFixedDisk(30720L << 20, s_id, s_time).ToBytes();

        Assert.Equal(512, bytes.Length);
        Assert.Equal("conectix", Encoding.ASCII.GetString(bytes, 0, 8));
        Assert.Equal(2u, BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(8)));
        Assert.Equal(0x00010000u, BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(12)));
        Assert.Equal(ulong.MaxValue, BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(16)));
        Assert.Equal(
            (uint)(s_time - new DateTimeOffset(2000, 1, 1, 0, 0, 0, TimeSpan.Zero)).TotalSeconds,
            BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(24)));
        Assert.Equal("win ", Encoding.ASCII.GetString(bytes, 28, 4));
        Assert.Equal("Wi2k", Encoding.ASCII.GetString(bytes, 36, 4));
        Assert.Equal(32212254720, BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(40)));
        Assert.Equal(32212254720, BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(48)));
        Assert.Equal(2u, BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(60)));
        Assert.Equal(Convert.FromHexString("00112233445566778899AABBCCDDEEFF"), bytes[68..84]);
        Assert.All(bytes[84..], b => Assert.Equal(0, b));

        // The checksum field is the one's complement of the sum of all other bytes: added up with its complement it leaves none.
        var sum = bytes.Where((_, i) => i is < 64 or >= 68).Aggregate(0u, (total, b) => total + b);
        Assert.Equal(~sum, BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(64)));
    }

    // Worked out by hand from the specification's algorithm; the sizes (MiB) take each of its branches.
    [Theory]
    [InlineData(1, 30, 4, 17)]
    [InlineData(40, 963, 5, 17)]
    [InlineData(127, 1019, 15, 17)]
    [InlineData(200, 825, 16, 31)]
    [InlineData(504, 1024, 16, 63)]
    [InlineData(2048, 4161, 16, 63)]
    [InlineData(30720, 62415, 16, 63)]
    [InlineData(130048, 65278, 16, 255)]
    [InlineData(130557, 65534, 16, 255)]
    [InlineData(4194304, 65535, 16, 255)]
    public void Geometry_follows_the_specifications_algorithm(long sizeMiB, int cylinders, int heads, int sectors)
    {
        var geometry = DiskGeometry.FromSize(sizeMiB << 20);

        Assert.Equal((cylinders, heads, sectors), (geometry.Cylinders, geometry.Heads, geometry.SectorsPerTrack));
    }

    [Theory]
    [InlineData(33)]
    [InlineData(250)]
    [InlineData(2048)]
    [InlineData(40000)]
    public void Geometry_is_what_qemu_img_writes(long sizeMiB)
    {
        // Without force_size qemu-img rounds the disk up to its geometry.
        using var folder = new TempFolder();
        Tool.Run("qemu-img", ["create", "-q", "-f", "vpc", "-o", "subformat=fixed", folder["disk.vhd"], $"{sizeMiB}M"]);
        using var handle = File.OpenHandle(folder["disk.vhd"]);
        var bytes = new byte[512];
        RandomAccess.Read(handle, bytes, RandomAccess.GetLength(handle) - 512);
        var footer = VhdFooter.Parse(bytes);

        Assert.Equal(footer.CurrentSize, footer.Geometry.Bytes);
        Assert.Equal(footer.Geometry, DiskGeometry.FromSize(footer.CurrentSize));
    }

    [Fact]
    public void Geometry_never_addresses_more_than_the_disk_has() =>
        Gen.Long[1, 4L << 40].Sample(size => DiskGeometry.FromSize(size).Bytes <= size);

    [Fact]
    public void A_footer_reads_back_as_it_was_written() =>
        Gen.Select(Gen.Long[1, 1L << 33], Gen.Guid, Gen.UInt).Sample((sectors, id, seconds) =>
        {
            var footer = VhdFooter.ForFixedDisk(sectors * 512, id, VhdFooter.Epoch.AddSeconds(seconds));
            Assert.Equal(footer, VhdFooter.Parse(footer.ToBytes()));
        });

    [Fact]
    public void Any_changed_byte_is_noticed()
    {
        var good = VhdFooter.ForFixedDisk(1 << 20, s_id, s_time).ToBytes();
        Gen.Select(Gen.Int[0, 511], Gen.Byte[1, 255]).Sample((index, change) =>
        {
            var bad = (byte[])good.Clone();
            bad[index] ^= change;
            var error = Assert.Throws<ArchAzureException>(() => VhdFooter.Parse(bad));
            Assert.Equal(index < 8 ? "NotAVhd" : "DamagedVhdFooter", error.ErrorId);
        });
    }

    [Fact]
    public void Random_bytes_are_refused_and_nothing_else_happens() =>
        Gen.Byte.Array[0, 1024].Sample(bytes => { Assert.Throws<ArchAzureException>(() => VhdFooter.Parse(bytes)); });
}
