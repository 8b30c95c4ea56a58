using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>No downloaded packages: they are a third of a small image, and out of date on the day it is used.</summary>
internal sealed class NoPackageCache : ReadinessRule
{
    private static readonly string[] s_directories = ["/var/cache/pacman/pkg", "/var/cache/apt/archives", "/var/cache/dnf"];

    public override string Wanted => "an empty package cache";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk) => PassIfNone(
        [.. s_directories.SelectMany(directory => FileTree.Files(disk.Root, directory))
            .Where(file => file.Status is { Type: FileType.File, Size: > 0 }).Select(file => file.Path)],
        "empty",
        "Empty it: pacman -Scc.");
}
