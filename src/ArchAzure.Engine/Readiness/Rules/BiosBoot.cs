using ArchAzure.Disks;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>Generation 1 starts: code in the MBR, and what it loads lies in the BIOS boot partition.</summary>
internal sealed class BiosBoot : ReadinessRule
{
    private const int SectorSize = GuidPartitionTable.SectorSize;

    // Fields of GRUB's boot.img and diskboot.img: include/grub/i386/pc/boot.h.
    private const int GrubKernelSector = 0x5C;
    private const int GrubFirstBlockList = SectorSize - 12;
    private const int BootCodeLength = 440;

    public override string Wanted =>
        "boot code in the MBR that leads to a core image: in the BIOS boot partition of a GPT, or before the first partition of an MBR";

    public override string Source => Sources.AzureLinuxImage + "; GNU GRUB manual, \"BIOS installation\"";

    public override bool AppliesTo(ReadinessOptions options) => options.Generation is not 2;

    public override Finding Check(CheckedDisk disk)
    {
        const string Remedy = "Install GRUB for i386-pc: grub-install --target=i386-pc --modules=part_gpt onto the disk.";
        var mbr = disk.Disk.ReadBytes(0, SectorSize);
        if (mbr.AsSpan(0, BootCodeLength).IndexOfAnyExcept((byte)0) < 0)
        {
            return Fail("no boot code in the MBR", Remedy);
        }

        if (disk.PartitionTable is MasterBootRecord)
        {
            return CheckGap(disk, mbr, Remedy);
        }

        if (disk.PartitionTable.Partitions.FirstOrDefault(partition => partition.Type == PartitionTypes.BiosBoot) is not { } partition)
        {
            return Unknown("boot code in the MBR, but no BIOS boot partition to find what it loads");
        }

        var first = disk.Region(partition).ReadBytes(0, SectorSize);
        if (first.AsSpan().IndexOfAnyExcept((byte)0) < 0)
        {
            return Fail($"the BIOS boot partition (partition {partition.Number}) is empty", Remedy);
        }

        if (mbr.AsSpan(0, BootCodeLength).IndexOf("GRUB"u8) < 0)
        {
            return Unknown("boot code in the MBR that is not GRUB's");
        }

        if (mbr.U64(GrubKernelSector) != (ulong)partition.FirstSector)
        {
            return Fail(
                $"GRUB in the MBR loads sector {mbr.U64(GrubKernelSector)}, the BIOS boot partition begins at {partition.FirstSector}",
                Remedy);
        }

        var coreSector = first.U64(GrubFirstBlockList);
        int coreSectors = first.U16(GrubFirstBlockList + 8);
        if (coreSectors == 0
            || coreSector < (ulong)partition.FirstSector
            || coreSector + (ulong)coreSectors - 1 > (ulong)partition.LastSector)
        {
            return Fail(
                $"GRUB's core image claims to be {coreSectors} sectors from {coreSector} on, outside the BIOS boot partition", Remedy);
        }

        var core = disk.Disk.ReadBytes((long)coreSector * SectorSize, coreSectors * SectorSize);
        return core.AsSpan().IndexOfAnyExcept((byte)0) < 0
            ? Fail("GRUB's core image is empty", Remedy)
            : Pass($"GRUB in the MBR, core image of {(coreSectors + 1) * SectorSize / 1024} KiB in partition {partition.Number}");
    }

    /// <summary>On a disk with an MBR the core image lies between it and the first partition.</summary>
    private static Finding CheckGap(CheckedDisk disk, byte[] mbr, string remedy)
    {
        if (mbr.AsSpan(0, BootCodeLength).IndexOf("GRUB"u8) < 0)
        {
            return Unknown("boot code in the MBR that is not GRUB's");
        }

        var (sector, end) = (mbr.U64(GrubKernelSector), (ulong)disk.PartitionTable.Partitions[0].FirstSector);
        return sector == 0 || sector >= end
            ? Unknown($"GRUB in the MBR loads sector {sector}, which is not before the first partition")
            : disk.Disk.ReadBytes((long)sector * SectorSize, SectorSize).AsSpan().ContainsAnyExcept((byte)0)
                ? Pass($"GRUB in the MBR, core image from sector {sector} on")
                : Fail($"GRUB's core image, at sector {sector}, is empty", remedy);
    }
}
