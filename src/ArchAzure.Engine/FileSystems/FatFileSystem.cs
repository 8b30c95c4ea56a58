using System.Numerics;
using System.Text;

namespace ArchAzure.FileSystems;

/// <summary>Reads FAT12, FAT16 and FAT32 with long names.</summary>
/// <remarks>Source: Microsoft, FAT32 File System Specification 1.03 (fatgen103), which UEFI refers to.</remarks>
internal sealed class FatFileSystem : FileSystemView
{
    private const int EntryLength = 32;

    // The specification's limit of a directory: 65536 entries.
    private const int MaximumDirectoryLength = EntryLength << 16;

    private const byte AttributeVolume = 0x08;
    private const byte AttributeDirectory = 0x10;
    private const byte AttributeLongName = 0x0F;

    private readonly DiskRegion _region;
    private readonly int _clusterSize;
    private readonly long _fatPosition;
    private readonly long _rootPosition;
    private readonly int _rootLength;
    private readonly long _dataPosition;
    private readonly uint _clusters;
    private readonly int _bits;
    private readonly FatNode _root;

    public FatFileSystem(DiskRegion region, FileSystemIdentity identity)
        : base(region.Budget)
    {
        Identity = identity;
        _region = region;
        var boot = region.ReadBytes(0, 512);
        if (!IsBootSector(boot))
        {
            throw DiskErrors.Damaged("a FAT boot sector has impossible fields.");
        }

        int sectorSize = boot.U16(11);
        _clusterSize = sectorSize * boot[13];
        int reserved = boot.U16(14);
        int rootEntries = boot.U16(17);
        long sectors = boot.U16(19) != 0 ? boot.U16(19) : boot.U32(32);
        long fatSectors = boot.U16(22) != 0 ? boot.U16(22) : boot.U32(36);
        _fatPosition = (long)reserved * sectorSize;
        _rootPosition = _fatPosition + (boot[16] * fatSectors * sectorSize);
        _rootLength = rootEntries * EntryLength;
        _dataPosition = _rootPosition + ((_rootLength + sectorSize - 1) / sectorSize * sectorSize);
        var dataSectors = sectors - (_dataPosition / sectorSize);
        var clusters = dataSectors / boot[13];
        if (dataSectors < 0 || clusters > 0x0FFF_FFF5 || sectors * sectorSize > region.Length)
        {
            throw DiskErrors.Damaged("a FAT file system is larger than its partition, or smaller than its tables.");
        }

        // The count of clusters, and nothing else, decides the kind.
        _clusters = (uint)clusters;
        _bits = clusters < 4085 ? 12 : clusters < 65525 ? 16 : 32;
        if (((_clusters + 2L) * _bits / 8) > fatSectors * sectorSize)
        {
            throw DiskErrors.Damaged("a FAT is too small for the clusters of its file system.");
        }

        _root = new FatNode
        {
            Type = FileType.Directory,
            Mode = 0x1ED,
            Size = MaximumDirectoryLength,
            FirstCluster = _bits == 32 ? boot.U32(44) : 0,
        };
    }

    public override FileSystemIdentity Identity { get; }

    protected internal override FileNode Root => _root;

    protected override StringComparer NameComparer => StringComparer.OrdinalIgnoreCase;

    /// <summary>Identifies by the fields of the boot sector: FAT has no magic number of its own.</summary>
    public static FileSystemIdentity? TryIdentify(byte[] head)
    {
        if (head.Length < 512 || !IsBootSector(head))
        {
            return null;
        }

        var extended = head.U16(22) == 0 ? 64 : 36;
        if (head[extended + 2] is not (0x28 or 0x29))
        {
            return new(FileSystemKind.Fat, "FAT");
        }

        var serial = head.U32(extended + 3);
        var label = head[extended + 2] == 0x29 ? Encoding.Latin1.GetString(head, extended + 7, 11).TrimEnd() : "";
        return new(FileSystemKind.Fat, "FAT", $"{serial >> 16:X4}-{serial & 0xFFFF:X4}", label is "" or "NO NAME" ? null : label);
    }

