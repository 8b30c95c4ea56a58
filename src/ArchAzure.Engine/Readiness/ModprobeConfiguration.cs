using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>What modprobe is told about modules.</summary>
/// <remarks>Source: modprobe.d(5).</remarks>
internal static class ModprobeConfiguration
{
    /// <summary>The lines of all files in effect, as words.</summary>
    public static IEnumerable<string[]> Words(IFileSystemView root) =>
        ConfigurationFiles.Find(
            root, ".conf", "/etc/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
            .SelectMany(path => root.ReadLines(path))
            .Select(line => line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries));

    /// <summary>
    /// Whether a line keeps a module from being loaded at all, as hardening guides do; a blacklist line alone does not stop a mount.
    /// </summary>
    public static bool Forbids(string[] words, string module) =>
        words is ["install", var name, "/bin/false" or "/bin/true" or "/usr/bin/false" or "/usr/bin/true", ..] && name == module;
}
