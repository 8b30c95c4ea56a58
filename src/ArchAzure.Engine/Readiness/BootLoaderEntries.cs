using System.IO.Enumeration;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>The entries of the Boot Loader Specification, as systemd-boot and GRUB's <c>blscfg</c> read them.</summary>
/// <remarks>Source: https://uapi-group.org/specifications/specs/boot_loader_specification; systemd's loader.conf(5).</remarks>
internal static class BootLoaderEntries
{
    private static readonly string[] s_folders = ["/loader", "/boot/loader"];

    /// <summary>The entry that is started, or null if there are none.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="loader">Who reads them.</param>
    /// <param name="environment">The lines of GRUB's <c>grubenv</c>.</param>
    public static BootEntry? Read(CheckedDisk disk, BootLoader loader, IReadOnlyList<string> environment)
    {
        var variables = GrubConfiguration.ReadEnvironment(environment);
        List<Entry> entries = [];
        foreach (var tree in disk.Trees)
        {
            foreach (var path in tree.Look(files => s_folders.SelectMany(folder => Glob.Expand(files, $"{folder}/entries/*.conf"))))
            {
                entries.Add(Entry.Read(tree, path));
            }
        }

        entries.RemoveAll(entry => !entry.Has("linux"));
        entries.Sort(Entry.Compare);
        if (entries.Count == 0)
        {
            return null;
        }

        var chosen = loader == BootLoader.GrubEntries
            ? entries.Find(entry => entry.Id == variables.GetValueOrDefault("saved_entry"))
            : Default(disk) is { } pattern
                ? entries.Find(entry => FileSystemName.MatchesSimpleExpression(pattern, entry.Id + ".conf", ignoreCase: true)
                    || FileSystemName.MatchesSimpleExpression(pattern, entry.Id, ignoreCase: true))
                : null;
        var entry = chosen ?? entries[0];
        return new(
            loader, entry.Path, BootEntry.FindKernel(disk, entry.Tree, entry.One("linux"), entry.Path),
            [.. Words("options").Select(word => word.StartsWith('$') ? variables.GetValueOrDefault(word[1..], "") : word)
                .SelectMany(word => word.Split(' ', StringSplitOptions.RemoveEmptyEntries))],
            [.. Words("initrd").Where(word => !word.StartsWith('$')).Select(path => BootEntry.Find(disk, entry.Tree, path))]);

        IEnumerable<string> Words(string key) =>
            entry.All(key).SelectMany(value => value.Split(' ', StringSplitOptions.RemoveEmptyEntries));
    }

    /// <summary>The pattern of the entry that systemd-boot starts, or null if its configuration names none.</summary>
    public static string? Default(CheckedDisk disk) =>
        disk.Trees.SelectMany(tree => tree.Look(files => s_folders.SelectMany(folder => files.ReadLines($"{folder}/loader.conf"))))
            .Select(line => line.Split([' ', '\t'], 2, StringSplitOptions.RemoveEmptyEntries))
            .Where(words => words is ["default", _])
            .Select(words => words[1].Trim())
            .FirstOrDefault(pattern => !pattern.StartsWith('@'));

    private sealed record Entry(SystemTree Tree, string Path, ILookup<string, string> Values)
    {
        public string Id => Path[(Path.LastIndexOf('/') + 1)..^".conf".Length];

        public static Entry Read(SystemTree tree, string path) =>
            new(
                tree, path,
                tree.FileSystem.ReadLines(path)
                    .Select(line => line.Trim().Split([' ', '\t'], 2, StringSplitOptions.RemoveEmptyEntries))
                    .Where(words => words.Length == 2 && !words[0].StartsWith('#'))
                    .ToLookup(words => words[0], words => words[1].Trim(), StringComparer.Ordinal));

        public bool Has(string key) => Values.Contains(key);

        public IEnumerable<string> All(string key) => Values[key];

        public string One(string key) => All(key).FirstOrDefault("");

        /// <summary>As the menu has them: those with a sort key first, newer versions first.</summary>
        public static int Compare(Entry first, Entry second)
        {
            const string sortKey = "sort-key";
            const string version = "version";
            var order = (first.One(sortKey).Length == 0).CompareTo(second.One(sortKey).Length == 0);
            order = order != 0 ? order : string.CompareOrdinal(first.One(sortKey), second.One(sortKey));
            order = order != 0 ? order : Versions.Compare(second.One(version), first.One(version));
            return order != 0 ? order : Versions.Compare(second.Id, first.Id);
        }
    }
}
