using System.Buffers.Binary;
using ArchAzure.Disks;

namespace ArchAzure.UnitTests.Disks;

public sealed class GrubBiosBootTests : IDisposable
{
    private static readonly Partition s_partition = new(1, "BIOS boot", "ef02", Guid.NewGuid(), 2048, 2048);

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Boot_code_and_core_image_learn_where_the_core_is()
    {
        var image = MakeDisk(coreSectors: 60, jump: 0xEB);

        Link(image);

        var bytes = File.ReadAllBytes(image);
        Assert.Equal(2048, BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(0x5C)));
        Assert.Equal([0x90, 0x90], bytes[0x66..0x68]);
        Assert.Equal(2049, BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan((2048 * 512) + 500)));
        Assert.Equal(59, BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan((2048 * 512) + 508)));
        Assert.Equal([0x55, 0xAA], bytes[510..512]);
        Assert.Equal(0x77, bytes[0x1BE]);
    }

    [Theory]
    [InlineData(60, 0x00)]
    [InlineData(1, 0xEB)]
    [InlineData(2049, 0xEB)]
    public void What_GRUB_did_not_make_is_refused_and_left_alone(int coreSectors, byte jump)
    {
        var image = MakeDisk(coreSectors, jump);
        var before = File.ReadAllBytes(image);

        var error = Assert.Throws<ArchAzureException>(() => Link(image));

        Assert.Equal("GrubImageInvalid", error.ErrorId);
        Assert.Equal(before, File.ReadAllBytes(image));
    }

    private static void Link(string image)
    {
        using var handle = File.OpenHandle(image, FileMode.Open, FileAccess.ReadWrite);
        GrubBiosBoot.Link(handle, s_partition);
    }

    private string MakeDisk(int coreSectors, byte jump)
    {
        var bytes = new byte[3 << 20];
        bytes[0] = jump;
        bytes[0x1BE] = 0x77;
        bytes[510] = 0x55;
        bytes[511] = 0xAA;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan((2048 * 512) + 508), (ushort)(coreSectors - 1));
        return _folder.Write("disk.img", bytes);
    }
}
