using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;
using System.Numerics;
using ZstdSharp;

namespace ArchAzure.FileSystems;

/// <summary>
/// Reads btrfs on one device: one subvolume and those below it, inline and regular extents, plain or compressed with zlib or zstd.
/// The log tree is not replayed: an image that needs that shows its state before.
/// </summary>
/// <remarks>Source: btrfs documentation, "On-disk Format" (btrfs.readthedocs.io/en/latest/dev/On-disk-format.html).</remarks>
internal sealed class BtrfsFileSystem : FileSystemView
{
    /// <summary>The number of the top-level subvolume, in which all others lie.</summary>
    public const ulong TopLevel = 5;

    private const int SuperblockOffset = 0x10000;
    private const int SuperblockLength = 4096;
    private const int HeaderLength = 0x65;
    private const int KeyLength = 17;
    private const int MaximumLevel = 8;
    private const int MaximumChunks = 100_000;

    // What compresses is cut into pieces of 128 KiB.
    private const int MaximumCompressedExtent = 1 << 20;

    // RAID56, ZONED, EXTENT_TREE_V2, RAID_STRIPE_TREE: blocks lie where chunks alone do not tell.
    private const ulong KnownIncompat = 0x1_0F7F & ~0x80UL;
    private const ulong RedundantProfiles = 0x8 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400;

    private const byte InodeItem = 1;
    private const byte DirectoryItem = 84;
    private const byte DirectoryIndex = 96;
    private const byte ExtentData = 108;
    private const byte RootItem = 132;
    private const byte ChunkItem = 228;

    private const ulong FirstInode = 256;

    private readonly DiskRegion _region;
    private readonly uint _nodeSize;
    private readonly bool _hasCrc32C;
    private readonly SortedList<ulong, (ulong Length, ulong Physical)> _chunks = [];
    private readonly Dictionary<ulong, byte[]> _nodes = [];
    private readonly Tree _rootTree;
    private readonly Lazy<Tree> _tree;
    private readonly Lazy<FileNode> _root;
    private (ulong Start, byte[] Bytes)? _unpacked;

    /// <summary>Opens a subvolume.</summary>
    /// <param name="region">The partition.</param>
    /// <param name="identity">What it is.</param>
    /// <param name="subvolume">The subvolume's number; null for the default one.</param>
    public BtrfsFileSystem(DiskRegion region, FileSystemIdentity identity, ulong? subvolume = null)
        : base(region.Budget)
    {
        Identity = identity;
        _region = region;
        var s = region.ReadBytes(SuperblockOffset, SuperblockLength);
        if (!s.At(0x40, 8).SequenceEqual("_BHRfS_M"u8))
        {
            throw DiskErrors.Damaged("a btrfs superblock has no magic number.");
        }

        _hasCrc32C = s.U16(0xC4) == 0;
        CheckSum(s, "superblock");
        if ((s.U64(0xBC) & ~KnownIncompat) != 0)
        {
            throw DiskErrors.Unsupported($"its btrfs has features that are not known here (incompat 0x{s.U64(0xBC) & ~KnownIncompat:x}).");
        }

        if (s.U64(0x88) != 1)
        {
            throw DiskErrors.Unsupported($"its btrfs spans {s.U64(0x88)} devices.");
        }

        _nodeSize = s.U32(0x94);
        if (_nodeSize is < 4096 or > 65536 || !BitOperations.IsPow2(_nodeSize))
        {
            throw DiskErrors.Damaged($"a btrfs superblock claims nodes of {_nodeSize} bytes.");
        }

        // The chunks that hold the chunk tree are listed in the superblock itself.
        var system = s.At(0x32B, (int)Math.Min(s.U32(0xA0), 2048));
        while (!system.IsEmpty)
        {
            var key = ReadKey(system);
            system = system[KeyLength..];
            AddChunk(key, system);
            system = system.At(48 + (32 * system.U16(44)), system.Length - 48 - (32 * system.U16(44)));
        }

        foreach (var (key, data) in Items(new Tree(0, s.U64(0x58)), new(0, 0, 0), Key.Last))
        {
            if (key.Type == ChunkItem)
            {
                AddChunk(key, data.Span);
            }
        }

        _rootTree = new(1, s.U64(0x50));
        var rootDirectory = s.U64(0x80);
        _tree = new(() => OpenTree(subvolume ?? DefaultSubvolume(rootDirectory)));
        _root = new(() => ReadInode(_tree.Value, FirstInode));
    }

