using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace ArchAzure.Disks;

/// <summary>
/// Puts GRUB for i386-pc onto a disk image: boot.img into the MBR, the core image into the BIOS boot partition.
/// </summary>
/// <remarks>
/// What grub-bios-setup does on a GPT disk, without the block device and the mounted file system it asks for: it fails on a
/// container's overlay and on image files. Source: GRUB, <c>include/grub/i386/pc/boot.h</c> and <c>util/setup.c</c>.
/// </remarks>
public static class GrubBiosBoot
{
    private const int SectorSize = 512;

    // GRUB_BOOT_MACHINE_BPB_END: the BIOS parameter block before it belongs to the file system of a floppy.
    private const int DriveCheck = 0x66;
    private const int KernelSector = 0x5C;

    // GRUB_BOOT_MACHINE_WINDOWS_NT_MAGIC: disk signature and partition table start here and stay as they are.
    private const int BootCodeEnd = 0x1B8;

    // The first block list of diskboot.img: start (8 bytes), length (2), segment (2) at the end of its sector.
    private const int BlockList = SectorSize - 12;

    /// <summary>Writes both parts.</summary>
    /// <param name="disk">The disk image, open for reading and writing.</param>
    /// <param name="boot">GRUB's boot.img: 512 bytes.</param>
    /// <param name="core">A core image made by grub-mkimage -O i386-pc.</param>
    /// <param name="partition">The BIOS boot partition.</param>
    /// <exception cref="ArchAzureException"><c>GrubImageInvalid</c>: a file is not what it should be, or does not fit.</exception>
    public static void Write(SafeFileHandle disk, ReadOnlySpan<byte> boot, ReadOnlySpan<byte> core, Partition partition)
    {
        if (boot.Length != SectorSize || boot[0x1FE] != 0x55 || boot[0x1FF] != 0xAA)
        {
            throw Invalid("boot.img is not one boot sector");
        }

        var coreSectors = (core.Length + SectorSize - 1) / SectorSize;
        if (coreSectors < 2 || coreSectors > partition.SectorCount)
        {
            throw Invalid($"the core image has {core.Length} bytes, the BIOS boot partition {partition.Length}");
        }

        if (BinaryPrimitives.ReadUInt16LittleEndian(core[(BlockList + 8)..]) != coreSectors - 1)
        {
            throw Invalid("the core image's block list does not fit its length");
        }

        Span<byte> sector = stackalloc byte[SectorSize];
        if (RandomAccess.Read(disk, sector, 0) != SectorSize)
        {
            throw Invalid("the disk image has no first sector");
        }

        boot[..BootCodeEnd].CopyTo(sector);
        BinaryPrimitives.WriteInt64LittleEndian(sector[KernelSector..], partition.FirstSector);

        // Two NOPs: trust the drive number only if it is a hard disk's, the work-around for BIOSes that pass a wrong one.
        sector[DriveCheck] = 0x90;
        sector[DriveCheck + 1] = 0x90;
        RandomAccess.Write(disk, sector, 0);

        var embedded = new byte[coreSectors * SectorSize];
        core.CopyTo(embedded);
        BinaryPrimitives.WriteInt64LittleEndian(embedded.AsSpan(BlockList), partition.FirstSector + 1);
        RandomAccess.Write(disk, embedded, partition.Offset);
    }

    private static ArchAzureException Invalid(string reason) =>
        new("GrubImageInvalid", ErrorKind.InvalidData, $"GRUB cannot be put onto the disk: {reason}. Make the builder anew with New-ArchBootstrap -Force.");
}
