namespace ArchAzure.Readiness.Rules;

/// <summary>The disk is not larger than an OS disk may be.</summary>
internal sealed class DiskSize : ReadinessRule
{
    private const long TiB = 1L << 40;

    public override string Wanted => "at most 2 TiB for generation 1, 4 TiB for generation 2";

    public override string Source => Sources.AzureGeneration2;

    public override Finding Check(CheckedDisk disk)
    {
        var size = disk.Footer.CurrentSize;
        var limit = (disk.Options.Generation == 2 ? 4 : 2) * TiB;
        var found = $"{(double)size / (1 << 30):0.##} GiB";
        return size <= limit
            ? Pass(found)
            : Fail(
                found,
                disk.Options.Generation is null && size <= 4 * TiB
                    ? "Make the disk smaller, or check it for generation 2 only."
                    : "Make the disk smaller.");
    }
}