    /// <summary>The number of the subvolume that this is.</summary>
    public ulong Subvolume => _tree.Value.Id;

    /// <summary>The names and numbers of the subvolumes directly in the root of this one.</summary>
    public IEnumerable<(string Name, ulong Number)> Subvolumes() =>
        ReadDirectory("/").Select(name => (name, SubvolumeAt(name))).Where(child => child.Item2 is not null)
            .Select(child => (child.name, child.Item2!.Value));

    /// <summary>The number of the subvolume at a path in this one, or null if there is none.</summary>
    public ulong? SubvolumeAt(string path) =>
        Find(path, followLinks: false) is Inode { Type: FileType.Directory, Number: FirstInode } inode ? inode.Tree.Id : null;

    public override FileSystemIdentity Identity { get; }

    protected internal override FileNode Root => _root.Value;

    protected internal override IEnumerable<NodeName> ReadNames(FileNode directory)
    {
        var inode = (Inode)directory;
        var datas = Items(inode.Tree, new(inode.Number, DirectoryIndex, 0), new(inode.Number, DirectoryIndex, ulong.MaxValue));
        foreach (var (_, data) in datas)
        {
            var (location, name) = ReadDirectoryItem(data.Span);
            yield return new(
                name,
                () => location.Type == RootItem ? ReadInode(OpenTree(location.Id), FirstInode) : ReadInode(inode.Tree, location.Id));
        }
    }

    protected internal override int ReadContent(FileNode node, long position, Span<byte> buffer)
    {
        var inode = (Inode)node;
        if (Search(inode.Tree, new(inode.Number, ExtentData, (ulong)position)) is not var (key, item)
            || key.Id != inode.Number || key.Type != ExtentData)
        {
            return Hole(position, buffer);
        }

        var extent = item.Span;
        var into = position - key.Offset.Signed();
        const int InlineDataOffset = 21;
        var compression = extent.U8(16);
        if (extent.U8(17) != 0)
        {
            throw DiskErrors.Unsupported($"a file (inode {inode.Number}) is encrypted.");
        }

        switch (extent.U8(20))
        {
            case 0:
                var packed = extent.At(InlineDataOffset, extent.Length - InlineDataOffset).ToArray();
                var inlined = compression == 0 ? packed : Unpack(packed, extent.U64(8), compression);
                return into < inlined.Length ? Copy(inlined.AsSpan((int)into), buffer) : Hole(position, buffer);
            case 1 or 2 when into < extent.U64(45).Signed():
                var length = (int)Math.Min(extent.U64(45).Signed() - into, buffer.Length);
                var disk = extent.U64(21);
                if (disk == 0 || extent.U8(20) == 2)
                {
                    ReadHole(buffer[..length]);
                    return length;
                }

                // A sum that overflows is an address like any other wrong one.
                var from = extent.U64(37) + (ulong)into;
                if (compression == 0)
                {
                    return ReadLogical(disk + from, buffer[..length]);
                }

                var whole = UnpackExtent(disk, extent.U64(29), extent.U64(8), compression);
                return from < (ulong)whole.Length ? Copy(whole.AsSpan((int)from), buffer[..length]) : Hole(position, buffer[..length]);
            case 1 or 2:
                return Hole(position, buffer);
            default:
                throw DiskErrors.Damaged($"an extent of btrfs inode {inode.Number} is of no known type.");
        }
    }

