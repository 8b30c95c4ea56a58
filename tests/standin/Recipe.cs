using System.Globalization;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;

namespace ArchAzure.StandIn;

/// <summary>
/// What the mirror is made from: <c>recipe/packages.conf</c> (its own comments say how to read it) and the files beside it.
/// </summary>
internal sealed class Recipe
{
    private const string Prefix = "recipe/";
    private readonly SortedDictionary<string, byte[]> _resources = new(StringComparer.Ordinal);

    private Recipe(string suite, string kernel)
    {
        Assembly assembly = typeof(Recipe).Assembly;
        foreach (string name in assembly.GetManifestResourceNames().Where(n => n.StartsWith(Prefix, StringComparison.Ordinal)))
        {
            using Stream stream = assembly.GetManifestResourceStream(name)!;
            using MemoryStream copy = new();
            stream.CopyTo(copy);
            _resources[name[Prefix.Length..]] = copy.ToArray();
        }

        // The sources that carry the recipe out are among the resources: a change of them makes another mirror.
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach ((string name, byte[] content) in _resources)
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{name}\0{content.Length}\0"));
            hash.AppendData(content);
        }

        hash.AppendData(Encoding.UTF8.GetBytes($"{suite} {kernel}"));
        Hash = Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
        Parse(Text("packages.conf").Replace("linux-image-KERNEL", "linux-image-" + kernel, StringComparison.Ordinal));
    }

    /// <summary>Reads the recipe.</summary>
    /// <param name="suite">The suite of Debian that it is for.</param>
    /// <param name="kernel">The flavour of Debian's kernel, such as <c>cloud-amd64</c>.</param>
    public static Recipe Load(string suite, string kernel) => new(suite, kernel);

    /// <summary>16 hexadecimal digits that change with everything that makes the mirror.</summary>
    public string Hash { get; }

    public List<string[]> Sets { get; } = [];

    public Dictionary<string, PackageRule> Packages { get; } = new(StringComparer.Ordinal);

    public List<string> Dropped { get; } = [];

    public List<string> Removed { get; } = [];

    /// <summary>A file of the recipe as text.</summary>
    public string Text(string name) => Encoding.UTF8.GetString(_resources[name]);

    /// <summary>The files below a folder of the recipe, by path below it.</summary>
    public IEnumerable<(string Path, byte[] Content)> FilesBelow(string folder) =>
        _resources.Where(r => r.Key.StartsWith(folder + "/", StringComparison.Ordinal))
            .Select(r => (r.Key[(folder.Length + 1)..], r.Value));

    /// <summary>Whether a name or path matches a pattern: '*' is any text, '?' any one character.</summary>
    public static bool Matches(string pattern, ReadOnlySpan<char> text) =>
        System.IO.Enumeration.FileSystemName.MatchesSimpleExpression(pattern, text, ignoreCase: false);

    /// <summary>Whether a name of the recipe stands for all that match it.</summary>
    public static bool IsPattern(string name) => name.AsSpan().IndexOfAny('*', '?') >= 0;

    private void Parse(string text)
    {
        foreach (string line in text.Replace("\\\n", " ", StringComparison.Ordinal).Split('\n'))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0 || words[0].StartsWith('#'))
            {
                continue;
            }

            string[] rest = words[1..];
            switch (words[0])
            {
                case "set":
                    Sets.Add(rest);
                    break;
                case "package":
                    Packages.Add(rest[1], new PackageRule(rest[0], rest[1], rest[3..]));
                    break;
                case "drop":
                    Dropped.AddRange(rest);
                    break;
                case "remove":
                    Removed.AddRange(rest);
                    break;
                case "modules":
                    Removed.AddRange(rest.Select(f => $"usr/lib/modules/*/kernel/{f}/*"));
                    break;
                case "depend":
                    Rule(rest[0]).Depends.AddRange(rest[2..]);
                    break;
                case "forget":
                    Rule(rest[0]).Forgotten.AddRange(rest[2..]);
                    break;
                case "provide":
                    Rule(rest[0]).Provides.AddRange(rest[2..]);
                    break;
                case "conflict":
                    Rule(rest[0]).Conflicts.AddRange(rest[2..]);
                    break;
                case "backup":
                    Rule(rest[0]).Backup.AddRange(rest[2..]);
                    break;
                case "move":
                    Rule(rest[0]).Edits.Add(tree => tree.Move(tree.Match(rest[1]), rest[2]));
                    break;
                case "link":
                    Rule(rest[0]).Edits.Add(tree => tree.AddLink(rest[1], rest[2]));
                    break;
                case "dir":
                    Rule(rest[0]).Edits.Add(tree => tree.AddDirectory(rest[1], Octal(rest[2])));
                    break;
                case "mode":
                    Rule(rest[0]).Edits.Add(tree =>
                    {
                        tree[rest[1]].Mode = Octal(rest[2]);
                        tree[rest[1]].Gid = rest.Length > 3 ? int.Parse(rest[3], CultureInfo.InvariantCulture) : 0;
                    });
                    break;
                case "caps":
                    Rule(rest[0]).Edits.Add(tree => tree[rest[1]].Capability = Convert.FromHexString(rest[2]));
                    break;
                case "replace":
                    Rule(rest[0]).Edits.Add(tree => Replace(tree[tree.Match(rest[1])], rest));
                    break;
                default:
                    throw new StandInException($"packages.conf: {words[0]} is no directive.");
            }
        }
    }

    private static void Replace(TreeEntry file, string[] arguments)
    {
        string old = arguments[2].Replace("\\s", " ", StringComparison.Ordinal);
        string text = Encoding.UTF8.GetString(file.Content);
        if (!text.Contains(old, StringComparison.Ordinal))
        {
            throw new StandInException($"packages.conf: {arguments[1]} of {arguments[0]} does not contain '{old}'.");
        }

        file.Content = Encoding.UTF8.GetBytes(
            text.Replace(old, arguments[3].Replace("\\s", " ", StringComparison.Ordinal), StringComparison.Ordinal));
    }

    private static UnixFileMode Octal(string text) => (UnixFileMode)Convert.ToInt32(text, 8);

    private PackageRule Rule(string name) =>
        Packages.TryGetValue(name, out PackageRule? rule)
            ? rule
            : throw new StandInException($"packages.conf: {name} is used before a 'package' line names it.");
}

/// <summary>How one Arch package is made.</summary>
/// <param name="Repository"><c>core</c> or <c>extra</c>.</param>
/// <param name="Name">Arch's name.</param>
/// <param name="Sources">Names and patterns of the Debian packages it holds.</param>
internal sealed record PackageRule(string Repository, string Name, string[] Sources)
{
    public List<string> Depends { get; } = [];

    public List<string> Forgotten { get; } = [];

    public List<string> Provides { get; } = [];

    public List<string> Conflicts { get; } = [];

    public List<string> Backup { get; } = [];

    /// <summary>Changes to the files, in the order of the recipe.</summary>
    public List<Action<FileTree>> Edits { get; } = [];
}
