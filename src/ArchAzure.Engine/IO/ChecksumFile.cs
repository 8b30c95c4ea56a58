namespace ArchAzure.IO;

/// <summary><c>SHA256SUMS</c>: a line a file of the same folder, as <c>sha256sum --check</c> reads it.</summary>
/// <remarks>
/// GNU coreutils manual, "cksum output modes": hash, two spaces, name; a name with a backslash or a line break is escaped, and its line
/// begins with a backslash.
/// </remarks>
internal static class ChecksumFile
{
    /// <summary>The file's name.</summary>
    public const string Name = "SHA256SUMS";

    private const int HashLength = 64;

    /// <summary>Records files of a folder in one rename. Lines of other files stay: several images may share a folder.</summary>
    public static void Add(string folder, IReadOnlyDictionary<string, string> hashes) =>
        Write(folder, [.. LinesOfOthers(folder, hashes.Keys), .. hashes.Select(pair => Line(pair.Value, pair.Key))]);

    /// <summary>Takes files' lines out; the file goes with its last line.</summary>
    public static void Remove(string folder, IEnumerable<string> names) => Write(folder, LinesOfOthers(folder, names));

    /// <summary>Whether a file is recorded with this hash.</summary>
    public static bool Holds(string folder, string name, string hash) => Lines(folder).Contains(Line(hash, name), StringComparer.Ordinal);

    private static List<string> LinesOfOthers(string folder, IEnumerable<string> names)
    {
        var endings = names.Select(name => Line("", name)).ToList();
        return [.. Lines(folder).Where(line => !endings.Exists(ending => IsOf(line, ending)))];
    }

    private static bool IsOf(string line, string ending)
    {
        var escaped = line.StartsWith('\\');
        return escaped == ending.StartsWith('\\')
            && line.Length > HashLength + 1
            && line[(HashLength + (escaped ? 1 : 0))..] == ending[(escaped ? 1 : 0)..];
    }

    private static string Line(string hash, string name)
    {
        var escaped = name.Replace("\\", "\\\\", StringComparison.Ordinal)
            .Replace("\n", "\\n", StringComparison.Ordinal)
            .Replace("\r", "\\r", StringComparison.Ordinal);
        return $"{(escaped == name ? "" : "\\")}{hash}  {escaped}";
    }

    private static string[] Lines(string folder)
    {
        var path = Path.Combine(folder, Name);
        return File.Exists(path) ? File.ReadAllLines(path) : [];
    }

    private static void Write(string folder, IReadOnlyList<string> lines)
    {
        var path = Path.Combine(folder, Name);
        if (lines.Count > 0)
        {
            AtomicFile.WriteAllText(path, string.Concat(lines.Select(line => line + "\n")));
        }
        else if (File.Exists(path))
        {
            File.Delete(path);
        }
    }
}