    /// <summary>Zeros up to the next page, where another extent may begin.</summary>
    private int Hole(long position, Span<byte> buffer)
    {
        const int Page = 4096;
        var length = (int)Math.Min(Page - (position % Page), buffer.Length);
        ReadHole(buffer[..length]);
        return length;
    }

    private static int Copy(ReadOnlySpan<byte> from, Span<byte> to)
    {
        var length = Math.Min(from.Length, to.Length);
        from[..length].CopyTo(to);
        return length;
    }

    private static Key ReadKey(ReadOnlySpan<byte> bytes) => new(bytes.U64(0), bytes.U8(8), bytes.U64(9));

    private static (Key Location, string Name) ReadDirectoryItem(ReadOnlySpan<byte> data) =>
        (ReadKey(data), data.At(30, data.U16(27)).Text());

    private byte[] Unpack(byte[] packed, ulong length, byte compression)
    {
        if (length > MaximumCompressedExtent)
        {
            throw DiskErrors.Damaged($"a compressed extent of btrfs claims {length} bytes.");
        }

        Budget.Spend(ReadCost.Bytes, (long)length);
        try
        {
            // What is short is zeros: the kernel packs whole pages, but not what lies behind a file's end.
            var bytes = new byte[length];
            switch (compression)
            {
                case 1:
                    using (var source = new ZLibStream(new MemoryStream(packed), CompressionMode.Decompress))
                    {
                        _ = source.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
                    }

                    return bytes;
                case 3:
                    using (var decompressor = new Decompressor())
                    {
                        // Behind the frame the decoder takes the padding for another one, and refuses it.
                        var status = decompressor.UnwrapStream(packed, bytes, out var consumed, out var written);
                        var atPadding = status == OperationStatus.InvalidData
                            && written > 0
                            && packed.AsSpan(consumed).IndexOfAnyExcept((byte)0) < 0;
                        return status is OperationStatus.Done or OperationStatus.DestinationTooSmall || atPadding
                            ? bytes
                            : throw DiskErrors.Damaged("an extent of btrfs cannot be unpacked.");
                    }

                default:
                    throw DiskErrors.Unsupported(
                        $"a file of its btrfs is compressed with {(compression == 2 ? "lzo" : "an unknown algorithm")}.");
            }
        }
        catch (Exception e) when (e is InvalidDataException or ZstdException or EndOfStreamException)
        {
            throw DiskErrors.Damaged($"an extent of btrfs cannot be unpacked ({e.Message}).", e);
        }
    }

    private byte[] UnpackExtent(ulong disk, ulong packedLength, ulong length, byte compression)
    {
        // Files are read forwards in small pieces, extents are unpacked whole.
        if (_unpacked is { } last && last.Start == disk)
        {
            return last.Bytes;
        }

        if (packedLength > MaximumCompressedExtent)
        {
            throw DiskErrors.Damaged($"a compressed extent of btrfs claims {packedLength} bytes on disk.");
        }

        var packed = new byte[packedLength];
        for (var read = 0; read < packed.Length;)
        {
            read += ReadLogical(disk + (ulong)read, packed.AsSpan(read));
        }

        var bytes = Unpack(packed, length, compression);
        _unpacked = (disk, bytes);
        return bytes;
    }

    private ulong DefaultSubvolume(ulong rootDirectory)
    {
        foreach (var (_, data) in Items(_rootTree, new(rootDirectory, DirectoryItem, 0), new(rootDirectory, DirectoryItem, ulong.MaxValue)))
        {
            var (location, name) = ReadDirectoryItem(data.Span);
            if (name == "default")
            {
                return location.Id;
            }
        }

        return TopLevel;
    }

    private Tree OpenTree(ulong id)
    {
        foreach (var (_, data) in Items(_rootTree, new(id, RootItem, 0), new(id, RootItem, ulong.MaxValue)))
        {
            return new(id, data.Span.U64(176));
        }

        throw DiskErrors.Damaged($"its btrfs has no subvolume {id}.");
    }

