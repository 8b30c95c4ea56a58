using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>No logs of the machine that the image was made on.</summary>
internal sealed class NoLogs : ReadinessRule
{
    public override string Wanted => "no logs with content in /var/log";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(ReadinessImage image) => PassIfNone(
        [.. ImageTree.Files(image.Root, "/var/log").Where(file => file.Status is { Type: ImageFileType.File, Size: > 0 } && file.Path != "/var/log/README").Select(file => file.Path)],
        "none",
        "Empty /var/log.");
}
