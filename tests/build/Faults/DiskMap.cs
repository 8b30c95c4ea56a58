using System.Buffers.Binary;
using System.Globalization;
using ArchAzure.Disks;

namespace ArchAzure.BuildTests.Faults;

/// <summary>
/// Says what lies where on a VHD: structures of GPT (UEFI specification, 5.3), FAT32 (Microsoft, "FAT: General Overview of On-Disk
/// Format") and the footer by their fields; files of the ESP and the root by their names, asked of mtools, dumpe2fs and debugfs.
/// The undisturbed image is the map: the other may be damaged, and only tells whose what is free in the first.
/// </summary>
internal sealed class DiskMap(ComparedImage image, ComparedImage other)
{
    /// <summary>What the names of places in the root file system begin with.</summary>
    public const string RootPlace = "root ";

    private const int Sector = 512;
    private const int EntriesLength = 128 * 128;

    private static readonly Field[] s_footer =
    [
        new(0, "cookie"), new(8, "features"), new(12, "file format version"), new(16, "data offset"), new(24, "time stamp"),
        new(28, "creator application"), new(32, "creator version"),
        new(36, "creator host OS"), new(40, "original size"), new(48, "current size"), new(56, "disk geometry"), new(60, "disk type"),
        new(64, "checksum"), new(68, "unique id"),
        new(84, "saved state"), new(85, "reserved"),
    ];

    private static readonly Field[] s_gptHeader =
    [
        new(0, "signature"), new(8, "revision"), new(12, "header size"), new(16, "header CRC"), new(20, "reserved"), new(24, "own LBA"),
        new(32, "other LBA"), new(40, "first usable LBA"),
        new(48, "last usable LBA"), new(56, "disk GUID"), new(72, "entries LBA"), new(80, "number of entries"), new(84, "size of entries"),
        new(88, "entries CRC"), new(92, "reserved"),
    ];

    private static readonly Field[] s_gptEntry =
    [
        new(0, "type GUID"), new(16, "partition GUID"), new(32, "first LBA"), new(40, "last LBA"), new(48, "attributes"), new(56, "name"),
    ];

    private static readonly Field[] s_fatBoot = [new(0, "boot sector"), new(67, "volume id"), new(71, "boot sector")];

    private static readonly Field[] s_fatEntry =
    [
        new(0, "name"), new(11, "attributes"), new(13, "times"), new(20, "first cluster"), new(22, "times"), new(26, "first cluster"),
        new(28, "size"),
    ];

    /// <summary>Names the places of differing bytes, each once.</summary>
    public async Task<IReadOnlyList<ImageDifference>> NameAsync(DifferingBytes differing)
    {
        var length = new FileInfo(image.Vhd).Length;
        var root = image.Root;
        var esp = image.Disk.Partitions[PartitionPlan.Esp];
        var biosBoot = image.Disk.Partitions[PartitionPlan.BiosBoot];
        List<ImageDifference> named = [];
        var inRoot = new SortedDictionary<long, IReadOnlyList<ByteRun>>();
        EspMap? espMap = null;
        foreach (var (block, runs) in differing.Blocks)
        {
            foreach (var run in runs)
            {
                if (run.Offset >= length - Sector)
                {
                    Add("VHD footer", s_footer, run, length - Sector, Sector);
                }
                else if (In(root, run))
                {
                    inRoot[block] = runs;
                }
                else if (In(esp, run))
                {
                    named.AddRange((espMap ??= await EspMap.ReadAsync(image.Vhd, esp)).Name(run));
                }
                else if (In(biosBoot, run))
                {
                    named.Add(new("BIOS boot partition", "GRUB's core image"));
                }
                else
                {
                    AddTable(run);
                }
            }
        }

        if (inRoot.Count > 0)
        {
            named.AddRange(image.Disk.RootFileSystem == "ext4"
                ? await new ExtMap(image, other).NameAsync(inRoot)
                : inRoot.Keys.Select(
                    block =>
                        new ImageDifference(
                            RootPlace + image.Disk.RootFileSystem, $"block {block - (root.Offset / DifferingBytes.BlockSize)}")));
        }

        if (differing.Further > 0)
        {
            named.Add(new("file", "more blocks", differing.Further.ToString(CultureInfo.InvariantCulture)));
        }

        return [.. named.Distinct()];

        void AddTable(ByteRun run)
        {
            var disk = length - Sector;
            if (run.Offset < Sector)
            {
                named.Add(new("protective MBR", run.Offset < 440 ? "boot code" : "partition table"));
            }
            else if (run.Offset < 2 * Sector)
            {
                Add("GPT header", s_gptHeader, run, Sector, Sector);
            }
            else if (run.Offset < (2 * Sector) + EntriesLength)
            {
                AddEntry("GPT entry", run, 2 * Sector);
            }
            else if (run.Offset >= disk - Sector)
            {
                Add("backup GPT header", s_gptHeader, run, disk - Sector, Sector);
            }
            else if (run.Offset >= disk - Sector - EntriesLength)
            {
                AddEntry("backup GPT entry", run, disk - Sector - EntriesLength);
            }
            else
            {
                named.Add(new("no partition", $"byte {run.Offset}"));
            }
        }

        void AddEntry(string what, ByteRun run, long start)
        {
            const int size = 128;
            var number = (run.Offset - start) / size;
            Add($"{what} {number + 1}", s_gptEntry, run, start + (number * size), size);
        }

        void Add(string place, Field[] fields, ByteRun run, long start, int size) =>
            named.AddRange(Field.Touched(fields, run, start, size).Select(field => new ImageDifference(place, field)));
    }

