using System.Globalization;
using System.Text;

namespace ArchAzure.StandIn;

/// <summary>
/// One suite of Debian, seen by an apt root of its own: no package counts as installed, and the host's apt (its sources, lists,
/// keys and packages) is neither used nor changed.
/// </summary>
internal sealed class DebianSuite
{
    private readonly string _root;
    private readonly Dictionary<string, string> _environment;

    private DebianSuite(string root)
    {
        _root = root;
        _environment = new(StringComparer.Ordinal) { ["APT_CONFIG"] = Path.Combine(root, "apt.conf") };
    }

    /// <summary>Where apt keeps the packages it downloads.</summary>
    public string Archives => Path.Combine(_root, "cache/archives");

    /// <summary>Makes the apt root, or takes up what an earlier run left of it.</summary>
    /// <param name="name">The suite's code name, such as <c>forky</c>.</param>
    /// <param name="address">The archive's address, which has <c>dists/NAME</c> below it.</param>
    /// <param name="keys">Debian's archive keys, armored; only they may sign the suite.</param>
    /// <param name="cache">The folder for the root.</param>
    /// <param name="cancellation">Ends apt.</param>
    public static async Task<DebianSuite> OpenAsync(string name, string address, string keys, string cache, CancellationToken cancellation)
    {
        string root = Path.Combine(cache, "apt-" + name);
        var folders = (string[])
        [
            "etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "etc/trusted.gpg.d", "state/lists/partial",
            "cache/archives/partial",
        ];
        foreach (string folder in folders)
        {
            _ = Directory.CreateDirectory(Path.Combine(root, folder));
        }

        await File.WriteAllTextAsync(Path.Combine(root, "state/status"), "", cancellation);
        string keyFile = Path.Combine(root, "keys.asc");
        await File.WriteAllTextAsync(keyFile, keys, cancellation);
        await File.WriteAllTextAsync(
            Path.Combine(root, "etc/sources.list"), $"deb [arch=amd64 signed-by={keyFile}] {address} {name} main\n", cancellation);

        // How the host reaches its servers (a proxy, say) holds here too; all else of its configuration does not.
        StringBuilder configuration = new(
            await Tool.RunAsync("apt-config", ["dump", "--format", "%F \"%v\";%n", "Acquire::http", "Acquire::https"], cancellation));
        foreach ((string option, string value) in ((string, string)[])
            [
                ("Dir", root), ("Dir::Etc", "etc"), ("Dir::State", "state"), (
                    "Dir::State::status", Path.Combine(root, "state/status")), ("Dir::Cache", "cache"),
                ("Acquire::Languages", "none"),
                // A rolling suite's copy on a mirror may be older than its Release file allows; its signature is checked all the same.
                ("Acquire::Check-Valid-Until", "false"),
                ("Acquire::Retries", "3"),
                ("APT::Install-Recommends", "false"), ("APT::Architecture", "amd64"),
                // apt's own user cannot read a cache in root's home.
                ("APT::Sandbox::User", "root"),
            ])
        {
            configuration.Append(CultureInfo.InvariantCulture, $"{option} \"{value}\";\n");
        }

        await File.WriteAllTextAsync(Path.Combine(root, "apt.conf"), configuration.ToString(), cancellation);
        DebianSuite suite = new(root);
        if (!Directory.EnumerateFiles(Path.Combine(root, "state/lists"), "*_Packages*").Any())
        {
            await suite.UpdateAsync(cancellation);
        }

        return suite;
    }

    /// <summary>The archive that the host itself installs from, or null if that is none of Debian's.</summary>
    public static async Task<string?> HostAddressAsync(CancellationToken cancellation)
    {
        string targets = await Tool.RunAsync(
            "apt-get", ["indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"], cancellation);
        return targets.Split('\n').Select(l => l.Split(' ')).FirstOrDefault(w => w is [_, "Debian", "Debian"])?[0];
    }

    /// <summary>Fetches the suite's list of packages.</summary>
    public Task UpdateAsync(CancellationToken cancellation) => RunAsync("apt-get", ["update", "--error-on=any", "--quiet=2"], cancellation);

    /// <summary>Resolves each set of packages by itself, downloads what it takes, and reads all of them.</summary>
    /// <param name="sets">Names to resolve together; one with a '?' at its end is left out where the suite lacks it.</param>
    /// <param name="cancellation">Ends the download.</param>
    public async Task<IReadOnlyList<DebianPackage>> DownloadAsync(IEnumerable<string[]> sets, CancellationToken cancellation)
    {
        HashSet<string> known = [.. (await RunAsync("apt-cache", ["pkgnames"], cancellation)).Split('\n')];
        Dictionary<string, string> versions = new(StringComparer.Ordinal);
        foreach (string[] set in sets)
        {
            string[] names = [.. set.Where(n => !n.EndsWith('?') || known.Contains(n[..^1])).Select(n => n.TrimEnd('?'))];
            _ = await RunAsync("apt-get", ["--download-only", "--yes", "--quiet=2", "install", .. names], cancellation);
            string plan = await RunAsync("apt-get", ["--simulate", "--quiet=2", "install", .. names], cancellation);
            foreach (
                string[] words in plan.Split('\n').Where(l => l.StartsWith("Inst ", StringComparison.Ordinal)).Select(l => l.Split(' ')))
            {
                versions[words[1]] = words[2].TrimStart('(');
            }
        }

        string records = await RunAsync("apt-cache", ["show", .. versions.Select(v => $"{v.Key}={v.Value}")], cancellation);
        return [.. records.Split("\n\n", StringSplitOptions.RemoveEmptyEntries)
            .Select(r => DebianPackage.Read(r, Archives))
            .DistinctBy(p => p.Name)];
    }

    private Task<string> RunAsync(string program, IEnumerable<string> arguments, CancellationToken cancellation) =>
        Tool.RunAsync(program, arguments, cancellation, _environment);
}
