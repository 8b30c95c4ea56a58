using System.Text;

namespace ArchAzure.StandIn;

/// <summary>A Debian package in the cache: its control fields and its archive.</summary>
internal sealed record DebianPackage(string Path, string Name, string Version, IReadOnlyList<string[]> Depends, string[] Provides, string Description)
{
    /// <summary>
    /// Has apt resolve each set of packages against an empty system and download what it takes, then reads all of them.
    /// The host's own packages and apt's state are neither looked at nor changed.
    /// </summary>
    /// <param name="sets">Names to resolve together.</param>
    /// <param name="cache">A directory that keeps the archives between runs.</param>
    /// <param name="cancellation">Ends the download.</param>
    public static async Task<IReadOnlyList<DebianPackage>> DownloadAsync(IEnumerable<string[]> sets, string cache, CancellationToken cancellation)
    {
        _ = Directory.CreateDirectory(System.IO.Path.Combine(cache, "partial"));
        string status = System.IO.Path.Combine(cache, "status");
        await File.WriteAllTextAsync(status, "", cancellation);
        string[] options =
        [
            "-o", $"Dir::State::status={status}", "-o", $"Dir::Cache::archives={cache}", "-o", "APT::Install-Recommends=0",
            "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "-o", "Debug::NoLocking=1",
        ];
        Dictionary<string, string> versions = new(StringComparer.Ordinal);
        foreach (string[] set in sets)
        {
            _ = await Tool.RunAsync("apt-get", [.. options, "--download-only", "--yes", "--quiet=2", "install", .. set], cancellation);
            string plan = await Tool.RunAsync("apt-get", [.. options, "--simulate", "--quiet=2", "install", .. set], cancellation);
            foreach (string[] words in plan.Split('\n').Where(l => l.StartsWith("Inst ", StringComparison.Ordinal)).Select(l => l.Split(' ')))
            {
                versions[words[1]] = words[2].TrimStart('(');
            }
        }

        string records = await Tool.RunAsync("apt-cache", [.. options, "show", .. versions.Select(v => $"{v.Key}={v.Value}")], cancellation);
        return [.. records.Split("\n\n", StringSplitOptions.RemoveEmptyEntries).Select(r => Read(r, cache)).DistinctBy(p => p.Name)];
    }

    /// <summary>Adds the package's files to a tree, at Arch's places.</summary>
    public Task AddToAsync(FileTree tree, CancellationToken cancellation) =>
        Tool.PipeAsync("dpkg-deb", ["--fsys-tarfile", Path], write: null, read: s => tree.ReadTar(s, FileTree.ToArchPath), cancellation);

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

    private static DebianPackage Read(string record, string cache)
    {
        Dictionary<string, string> fields = new(StringComparer.Ordinal);
        foreach (string line in record.Split('\n').Where(l => l.Length > 0 && l[0] != ' ' && l.Contains(':', StringComparison.Ordinal)))
        {
            int colon = line.IndexOf(':');
            fields[line[..colon]] = line[(colon + 1)..].Trim();
        }

        (string name, string version) = (fields["Package"], fields["Version"]);
        string pattern = $"{name}_{version.Replace(":", "%3a", StringComparison.Ordinal)}_{fields["Architecture"]}.deb";
        string path = System.IO.Path.Combine(cache, pattern);
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