    private static bool In(Partition partition, ByteRun run) =>
        run.Offset >= partition.Offset && run.Offset < partition.Offset + partition.Length;

    /// <summary>A FAT32 file system: its files' clusters as mtools tells them.</summary>
    private sealed class EspMap
    {
        private readonly long _start;
        private readonly long _fats;
        private readonly long _data;
        private readonly long _clusterBytes;
        private readonly Dictionary<long, (string Path, bool Folder)> _clusters = [];

        private EspMap(long start, ReadOnlySpan<byte> boot)
        {
            _start = start;
            _fats = start + (BinaryPrimitives.ReadUInt16LittleEndian(boot[14..]) * Sector);
            _data = _fats + (boot[16] * (long)BinaryPrimitives.ReadUInt32LittleEndian(boot[36..]) * Sector);
            _clusterBytes = boot[13] * Sector;
        }

        public static async Task<EspMap> ReadAsync(string vhd, Partition esp)
        {
            var boot = new byte[Sector];
            using (var file = File.OpenHandle(vhd))
            {
                RandomAccess.Read(file, boot, esp.Offset);
            }

            var map = new EspMap(esp.Offset, boot);
            var volume = $"{vhd}@@{esp.Offset}";
            List<string> paths =
            [
                "::/",
                .. (await Tool.RunAsync("mdir", "-i", volume, "-/", "-b", "::/")).Split('\n', StringSplitOptions.RemoveEmptyEntries),
            ];
            foreach (var path in paths)
            {
                // "::/EFI/BOOT/BOOTX64.EFI <4-371> <400>"
                var shown = await Tool.RunAsync("mshowfat", "-i", volume, path.Length > 3 ? path.TrimEnd('/') : path);
                foreach (var range in shown.Split('<').Skip(1).Select(text => text.Split('>')[0].Split('-')))
                {
                    var first = long.Parse(range[0], CultureInfo.InvariantCulture);
                    for (var cluster = first; cluster <= long.Parse(range[^1], CultureInfo.InvariantCulture); cluster++)
                    {
                        map._clusters[cluster] = (path["::".Length..], path.EndsWith('/'));
                    }
                }
            }

            return map;
        }

        public IEnumerable<ImageDifference> Name(ByteRun run)
        {
            if (run.Offset < _fats)
            {
                return Field.Touched(s_fatBoot, run, _start + ((run.Offset - _start) / Sector * Sector), Sector)
                    .Select(field => new ImageDifference("ESP", field));
            }

            if (run.Offset < _data)
            {
                return [new("ESP", "file allocation table")];
            }

            var cluster = ((run.Offset - _data) / _clusterBytes) + 2;
            if (!_clusters.TryGetValue(cluster, out var owner))
            {
                return [new("ESP", $"free cluster {cluster}")];
            }

            return owner.Folder
                ? Field.Touched(s_fatEntry, run, _data + ((run.Offset - _data) / 32 * 32), 32)
                    .Select(field => new ImageDifference($"ESP {owner.Path}", $"entry: {field}"))
                : [new($"ESP {owner.Path}", "content")];
        }
    }
}

/// <summary>A field of an on-disk structure; it reaches to the next one.</summary>
internal readonly record struct Field(int Offset, string Name)
{
    /// <summary>The names of the fields that a run of bytes touches, in the structure that begins at an offset.</summary>
    public static IEnumerable<string> Touched(Field[] fields, ByteRun run, long start, int size)
    {
        for (var i = 0; i < fields.Length; i++)
        {
            var (from, to) = (start + fields[i].Offset, i + 1 < fields.Length ? start + fields[i + 1].Offset : start + size);
            if (run.Offset < to && run.Offset + run.Length > from)
            {
                yield return fields[i].Name;
            }
        }
    }
}