    private Inode ReadInode(Tree tree, ulong number)
    {
        var key = new Key(number, InodeItem, 0);
        if (Search(tree, key) is not var (found, data) || found != key)
        {
            throw DiskErrors.Damaged($"its btrfs has no inode {number} in tree {tree.Id}.");
        }

        var item = data.Span;
        var mode = item.U32(52);
        return new Inode
        {
            Tree = tree,
            Number = number,
            Type = (mode & 0xF000) switch
            {
                0x8000 => FileType.File,
                0x4000 => FileType.Directory,
                0xA000 => FileType.SymbolicLink,
                0x1000 or 0x2000 or 0x6000 or 0xC000 => FileType.Special,
                _ => FileType.Unknown,
            },
            Mode = (int)mode & 0xFFF,
            UserId = item.U32(44),
            GroupId = item.U32(48),
            Size = item.U64(16).Signed(),
        };
    }

    private void AddChunk(Key key, ReadOnlySpan<byte> chunk)
    {
        if ((chunk.U64(24) & RedundantProfiles) != 0)
        {
            throw DiskErrors.Unsupported("its btrfs is spread over several devices (RAID).");
        }

        if (key.Type != ChunkItem
            || chunk.U16(44) == 0
            || key.Offset > long.MaxValue
            || chunk.U64(0) > long.MaxValue
            || _chunks.Count >= MaximumChunks)
        {
            throw DiskErrors.Damaged("a chunk of its btrfs is impossible.");
        }

        _chunks[key.Offset] = (chunk.U64(0), chunk.At(48, 32).U64(8));
    }

    /// <summary>Reads from an address of the file system's own, at most to the end of the chunk it lies in.</summary>
    private int ReadLogical(ulong address, Span<byte> buffer)
    {
        var keys = _chunks.Keys;
        int low = 0, high = keys.Count;
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = keys[middle] <= address ? (middle + 1, high) : (low, middle);
        }

        if (low == 0 || address - keys[low - 1] >= _chunks.Values[low - 1].Length)
        {
            throw DiskErrors.Damaged($"its btrfs refers to the address {address}, which is in no chunk.");
        }