    protected internal override IEnumerable<NodeName> ReadNames(FileNode directory)
    {
        var node = (FatNode)directory;
        var bytes = ReferenceEquals(node, _root) && _bits != 32
            ? _region.ReadBytes(_rootPosition, _rootLength)
            : ReadChain(node.FirstCluster);
        var names = new List<NodeName>();
        var longName = new LongName();
        for (var offset = 0; offset + EntryLength <= bytes.Length && bytes[offset] != 0; offset += EntryLength)
        {
            var entry = bytes.At(offset, EntryLength);
            if (entry[0] == 0xE5)
            {
                longName.Clear();
                continue;
            }

            if ((entry[11] & 0x3F) == AttributeLongName)
            {
                longName.Add(entry);
                continue;
            }

            if ((entry[11] & AttributeVolume) == 0)
            {
                var isDirectory = (entry[11] & AttributeDirectory) != 0;
                var child = new FatNode
                {
                    Type = isDirectory ? FileType.Directory : FileType.File,
                    Mode = 0x1ED,
                    Size = isDirectory ? MaximumDirectoryLength : entry.U32(28),
                    FirstCluster = entry.U16(26) | (_bits == 32 ? (uint)entry.U16(20) << 16 : 0),
                };
                names.Add(new(longName.TakeFor(entry[..11]) ?? ShortName(entry), () => child));
            }

            longName.Clear();
        }

        return names;
    }

    protected internal override int ReadContent(FileNode node, long position, Span<byte> buffer)
    {
        var file = (FatNode)node;

        // Files are read forwards: go on from the cluster where the last read ended, so that a long chain is not walked over and over.
        var index = position / _clusterSize;
        var (cachedIndex, cluster) = file.Last;
        if (cluster == 0 || cachedIndex > index)
        {
            (cachedIndex, cluster) = (0, file.FirstCluster);
        }

        for (; cachedIndex < index; cachedIndex++)
        {
            cluster = Next(cluster);
        }

        var clusterPosition = ClusterPosition(cluster);
        file.Last = (index, cluster);
        var offset = (int)(position % _clusterSize);
        var count = Math.Min(buffer.Length, _clusterSize - offset);
        _region.Read(clusterPosition + offset, buffer[..count]);
        return count;
    }

    private static bool IsBootSector(ReadOnlySpan<byte> boot)
    {
        int sectorSize = boot.U16(11);
        return boot.U16(510) == 0xAA55
            && (boot[0] == 0xE9 || (boot[0] == 0xEB && boot[2] == 0x90))
            && sectorSize is 512 or 1024 or 2048 or 4096
            && BitOperations.IsPow2((uint)boot[13])
            && boot.U16(14) != 0
            && boot[16] is 1 or 2
            && boot[21] is 0xF0 or >= 0xF8
            && (boot.U16(19) != 0 || boot.U32(32) != 0)
            && (boot.U16(22) != 0 || boot.U32(36) != 0);
    }

    private static string ShortName(ReadOnlySpan<byte> entry)
    {
        const byte LowerCaseBase = 0x08;
        const byte LowerCaseExtension = 0x10;
        Span<byte> raw = stackalloc byte[11];
        entry[..11].CopyTo(raw);

        // 0xE5 marks a free entry, so a name that begins with it is stored with 0x05.
        if (raw[0] == 0x05)
        {
            raw[0] = 0xE5;
        }

        var name = Encoding.Latin1.GetString(raw[..8]).TrimEnd(' ');
        var extension = Encoding.Latin1.GetString(raw[8..]).TrimEnd(' ');
        name = (entry[12] & LowerCaseBase) != 0 ? name.ToLowerInvariant() : name;
        extension = (entry[12] & LowerCaseExtension) != 0 ? extension.ToLowerInvariant() : extension;
        return extension.Length == 0 ? name : $"{name}.{extension}";
    }

