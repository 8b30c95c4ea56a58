namespace ArchAzure.Readiness.Rules;

/// <summary>The disk's size is a whole number of MiB; Azure refuses others when a disk is made of the blob.</summary>
internal sealed class WholeMebibytes : ReadinessRule
{
    private const long MiB = 1 << 20;

    public override string Wanted => "a size of n × 1 MiB (and the footer of 512 bytes)";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk)
    {
        var size = disk.Footer.CurrentSize;
        return size > 0 && size % MiB == 0
            ? Pass($"{size / MiB} MiB")
            : Fail(
                $"{size} bytes, {size % MiB} more than a whole MiB", "Convert the disk with ConvertTo-AzureVhd -Path, which rounds it up.");
    }
}
