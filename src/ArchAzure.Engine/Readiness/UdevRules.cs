using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>The rules by which udev handles devices.</summary>
/// <remarks>Source: udev(7), "Rules Files".</remarks>
internal static class UdevRules
{
    /// <summary>The lines of all files in effect, without comments; each with its file.</summary>
    public static IEnumerable<(string Path, string Line)> Lines(IFileSystemView root) =>
        ConfigurationFiles.Find(
            root, ".rules", "/etc/udev/rules.d", "/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")
            .SelectMany(path => root.ReadLines(path).Where(line => !line.TrimStart().StartsWith('#')).Select(line => (path, line)));
}