    private byte[] ReadChain(uint first)
    {
        using var bytes = new MemoryStream();
        var buffer = new byte[_clusterSize];
        var cluster = first;
        while (!IsEnd(cluster))
        {
            if (bytes.Length + _clusterSize > MaximumDirectoryLength + _clusterSize)
            {
                throw DiskErrors.Damaged("a FAT directory is larger than any may be; its chain of clusters may run in a circle.");
            }

            _region.Read(ClusterPosition(cluster), buffer);
            bytes.Write(buffer);
            cluster = Next(cluster);
        }

        return bytes.ToArray();
    }

    private bool IsEnd(uint cluster) => cluster >= (_bits switch
    {
        12 => 0xFF8u,
        16 => 0xFFF8u,
        _ => 0x0FFF_FFF8u,
    });

    private long ClusterPosition(uint cluster) =>
        cluster >= 2 && cluster - 2 < _clusters
            ? _dataPosition + ((cluster - 2L) * _clusterSize)
            : throw DiskErrors.Damaged($"a chain of a FAT leads to cluster {cluster}, which is none.");

    private uint Next(uint cluster)
    {
        ClusterPosition(cluster);
        Span<byte> bytes = stackalloc byte[4];
        switch (_bits)
        {
            case 12:
                _region.Read(_fatPosition + cluster + (cluster / 2), bytes[..2]);
                var pair = ((ReadOnlySpan<byte>)bytes).U16(0);
                return (uint)(cluster % 2 == 0 ? pair & 0xFFF : pair >> 4);
            case 16:
                _region.Read(_fatPosition + (cluster * 2L), bytes[..2]);
                return ((ReadOnlySpan<byte>)bytes).U16(0);
            default:
                _region.Read(_fatPosition + (cluster * 4L), bytes);
                return ((ReadOnlySpan<byte>)bytes).U32(0) & 0x0FFF_FFFF;
        }
    }

    private sealed class FatNode : FileNode
    {
        public required uint FirstCluster { get; init; }

        public (long Index, uint Cluster) Last { get; set; }

        public override (ulong, ulong) Key => (FirstCluster, 0);
    }

    /// <summary>
    /// Gathers the parts of a long name, which come last part first and belong to the short entry behind them by its checksum.
    /// </summary>
    private sealed class LongName
    {
        private const int MaximumParts = 20;
        private const byte LastPart = 0x40;

        private readonly List<string> _parts = [];
        private int _expected;
        private byte _checksum;

        public void Clear() => _parts.Clear();

        public void Add(ReadOnlySpan<byte> entry)
        {
            var order = entry[0] & 0x1F;
            if ((entry[0] & LastPart) != 0)
            {
                _parts.Clear();
                _checksum = entry[13];
                _expected = order;
            }

            if (order == 0 || order > MaximumParts || order != _expected - _parts.Count || entry[13] != _checksum)
            {
                _parts.Clear();
                _expected = 0;
                return;
            }

            var characters = new StringBuilder(13);
            foreach (var (offset, length) in (ReadOnlySpan<(int, int)>)[(1, 10), (14, 12), (28, 4)])
            {
                for (var i = 0; i < length; i += 2)
                {
                    characters.Append((char)entry.U16(offset + i));
                }
            }

            var text = characters.ToString();
            var end = text.IndexOf('\0', StringComparison.Ordinal);
            _parts.Add(end < 0 ? text : text[..end]);
        }

        public string? TakeFor(ReadOnlySpan<byte> shortName)
        {
            byte sum = 0;
            foreach (var b in shortName)
            {
                sum = (byte)((byte)((sum >> 1) | (sum << 7)) + b);
            }

            return _parts.Count > 0 && _parts.Count == _expected && sum == _checksum ? string.Concat(Enumerable.Reverse(_parts)) : null;
        }
    }
}
