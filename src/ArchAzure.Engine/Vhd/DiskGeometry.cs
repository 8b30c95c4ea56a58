namespace ArchAzure.Vhd;

/// <summary>Cylinders, heads and sectors per track of a virtual disk.</summary>
/// <remarks>Source: Virtual Hard Disk Image Format Specification 1.0, appendix "CHS Calculation".</remarks>
/// <param name="Cylinders">0 to 65535.</param>
/// <param name="Heads">1 to 16.</param>
/// <param name="SectorsPerTrack">1 to 255.</param>
internal readonly record struct DiskGeometry(ushort Cylinders, byte Heads, byte SectorsPerTrack)
{
    /// <summary>The size in bytes that this geometry can address; at most that of the disk it was computed for.</summary>
    public long Bytes => (long)Cylinders * Heads * SectorsPerTrack * VhdFooter.SectorSize;

    /// <summary>Computes the geometry of a disk by the specification's algorithm.</summary>
    /// <param name="diskBytes">The size of the disk in bytes; rounded down to whole sectors.</param>
    public static DiskGeometry FromSize(long diskBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(diskBytes);

        // 65535 * 16 * 255 sectors (some 127 GiB) is the most that CHS can express.
        var totalSectors = Math.Min(diskBytes / VhdFooter.SectorSize, 65535L * 16 * 255);
        long sectorsPerTrack;
        long heads;
        long cylinderTimesHeads;
        if (totalSectors >= 65535L * 16 * 63)
        {
            sectorsPerTrack = 255;
            heads = 16;
            cylinderTimesHeads = totalSectors / sectorsPerTrack;
        }
        else
        {
            sectorsPerTrack = 17;
            cylinderTimesHeads = totalSectors / sectorsPerTrack;
            heads = Math.Max((cylinderTimesHeads + 1023) / 1024, 4);
            if (cylinderTimesHeads >= heads * 1024 || heads > 16)
            {
                sectorsPerTrack = 31;
                heads = 16;
                cylinderTimesHeads = totalSectors / sectorsPerTrack;
            }

            if (cylinderTimesHeads >= heads * 1024)
            {
                sectorsPerTrack = 63;
                heads = 16;
                cylinderTimesHeads = totalSectors / sectorsPerTrack;
            }
        }

        return new DiskGeometry((ushort)(cylinderTimesHeads / heads), (byte)heads, (byte)sectorsPerTrack);
    }
}
