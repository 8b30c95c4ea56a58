using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>A network interface as systemd-networkd would see it on Azure.</summary>
/// <param name="Name">Its name, with <c>net.ifnames=0</c>.</param>
/// <param name="Driver">Its driver.</param>
internal sealed record NetworkInterface(string Name, string Driver);

/// <summary>One .network file with its drop-ins.</summary>
internal sealed class NetworkFile
{
    private readonly List<(string Section, string Key, string Value)> _settings = [];

    public required string Path { get; init; }

    /// <summary>The files in the order in which networkd tries them.</summary>
    public static IReadOnlyList<NetworkFile> ReadAll(IFileSystemView root)
    {
        string[] directories =
        [
            "/etc/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network",
        ];
        var files = new List<NetworkFile>();
        foreach (var path in ConfigurationFiles.Find(root, ".network", directories))
        {
            var name = path[(path.LastIndexOf('/') + 1)..];
            var file = new NetworkFile { Path = path };
            var dropIns = ConfigurationFiles.Find(root, ".conf", [.. directories.Select(directory => $"{directory}/{name}.d")]);
            foreach (var part in dropIns.Prepend(path))
            {
                file._settings.AddRange(ConfigurationFiles.ReadIni(root, part));
            }

            files.Add(file);
        }

        return files;
    }

    /// <summary>The last value of a setting, or null.</summary>
    public string? Value(string section, string key) =>
        _settings.FindLast(setting => setting.Section == section && setting.Key == key) is { Value: { } value } ? value : null;

    /// <summary>Whether it applies to an interface; null if that depends on what cannot be seen in an image.</summary>
    /// <remarks>Source: systemd.network(5), "[Match] Section Options": all must match; none at all matches every interface.</remarks>
    public bool? AppliesTo(NetworkInterface network)
    {
        bool? result = true;
        var groups = _settings.Where(setting => setting.Section == "Match").GroupBy(setting => setting.Key, StringComparer.Ordinal);
        foreach (var group in groups)
        {
            // An empty value takes back what was listed before it.
            var values = group.Select(setting => setting.Value).Reverse().TakeWhile(value => value.Length > 0);
            var patterns = values.SelectMany(value => value.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)).ToList();
            if (patterns.Count == 0)
            {
                continue;
            }

            bool? matches = group.Key switch
            {
                "Name" => MatchesAny(patterns, network.Name),
                "Driver" => MatchesAny(patterns, network.Driver),
                "Type" => MatchesAny(patterns, "ether"),

                // Kinds are of virtual interfaces (bridge, veth, vlan); Azure's are none to the kernel.
                "Kind" => MatchesAny(patterns, ""),
                "WLANInterfaceType" or "SSID" or "BSSID" => false,
                "Virtualization" => patterns.Exists(pattern => pattern is "yes" or "true" or "1" or "vm" or "microsoft"),
                "Architecture" => patterns.Contains("x86-64"),
                _ => null,
            };
            if (matches == false)
            {
                return false;
            }

            result = matches is null ? null : result;
        }

        return result;
    }

    private static bool? MatchesAny(List<string> patterns, string value)
    {
        // A leading '!' turns the whole list round.
        var inverted = patterns[0].StartsWith('!');
        var list = inverted ? [patterns[0][1..], .. patterns.Skip(1)] : patterns;
        return list.Exists(pattern => pattern.Contains('[', StringComparison.Ordinal))
            ? null
            : list.Exists(pattern => Glob.Matches(pattern, value)) != inverted;
    }
}
