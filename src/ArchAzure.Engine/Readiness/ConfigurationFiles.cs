using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>Configuration in several directories, where a file hides those of the same name in later ones.</summary>
/// <remarks>Source: systemd's sysctl.d(5) and systemd.network(5), "Configuration Directories and Precedence".</remarks>
internal static class ConfigurationFiles
{
    private const int MaximumFiles = 1000;

    /// <summary>The files in effect, in the order of their names.</summary>
    /// <param name="root">The image.</param>
    /// <param name="suffix">How their names end.</param>
    /// <param name="directories">Most important first.</param>
    public static IReadOnlyList<string> Find(IFileSystemView root, string suffix, params string[] directories)
    {
        var found = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var directory in directories)
        {
            foreach (var name in root.ReadDirectory(directory).Where(name => name.EndsWith(suffix, StringComparison.Ordinal)))
            {
                found.TryAdd(name, $"{directory}/{name}");
                if (found.Count > MaximumFiles)
                {
                    throw DiskErrors.TooLarge($"{directories[0]} and the like have more than {MaximumFiles} files.");
                }
            }
        }

        // A link to /dev/null, or an empty file, only hides others.
        return [.. found.Values.Where(path => root.GetStatus(path) is { Type: FileType.File, Size: > 0 })];
    }

    /// <summary>Reads a file in the style of ini: sections, <c>key=value</c>, comments with '#' or ';'.</summary>
    public static IEnumerable<(string Section, string Key, string Value)> ReadIni(IFileSystemView root, string path)
    {
        var section = "";
        foreach (var line in root.ReadLines(path).Select(line => line.Trim()))
        {
            if (line.StartsWith('[') && line.EndsWith(']'))
            {
                section = line[1..^1];
            }
            else if (!line.StartsWith('#') && !line.StartsWith(';') && line.Split('=', 2) is [var key, var value])
            {
                yield return (section, key.TrimEnd(), value.TrimStart());
            }
        }
    }
}