        var (length, physical) = _chunks.Values[low - 1];
        var into = address - keys[low - 1];
        var count = (int)Math.Min((ulong)buffer.Length, length - into);
        _region.Read((physical + into).Signed(), buffer[..count]);
        return count;
    }

    private byte[] ReadNode(ulong address, int? level)
    {
        if (!_nodes.TryGetValue(address, out var node))
        {
            node = new byte[_nodeSize];
            if (ReadLogical(address, node) != node.Length)
            {
                throw DiskErrors.Damaged("a node of its btrfs does not lie in one chunk.");
            }

            CheckSum(node, "node");
            var count = Count(node);
            for (var index = 1; index < count; index++)
            {
                if (ReadKey(node.At(Slot(node, index - 1), KeyLength)).Order(ReadKey(node.At(Slot(node, index), KeyLength))) >= 0)
                {
                    throw DiskErrors.Damaged("a node of its btrfs has keys out of order.");
                }
            }

            if (_nodes.Count >= 256)
            {
                _nodes.Clear();
            }

            _nodes[address] = node;
        }

        if (node.U64(0x30) != address || node[0x64] >= MaximumLevel || (level is { } wanted && node[0x64] != wanted))
        {
            throw DiskErrors.Damaged("a node of its btrfs is not the one it should be.");
        }

        return node;
    }

    private void CheckSum(ReadOnlySpan<byte> block, string what)
    {
        if (!_hasCrc32C)
        {
            return;
        }

        var crc = uint.MaxValue;
        var rest = block[0x20..];
        for (; rest.Length >= 8; rest = rest[8..])
        {
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(rest));
        }

        if (~crc != block.U32(0))
        {
            throw DiskErrors.Damaged($"the checksum of a btrfs {what} is wrong.");
        }
    }

    /// <summary>The last item at or before a key, within the leaf that the key belongs to.</summary>
    private (Key Key, ReadOnlyMemory<byte> Data)? Search(Tree tree, Key key)
    {
        var address = tree.RootAddress;
        for (int? level = null; ;)
        {
            var node = ReadNode(address, level);
            var index = LastAtOrBefore(node, key);
            if (index < 0)
            {
                return null;
            }

            if (node[0x64] == 0)
            {
                return Item(node, index);
            }

            level = node[0x64] - 1;
            address = node.U64(Slot(node, index) + KeyLength);
        }
    }

    /// <summary>All items between two keys, both included, in their order.</summary>
    private IEnumerable<(Key Key, ReadOnlyMemory<byte> Data)> Items(Tree tree, Key first, Key last) =>
        Items(ReadNode(tree.RootAddress, null), first, last);

    private IEnumerable<(Key Key, ReadOnlyMemory<byte> Data)> Items(byte[] node, Key first, Key last)
    {
        var count = Count(node);
        for (var index = Math.Max(LastAtOrBefore(node, first), 0); index < count; index++)
        {
            var key = ReadKey(node.At(Slot(node, index), KeyLength));
            if (key.Order(last) > 0)
            {
                yield break;
            }

            if (node[0x64] == 0)
            {
                if (key.Order(first) >= 0)
                {
                    yield return Item(node, index);
                }

                continue;
            }

            // A child has only keys between its own and its next sibling's: so each node counts once, and the walk ends.
            var child = ReadNode(node.U64(Slot(node, index) + KeyLength), node[0x64] - 1);
            var children = Count(child);
            if (children == 0 || ReadKey(child.At(Slot(child, 0), KeyLength)) != key
                || (index + 1 < count
                    && ReadKey(child.At(Slot(child, children - 1), KeyLength))
                        .Order(ReadKey(node.At(Slot(node, index + 1), KeyLength))) >= 0))
            {
                throw DiskErrors.Damaged("a node of its btrfs has keys that belong elsewhere.");
            }

            foreach (var item in Items(child, first, last))
            {
                yield return item;
            }
        }
    }

    private static int Slot(byte[] node, int index) => HeaderLength + (index * (node[0x64] == 0 ? KeyLength + 8 : KeyLength + 16));

    private static int Count(byte[] node)
    {
        var count = node.U32(0x60);
        return count <= (node.Length - HeaderLength) / (node[0x64] == 0 ? KeyLength + 8 : KeyLength + 16)
            ? (int)count
            : throw DiskErrors.Damaged($"a node of its btrfs claims {count} items.");
    }

    private static (Key Key, ReadOnlyMemory<byte> Data) Item(byte[] node, int index)
    {
        var slot = Slot(node, index);
        var offset = HeaderLength + (long)node.U32(slot + KeyLength);
        var length = node.U32(slot + KeyLength + 4);
        return offset + length <= node.Length
            ? (ReadKey(node.At(slot, KeyLength)), node.AsMemory((int)offset, (int)length))
            : throw DiskErrors.Damaged("an item of its btrfs lies outside its node.");
    }

    private static int LastAtOrBefore(byte[] node, Key key)
    {
        int low = 0, high = Count(node);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = ReadKey(node.At(Slot(node, middle), KeyLength)).Order(key) <= 0 ? (middle + 1, high) : (low, middle);
        }

        return low - 1;
    }

    private readonly record struct Key(ulong Id, byte Type, ulong Offset)
    {
        public static Key Last => new(ulong.MaxValue, byte.MaxValue, ulong.MaxValue);

        /// <summary>Negative if it comes before the other.</summary>
        public int Order(Key other) => (Id, Type, Offset).CompareTo((other.Id, other.Type, other.Offset));
    }

    private sealed record Tree(ulong Id, ulong RootAddress);

    private sealed class Inode : FileNode
    {
        public required Tree Tree { get; init; }

        public required ulong Number { get; init; }

        public override (ulong, ulong) Key => (Number, Tree.Id);
    }
}
