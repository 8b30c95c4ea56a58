using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace ArchAzure.Disks;

/// <summary>
/// Makes GRUB for i386-pc bootable on a disk image: boot.img in the MBR, the core image in the BIOS boot partition.
/// </summary>
/// <remarks>
/// What grub-bios-setup does on a GPT disk, without the block device and the mounted file system it asks for: it fails on a
/// container's overlay and on image files. Source: GRUB, <c>include/grub/i386/pc/boot.h</c> and <c>util/setup.c</c>.
/// </remarks>
internal static class GrubBiosBoot
{
    private const int SectorSize = 512;

    private const byte JumpShort = 0xEB;

    // GRUB_BOOT_MACHINE_KERNEL_SECTOR and GRUB_BOOT_MACHINE_DRIVE_CHECK of boot.h.
    private const int KernelSector = 0x5C;
    private const int DriveCheck = 0x66;

    // The first block list of diskboot.img: start (8 bytes), length (2), segment (2) at the end of its sector.
    private const int BlockList = SectorSize - 12;

    /// <summary>The bytes of boot.img to put at the start of the disk; what follows belongs to the partition table.</summary>
    public const int BootCodeLength = 0x1B8;

    /// <summary>Tells the two parts, which lie on the disk already, where they are.</summary>
    /// <param name="disk">The disk image, open for reading and writing: boot.img's code at its start, the core image at the start of
    /// the partition.</param>
    /// <param name="partition">The BIOS boot partition.</param>
    /// <exception cref="ArchAzureException"><c>GrubImageInvalid</c>: a part is missing, or is not what it should be.</exception>
    public static void Link(SafeFileHandle disk, Partition partition)
    {
        Span<byte> boot = stackalloc byte[SectorSize];
        Span<byte> core = stackalloc byte[SectorSize];
        if (RandomAccess.Read(disk, boot, 0) != SectorSize || RandomAccess.Read(disk, core, partition.Offset) != SectorSize)
        {
            throw Invalid("the disk image is too short");
        }

        if (boot[0] != JumpShort || BinaryPrimitives.ReadUInt16LittleEndian(boot[0x1FE..]) != 0xAA55)
        {
            throw Invalid("its boot code is not in the first sector");
        }

        // grub-mkimage has set the length of what follows the first sector.
        var following = BinaryPrimitives.ReadUInt16LittleEndian(core[(BlockList + 8)..]);
        if (following == 0 || following + 1 > partition.SectorCount)
        {
            throw Invalid($"the core image's block list says {following} sectors, the BIOS boot partition has {partition.SectorCount}");
        }

        BinaryPrimitives.WriteInt64LittleEndian(boot[KernelSector..], partition.FirstSector);

        // Two NOPs: trust the drive number only if it is a hard disk's, the work-around for BIOSes that pass a wrong one.
        boot[DriveCheck] = 0x90;
        boot[DriveCheck + 1] = 0x90;
        RandomAccess.Write(disk, boot, 0);

        BinaryPrimitives.WriteInt64LittleEndian(core[BlockList..], partition.FirstSector + 1);
        RandomAccess.Write(disk, core, partition.Offset);
    }

    private static ArchAzureException Invalid(string reason) =>
        new(
            "GrubImageInvalid",
            ErrorKind.InvalidData,
            $"GRUB for BIOS is not right on the disk: {reason}. Run Install-ArchBase -Force, and then the steps after it.");
}
