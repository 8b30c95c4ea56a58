namespace ArchAzure.IO;

/// <summary>A file of checksums: a line for each file of the same folder.</summary>
/// <remarks>
/// GNU coreutils manual, "cksum output modes": a name with a backslash or a line break is escaped, and its line begins with a backslash.
/// </remarks>
internal sealed class ChecksumFile
{
    private const int HashLength = 64;

    private readonly string _prefix;
    private readonly string _separator;

    private ChecksumFile(string name, string prefix, string separator) => (Name, _prefix, _separator) = (name, prefix, separator);

    /// <summary><c>SHA256SUMS</c>, as <c>sha256sum --check</c> reads it.</summary>
    public static ChecksumFile Sha256 { get; } = new("SHA256SUMS", "", "  ");

    /// <summary><c>FSVERITYSUMS</c>: what <c>fsverity digest</c> prints.</summary>
    public static ChecksumFile FsVerity { get; } = new("FSVERITYSUMS", "sha256:", " ");

    /// <summary>The file's name.</summary>
    public string Name { get; }

    /// <summary>Records a file's hash in one rename. Lines of other files stay: several images may share a folder.</summary>
    public void Add(string path, string hash) => Write(path, [.. LinesOfOthers(path), Line(path, hash)]);

    /// <summary>Takes a file's line out; the checksum file goes with its last line.</summary>
    public void Remove(string path)
    {
        if (Holds(path))
        {
            Write(path, LinesOfOthers(path));
        }
    }

    /// <summary>Whether a file is recorded with this hash, or with any.</summary>
    public bool Holds(string path, string? hash = null) =>
        hash is null ? Lines(path).Any(line => IsOf(line, path)) : Lines(path).Contains(Line(path, hash), StringComparer.Ordinal);

    /// <summary>The checksum file in the folder of another file.</summary>
    public string PathNextTo(string path) => Path.Combine(Path.GetDirectoryName(path)!, Name);

    private List<string> LinesOfOthers(string path) => [.. Lines(path).Where(line => !IsOf(line, path))];

    private bool IsOf(string line, string path)
    {
        var (start, end) = Around(path);
        return line.Length == start.Length + HashLength + end.Length
            && line.StartsWith(start, StringComparison.Ordinal)
            && line.EndsWith(end, StringComparison.Ordinal);
    }

    private string Line(string path, string hash)
    {
        var (start, end) = Around(path);
        return start + hash + end;
    }

    /// <summary>What stands before and after the hash in a file's line.</summary>
    private (string Start, string End) Around(string path)
    {
        var name = Path.GetFileName(path);
        var escaped = name.Replace("\\", "\\\\", StringComparison.Ordinal)
            .Replace("\n", "\\n", StringComparison.Ordinal)
            .Replace("\r", "\\r", StringComparison.Ordinal);
        return ((escaped == name ? "" : "\\") + _prefix, _separator + escaped);
    }

    private string[] Lines(string path)
    {
        var file = PathNextTo(path);
        return File.Exists(file) ? File.ReadAllLines(file) : [];
    }

    private void Write(string path, IReadOnlyList<string> lines)
    {
        var file = PathNextTo(path);
        if (lines.Count > 0)
        {
            AtomicFile.WriteAllText(file, string.Concat(lines.Select(line => line + "\n")));
        }
        else if (File.Exists(file))
        {
            File.Delete(file);
        }
    }
}
