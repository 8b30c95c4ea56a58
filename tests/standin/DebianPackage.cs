using System.Text;

namespace ArchAzure.StandIn;

/// <summary>A Debian package in the cache: its control fields and its archive.</summary>
internal sealed record DebianPackage(
    string Path, string Name, string Version, IReadOnlyList<string[]> Depends, string[] Provides, string Description)
{
    /// <summary>Adds the package's files to a tree.</summary>
    /// <param name="tree">Gets the files.</param>
    /// <param name="toPath">Maps Debian's paths to those of the tree.</param>
    /// <param name="cancellation">Ends the reading.</param>
    public Task AddToAsync(FileTree tree, Func<string, string> toPath, CancellationToken cancellation) =>
        Tool.PipeAsync("dpkg-deb", ["--fsys-tarfile", Path], write: null, read: s => tree.ReadTar(s, toPath), cancellation);

    /// <summary>Debian's version as <c>[epoch:]pkgver-1</c>.</summary>
    public string ArchVersion
    {
        get
        {
            int colon = Version.IndexOf(':');
            string upstream = Version[(colon + 1)..];
            upstream = upstream.LastIndexOf('-') is > 0 and int dash ? upstream[..dash] : upstream;
            StringBuilder clean = new(Version[..(colon + 1)]);
            foreach (char c in upstream)
            {
                clean.Append(char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '+' ? c : '_');
            }

            return clean.Append("-1").ToString();
        }
    }

    /// <summary>Reads a record of apt-cache.</summary>
    /// <param name="record">The control fields.</param>
    /// <param name="archives">The folder that has the package.</param>
    public static DebianPackage Read(string record, string archives)
    {
        Dictionary<string, string> fields = new(StringComparer.Ordinal);
        foreach (string line in record.Split('\n').Where(l => l.Length > 0 && l[0] != ' ' && l.Contains(':', StringComparison.Ordinal)))
        {
            int colon = line.IndexOf(':');
            fields[line[..colon]] = line[(colon + 1)..].Trim();
        }

        (string name, string version) = (fields["Package"], fields["Version"]);
        string file = $"{name}_{version.Replace(":", "%3a", StringComparison.Ordinal)}_{fields["Architecture"]}.deb";
        string path = System.IO.Path.Combine(archives, file);
        return !File.Exists(path)
            ? throw new StandInException($"{path} is not there although apt downloaded it; empty that directory and try again.")
            : new DebianPackage(
                path,
                name,
                version,
                [.. Names("Pre-Depends").Concat(Names("Depends"))],
                [.. Names("Provides").SelectMany(n => n)],
                fields.GetValueOrDefault("Description-en") ?? fields.GetValueOrDefault("Description") ?? name);

        IEnumerable<string[]> Names(string field) =>
            fields.GetValueOrDefault(field, "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
                .Select(d => d.Split('|').Select(a => a.Trim().Split(' ', ':')[0]).ToArray());
    }
}
