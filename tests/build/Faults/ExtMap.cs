using System.Globalization;
using System.Text.RegularExpressions;

namespace ArchAzure.BuildTests.Faults;

/// <summary>
/// Says what lies where in an ext4 file system: tables by dumpe2fs, blocks of files by debugfs, fields by the kernel's
/// Documentation/filesystems/ext4 (super.rst, inodes.rst).
/// </summary>
internal sealed partial class ExtMap(ComparedImage image, ComparedImage other)
{
    private const int Block = DifferingBytes.BlockSize;
    private const int SuperblockOffset = 1024;

    private static readonly Field[] s_superblock =
    [
        new(0x00, "counts and sizes"), new(0x2C, "mount time"), new(0x30, "write time"), new(0x34, "mount counts, state"),
        new(0x40, "last check"), new(0x44, "intervals, features"),
        new(0x68, "UUID"), new(0x78, "names"), new(0xC8, "preallocation, journal"), new(0xEC, "hash seed"), new(0xFC, "hash version, "
            + "descriptors"), new(0x108, "creation time"),
        new(0x10C, "journal backup"), new(0x150, "later fields"), new(0x178, "kilobytes written"), new(0x180, "snapshots, errors"),
        new(0x270, "checksum seed"), new(0x274, "time parts"),
        new(0x27C, "later fields"), new(0x3FC, "checksum"),
    ];

    private static readonly Field[] s_inode =
    [
        new(0x00, "mode"), new(0x02, "owner"), new(0x04, "size"), new(0x08, "atime"), new(0x0C, "ctime"), new(0x10, "mtime"),
        new(0x14, "dtime"), new(0x18, "group"), new(0x1A, "link count"),
        new(0x1C, "block count"), new(0x20, "flags"), new(0x24, "version"), new(0x28, "blocks"), new(0x64, "generation"),
        new(0x68, "attribute block"), new(0x6C, "size"), new(0x70, "fragment"),
        new(0x74, "block count"), new(0x76, "attribute block"), new(0x78, "owner"), new(0x7A, "group"), new(0x7C, "checksum"),
        new(0x7E, "reserved"), new(0x80, "extra size"), new(0x82, "checksum"),
        new(0x84, "ctime"), new(0x88, "mtime"), new(0x8C, "atime"), new(0x90, "creation time"), new(0x98, "version"), new(0x9C, "project"),
        new(0xA0, "attributes in the inode"),
    ];

    // fs/ext4/ext4.h: inodes that have no name.
    private static readonly Dictionary<long, string> s_special = new()
    {
        [2] = "/", [3] = "user quota", [4] = "group quota", [7] = "reserved descriptors", [8] = "journal",
    };

    private readonly string _fileSystem = FileSystem(image);

    /// <summary>Names what lies in differing blocks, by their number on the disk.</summary>
    public async Task<IReadOnlyList<ImageDifference>> NameAsync(IReadOnlyDictionary<long, IReadOnlyList<ByteRun>> blocks)
    {
        var tables = await TablesAsync();
        List<ImageDifference> named = [];
        SortedSet<long> ofFiles = [];
        List<(long Inode, string Field)> inodes = [];
        var first = image.Root.Offset / Block;
        foreach (var (onDisk, runs) in blocks)
        {
            var number = onDisk - first;
            if (tables.Find(table => number >= table.First && number <= table.Last) is not { } found)
            {
                ofFiles.Add(number);
            }
            else if (found.FirstInode > 0)
            {
                foreach (var run in runs)
                {
                    var size = found.InodeSize;
                    var from = (run.Offset - ((first + found.First) * Block)) / size;
                    var to = (run.Offset + run.Length - 1 - ((first + found.First) * Block)) / size;
                    for (var index = from; index <= to; index++)
                    {
                        var start = ((first + found.First) * Block) + (index * size);
                        inodes.AddRange(Field.Touched(s_inode, run, start, size).Select(field => (found.FirstInode + index, field)));
                    }
                }
            }
            else if (found.What == "superblock")
            {
                var start = (onDisk * Block) + (number == 0 ? SuperblockOffset : 0);
                named.AddRange(
                    runs.SelectMany(run => Field.Touched(s_superblock, run, start, 1024))
                        .Select(field => new ImageDifference(DiskMap.RootPlace + found.Place, field)));
            }
            else
            {
                named.Add(new(DiskMap.RootPlace + found.Place, found.What));
            }
        }

        var owners = await OwnersAsync(ofFiles);
        var names = await NamesAsync(owners.Values.Concat(inodes.Select(pair => pair.Inode)).ToHashSet());
        named.AddRange(inodes.Select(pair => new ImageDifference(DiskMap.RootPlace + "inode of " + Name(pair.Inode), pair.Field)));
        named.AddRange(
            ofFiles.Select(
                block =>
                    owners.TryGetValue(block, out var inode)
                        ? new ImageDifference(DiskMap.RootPlace + Name(inode), "content")
                        : new(DiskMap.RootPlace + "free space", $"block {block}")));
        return named;

        string Name(long inode) =>
            names.TryGetValue(inode, out var name) ? name : s_special.TryGetValue(inode, out var special) ? special : $"inode {inode}";
    }

