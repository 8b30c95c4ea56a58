using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>No logs of the machine that the image was made on.</summary>
internal sealed class NoLogs : ReadinessRule
{
    public override string Wanted => "no logs with content in /var/log";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk) => PassIfNone(
        [.. FileTree.Files(disk.Root, "/var/log")
            .Where(file => file.Status is { Type: FileType.File, Size: > 0 } && file.Path != "/var/log/README").Select(file => file.Path)],
        "none",
        "Empty /var/log.");
}
