namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The footer is one that all readers take the same size from. That the file is a whole fixed VHD with a right checksum was found when
/// it was opened.
/// QEMU and others go by the footer's size only for creators they know, and compute a smaller disk from the geometry for all others:
/// the last partition then runs off the disk.
/// </summary>
internal sealed class FixedVhdFooter : ReadinessRule
{
    // QEMU's block/vpc.c: these creators' current size counts. Azure's own image tools refuse `qemu`.
    private static readonly string[] s_trustedCreators = ["win ", "qem2", "d2v ", "tap\0"];

    public override string Wanted => "a fixed VHD by a creator whose size all readers trust ('win ', 'qem2')";

    public override string Source =>
        "Virtual Hard Disk Image Format Specification 1.0; QEMU block/vpc.c; microsoft/azure-linux-image-tools vhdutils.go";

    public override Finding Check(CheckedDisk disk)
    {
        var creator = disk.Footer.CreatorApplication;
        var found = $"{disk.Footer.DiskType} VHD, creator '{creator.TrimEnd('\0')}', {disk.Footer.CurrentSize} bytes";
        return s_trustedCreators.Contains(creator, StringComparer.Ordinal)
            ? Pass(found)
            : Warn(
                found,
                "Azure takes it, but other readers may see a smaller disk. Write the footer again: ConvertTo-AzureVhd -Path of the raw "
                + "disk.");
    }
}