    /// <summary>Everything that is not a file's block, by dumpe2fs.</summary>
    private async Task<List<Table>> TablesAsync()
    {
        // From 1.47.2 on it takes no '?offset='.
        var device = (
            await Tool.RunAsync(
                "losetup", "--find", "--show", "--read-only", "--offset", $"{image.Root.Offset}", "--sizelimit", $"{image.Root.Length}",
                image.Vhd)).Trim();
        string text;
        try
        {
            text = await Tool.RunAsync("dumpe2fs", device);
        }
        finally
        {
            await Tool.RunAsync("losetup", "--detach", device);
        }

        var header = text.Split("\n\n")[0];
        var (size, perGroup) = (Number(header, "Inode size"), Number(header, "Inodes per group"));
        Assert.Equal(Block, Number(header, "Block size"));
        List<Table> tables = [];
        var group = -1L;
        foreach (var line in text.Split('\n'))
        {
            if (GroupLine().Match(line) is { Success: true } start)
            {
                group = Parse(start.Groups[1]);
            }

            foreach (Match part in Part().Matches(line))
            {
                var what = part.Groups[1].Value.ToLowerInvariant() switch
                {
                    "primary superblock" or "backup superblock" => "superblock",
                    "group descriptors" => "descriptors",
                    "reserved gdt blocks" => "reserved descriptors",
                    var other => other,
                };
                var from = Parse(part.Groups[2]);
                var to = part.Groups[3].Success ? Parse(part.Groups[3]) : from;
                tables.Add(
                    new(
                        what == "superblock" && group > 0
                            ? $"copy of the superblock in group {group}"
                            : what == "superblock"
                            ? "superblock"
                            : $"group {group}",
                        what,
                        from,
                        to,
                        what == "inode table" ? (group * perGroup) + 1 : 0,
                        size));
            }
        }

        return tables;
    }

    private async Task<Dictionary<long, long>> OwnersAsync(IReadOnlyCollection<long> blocks)
    {
        Dictionary<long, long> owners = [];
        await AskBothAsync("icheck", blocks, (block, inode) =>
        {
            if (long.TryParse(inode, CultureInfo.InvariantCulture, out var owner))
            {
                owners.TryAdd(block, owner);
            }
        }, owners.ContainsKey);
        return owners;
    }

    private async Task<Dictionary<long, string>> NamesAsync(IReadOnlyCollection<long> inodes)
    {
        Dictionary<long, string> names = [];
        await AskBothAsync("ncheck", inodes, (inode, name) => names.TryAdd(inode, name), names.ContainsKey);
        return names;
    }

    private async Task AskBothAsync(string request, IReadOnlyCollection<long> numbers, Action<long, string> found, Func<long, bool> isKnown)
    {
        foreach (var fileSystem in new[] { _fileSystem, FileSystem(other) })
        {
            foreach (var some in numbers.Where(number => !isKnown(number)).ToList().Chunk(2000))
            {
                // "NUMBER<tab>answer"; a damaged file system answers nothing.
                var lines = (
                    await Tool.TryAsync("debugfs", ["-R", $"{request} {string.Join(' ', some)}", fileSystem])).Output.Split('\n');
                foreach (var line in lines)
                {
                    if (line.Split('\t', 2) is [var number, var answer]
                        && long.TryParse(number, CultureInfo.InvariantCulture, out var parsed))
                    {
                        found(parsed, answer);
                    }
                }
            }
        }
    }

    private static string FileSystem(ComparedImage image) => $"{image.Vhd}?offset={image.Root.Offset}";

    private static long Number(string header, string name) =>
        long.Parse(
            header.Split('\n').First(line => line.StartsWith(name + ":", StringComparison.Ordinal)).Split(':')[1].Trim(),
            CultureInfo.InvariantCulture);

    private static long Parse(Group group) => long.Parse(group.Value, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^Group (\d+):", RegexOptions.None, 1000)]
    private static partial Regex GroupLine();

    [GeneratedRegex(
        @"(Primary superblock|Backup superblock|Group descriptors|Reserved GDT blocks|Block bitmap|Inode bitmap|Inode table)"
            + @" at (\d+)(?:-(\d+))?",
        RegexOptions.None, 1000)]
    private static partial Regex Part();

    private sealed record Table(string Place, string What, long First, long Last, long FirstInode, int InodeSize)
    {
        public Table(string place, string what, long first, long last, long firstInode, long inodeSize)
            : this(place, what, first, last, firstInode, (int)inodeSize)
        {
        }
    }
}
