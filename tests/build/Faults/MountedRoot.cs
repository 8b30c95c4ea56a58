using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using ArchAzure.Target;

namespace ArchAzure.BuildTests.Faults;

/// <summary>What a path of an image is.</summary>
internal sealed record FolderEntry(
    string Type, string Mode, string Owner, string Group, string Size, string Links, string Inode, string Time, string Target)
{
    public string Hash { get; set; } = "";

    public string Device { get; set; } = "";

    /// <summary>All names of the same file, for one that has several.</summary>
    public string Names { get; set; } = "";

    /// <summary>Extended attributes, with values in hexadecimal: capabilities and ACLs are such.</summary>
    public SortedDictionary<string, string> Attributes { get; } = new(StringComparer.Ordinal);

    /// <summary>Everything that two equal files have in common. A folder's size is the file system's affair.</summary>
    public IEnumerable<(string Name, string Value)> Facts(bool times)
    {
        yield return ("type", Type);
        yield return ("mode", Mode);
        yield return ("owner", Owner);
        yield return ("group", Group);
        yield return ("size", Type == "d" ? "" : Size);
        yield return ("link count", Links);
        yield return ("hard links", Names);
        yield return ("link target", Target);
        yield return ("device number", Device);
        yield return ("content", Hash);
        yield return ("extended attributes", string.Join(' ', Attributes.Select(pair => $"{pair.Key}={pair.Value}")));
        yield return ("modification time", times ? Time : "");
    }
}

/// <summary>The root file system of a VHD, mounted to be read and nothing else: the journal is not played back.</summary>
internal sealed partial class MountedRoot : IAsyncDisposable
{
    private readonly TempFolder _folder = new();

    private MountedRoot()
    {
    }

    /// <summary>Where it is mounted.</summary>
    public string Path => _folder["root"];

    public static async Task<MountedRoot> MountAsync(ComparedImage image)
    {
        Assert.True(
            Environment.IsPrivilegedProcess, "Images are compared by mounting them, which takes root. Run the build tests as root.");
        var root = new MountedRoot();
        Directory.CreateDirectory(root.Path);
        try
        {
            var options = image.Disk.RootFileSystem == "btrfs" ? "ro" : "ro,noload";
            await Tool.RunAsync(
                "mount", "-t", image.Disk.RootFileSystem, "-o", $"{options},loop,offset={image.Root.Offset},sizelimit={image.Root.Length}",
                image.Vhd, root.Path);
            return root;
        }
        catch
        {
            root._folder.Dispose();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Tool.RunAsync("umount", Path);
        _folder.Dispose();
    }

    public Task<byte[]> ReadAsync(string path) => File.ReadAllBytesAsync(Path + path);

    /// <summary>Name and version of each installed package, as pacman's database has them.</summary>
    public IReadOnlyList<string> Packages()
    {
        var text = new StringBuilder();
        var packages = Directory.EnumerateFiles(
            System.IO.Path.Combine(Path, "var/lib/pacman/local"), "desc", SearchOption.AllDirectories);
        foreach (var package in packages)
        {
            text.Append(File.ReadAllText(package).TrimEnd('\n')).Append("\n\n");
        }

        return [.. InstalledPackage.Parse(text.ToString()).Select(package => $"{package.Name} {package.Version}")];
    }

    /// <summary>Every path, the root itself as "/".</summary>
    public async Task<SortedDictionary<string, FolderEntry>> EntriesAsync()
    {
        SortedDictionary<string, FolderEntry> entries = new(StringComparer.Ordinal);
        foreach (var fields in Records(await FindAsync("-printf", @"%P\0%y\0%#m\0%U\0%G\0%s\0%n\0%i\0%T@\0%l\0"), 10))
        {
            entries.Add(
                "/" + fields[0],
                new FolderEntry(fields[1], fields[2], fields[3], fields[4], fields[5], fields[6], fields[7], fields[8], fields[9]));
        }

        var allFields = Records(
            await FindAsync("(", "-type", "b", "-o", "-type", "c", ")", "-exec", "stat", "--printf=%n\\0%t:%T\\0", "{}", "+"), 2);
        foreach (var fields in allFields)
        {
            entries[Within(fields[0])].Device = fields[1];
        }

        // "HASH  path", each ended by a zero, the path as it is.
        var lines = (await FindAsync("-type", "f", "-exec", "sha256sum", "--zero", "{}", "+"))
            .Split('\0', StringSplitOptions.RemoveEmptyEntries);
        foreach (var line in lines)
        {
            entries[Within(line[66..])].Hash = line[..64];
        }

        var files = entries.Where(entry => entry.Value.Type != "d" && entry.Value.Links != "1")
            .GroupBy(entry => entry.Value.Inode, StringComparer.Ordinal);
        foreach (var file in files)
        {
            var names = string.Join(' ', file.Select(entry => entry.Key));
            foreach (var (_, entry) in file)
            {
                entry.Names = names;
            }
        }

        FolderEntry? current = null;
        var attributes = (
            await Tool.RunAsync(
                "getfattr", "--recursive", "--physical", "--no-dereference", "--absolute-names", "--dump", "--match=-",
                "--encoding=hex", Path))
            .Split('\n');
        foreach (var line in attributes)
        {
            if (line.StartsWith("# file: ", StringComparison.Ordinal))
            {
                current = entries[Within(OctalEscape()
                    .Replace(line["# file: ".Length..], match => $"{(char)Convert.ToInt32(match.Groups[1].Value, 8)}"))];
            }
            else if (line.Split('=', 2) is [var name, var value])
            {
                current!.Attributes[name] = value;
            }
        }

        return entries;
    }

    private static IEnumerable<string[]> Records(string text, int fields)
    {
        var all = text.Split('\0');
        Assert.True(
            (all.Length - 1) % fields == 0,
            $"find wrote {(all.Length - 1).ToString(CultureInfo.InvariantCulture)} fields, not a multiple of {fields}.");
        return all[..^1].Chunk(fields);
    }

    private Task<string> FindAsync(params string[] arguments) => Tool.RunAsync("find", [Path, .. arguments]);

    private string Within(string path) => path.Length == Path.Length ? "/" : path[Path.Length..];

    [GeneratedRegex(@"\\([0-7]{3})", RegexOptions.None, 1000)]
    private static partial Regex OctalEscape();
}
