using System.Numerics;

namespace ArchAzure.FileSystems;

/// <summary>
/// Reads ext2, ext3 and ext4: extents and block maps, inline data, hashed directories (read linearly), fast and slow links,
/// 64-bit, meta_bg and flex_bg layouts. The journal is not replayed: an image that needs that shows its state before.
/// </summary>
/// <remarks>Source: Linux kernel documentation, filesystems/ext4 ("Data Structures and Algorithms").</remarks>
internal sealed class ExtFileSystem : FileSystemView
{
    public const int SuperblockOffset = 1024;
    public const int SuperblockLength = 1024;
    public const ushort Magic = 0xEF53;

    private const uint RootInode = 2;

    private const uint IncompatFileType = 0x2;
    private const uint IncompatMetaBlockGroups = 0x10;
    private const uint Incompat64Bit = 0x80;

    // FILETYPE, RECOVER, META_BG, EXTENTS, 64BIT, MMP, FLEX_BG, EA_INODE, CSUM_SEED, LARGEDIR, INLINE_DATA, ENCRYPT, CASEFOLD.
    // Encryption is per directory (fscrypt): only what is encrypted cannot be read, see ReadInode.
    private const uint KnownIncompat
        = 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000;

    private const uint CompatSparseSuper2 = 0x200;
    private const uint RoCompatSparseSuper = 0x1;
    private const uint RoCompatMetadataChecksum = 0x400;

    private const uint InodeEncrypted = 0x800;
    private const uint InodeExtents = 0x80000;
    private const uint InodeInlineData = 0x1000_0000;

    private const int InodeBlockLength = 60;
    private const ushort ExtentMagic = 0xF30A;
    private const int MaximumExtentDepth = 5;
    private const int MaximumUnwrittenLength = 32768;

    private readonly DiskRegion _region;
    private readonly byte[] _superblock;
    private readonly int _blockSize;
    private readonly int _inodeSize;
    private readonly int _descriptorSize;
    private readonly uint _inodeCount;
    private readonly uint _inodesPerGroup;
    private readonly uint _blocksPerGroup;
    private readonly uint _firstDataBlock;
    private readonly uint _incompat;
    private readonly Dictionary<long, byte[]> _mapBlocks = [];

    public ExtFileSystem(DiskRegion region, FileSystemIdentity identity)
        : base(region.Budget)
    {
        Identity = identity;
        _region = region;
        var s = _superblock = region.ReadBytes(SuperblockOffset, SuperblockLength);
        if (s.U16(0x38) != Magic)
        {
            throw DiskErrors.Damaged("an ext superblock has no magic number.");
        }

        if ((s.U32(0x64) & RoCompatMetadataChecksum) != 0 && s.U32(0x3FC) != Crc32C(s.AsSpan(0, 0x3FC)))
        {
            throw DiskErrors.Damaged("the checksum of an ext4 superblock is wrong.");
        }

        var revision = s.U32(0x4C);
        _incompat = revision == 0 ? 0 : s.U32(0x60);
        if ((_incompat & ~KnownIncompat) != 0)
        {
            throw DiskErrors.Unsupported(
                $"its ext file system has features that are not known here (incompat 0x{_incompat & ~KnownIncompat:x}).");
        }

        var logBlockSize = s.U32(0x18);
        _inodeSize = revision == 0 ? 128 : s.U16(0x58);
        if (logBlockSize > 6 || _inodeSize < 128 || _inodeSize > 1024 << (int)logBlockSize || !BitOperations.IsPow2(_inodeSize))
        {
            throw DiskErrors.Damaged("an ext superblock has an impossible size of blocks or inodes.");
        }

        _blockSize = 1024 << (int)logBlockSize;
        _descriptorSize = (_incompat & Incompat64Bit) != 0 ? s.U16(0xFE) : 32;
        _inodeCount = s.U32(0x00);
        _firstDataBlock = s.U32(0x14);
        _blocksPerGroup = s.U32(0x20);
        _inodesPerGroup = s.U32(0x28);
        if (_blocksPerGroup == 0 || _inodesPerGroup == 0 || _firstDataBlock > 1
            || _descriptorSize < 32 || _descriptorSize > _blockSize || !BitOperations.IsPow2(_descriptorSize))
        {
            throw DiskErrors.Damaged("an ext superblock has impossible block groups.");
        }
    }

    public override FileSystemIdentity Identity { get; }

    protected internal override FileNode Root
    {
        get
        {
            var root = ReadInode(RootInode);
            return root.Type == FileType.Directory ? root : throw DiskErrors.Damaged("the root of an ext file system is no directory.");
        }
    }

    protected internal override IEnumerable<NodeName> ReadNames(FileNode directory)
    {
        var node = (Inode)directory;
        if (node.Size > MaximumDirectoryBytes)
        {
            throw DiskErrors.TooLarge($"a directory (inode {node.Number}) has {node.Size} bytes.");
        }

        if ((node.Flags & InodeInlineData) != 0)
        {
            // The first four bytes are the parent; then entries, and more of them in the extended attribute.
            var data = InlineData(node);
            var first = Math.Min(InodeBlockLength, data.Length);
            return [.. DirectoryBlock(data.At(4, first - 4)), .. DirectoryBlock(data.At(first, data.Length - first))];
        }

        var names = new List<NodeName>();
        var block = new byte[_blockSize];
        for (long position = 0; position < node.Size; position += _blockSize)
        {
            var length = (int)Math.Min(_blockSize, node.Size - position);
            ReadFully(node, position, block.AsSpan(0, length));
            names.AddRange(DirectoryBlock(block.AsSpan(0, length)));
        }

        return names;
    }

    protected internal override int ReadContent(FileNode node, long position, Span<byte> buffer)
    {
        var inode = (Inode)node;
        if ((inode.Flags & InodeInlineData) != 0)
        {
            var data = InlineData(inode);
            var rest = data.At((int)Math.Min(position, data.Length), (int)Math.Max(data.Length - position, 0));
            if (rest.IsEmpty)
            {
                ReadHole(buffer);
                return buffer.Length;
            }

            var inlined = Math.Min(rest.Length, buffer.Length);
            rest[..inlined].CopyTo(buffer);
            return inlined;
        }

        var logical = position / _blockSize;
        var offset = position % _blockSize;
        var (physical, blocks) = (inode.Flags & InodeExtents) != 0 ? MapExtent(inode, logical) : MapBlock(inode, logical);
        var count = (int)Math.Min((blocks * _blockSize) - offset, buffer.Length);
        if (physical == 0)
        {
            ReadHole(buffer[..count]);
        }
        else
        {
            _region.Read(BlockPosition(physical) + offset, buffer[..count]);
        }

        return count;
    }

    protected internal override byte[] ReadLinkContent(FileNode link)
    {
        // A fast link keeps its target where other files keep their block map. Extended attributes may own blocks; the target does not.
        var inode = (Inode)link;
        return (inode.Flags & (InodeExtents | InodeInlineData)) == 0 && inode.Size < InodeBlockLength && inode.DataSectors == 0
            ? inode.Block.At(0, (int)inode.Size).ToArray()
            : base.ReadLinkContent(link);
    }

    private static uint Crc32C(ReadOnlySpan<byte> bytes)
    {
        // ext4 takes the register as it is, without the final inversion.
        var crc = uint.MaxValue;
        foreach (var b in bytes)
        {
            crc = BitOperations.Crc32C(crc, b);
        }

        return crc;
    }

    private static bool IsPowerOf(long number, long factor)
    {
        while (number % factor == 0)
        {
            number /= factor;
        }

        return number == 1;
    }

    private List<NodeName> DirectoryBlock(ReadOnlySpan<byte> block)
    {
        var names = new List<NodeName>();
        for (var offset = 0; offset + 8 <= block.Length;)
        {
            var inode = block.U32(offset);
            int recordLength = block.U16(offset + 4);

            // With blocks of 64 KiB the field cannot hold the length of a record that fills one.
            if (_blockSize == 1 << 16 && recordLength is 0 or 65535)
            {
                recordLength = 1 << 16;
            }

            int nameLength = (_incompat & IncompatFileType) != 0 ? block.U8(offset + 6) : block.U16(offset + 6);
            if (recordLength < 8 || recordLength % 4 != 0 || recordLength > block.Length - offset || nameLength > recordLength - 8)
            {
                throw DiskErrors.Damaged("a directory of an ext file system has an impossible entry.");
            }

            if (inode != 0 && nameLength != 0)
            {
                names.Add(new(block.Slice(offset + 8, nameLength).Text(), () => ReadInode(inode)));
            }

            offset += recordLength;
        }

        return names;
    }

    private long BlockPosition(long block) =>
        block <= _region.Length / _blockSize
            ? block * _blockSize
            : throw DiskErrors.Damaged($"an ext file system refers to its block {block}, beyond its end.");

    private Inode ReadInode(uint number)
    {
        if (number == 0 || number > _inodeCount)
        {
            throw DiskErrors.Damaged($"an ext file system refers to inode {number} of {_inodeCount}.");
        }

        var group = (number - 1) / _inodesPerGroup;
        var index = (number - 1) % _inodesPerGroup;
        var descriptor = _region.ReadBytes(DescriptorPosition(group), _descriptorSize);
        var table = (long)descriptor.U32(0x08);
        if (_descriptorSize >= 64)
        {
            table |= (long)descriptor.U32(0x28) << 32;
        }

        var raw = _region.ReadBytes(BlockPosition(table) + ((long)index * _inodeSize), _inodeSize);
        var mode = raw.U16(0x00);
        var type = (mode & 0xF000) switch
        {
            0x8000 => FileType.File,
            0x4000 => FileType.Directory,
            0xA000 => FileType.SymbolicLink,
            0x1000 or 0x2000 or 0x6000 or 0xC000 => FileType.Special,
            _ => FileType.Unknown,
        };
        var flags = raw.U32(0x20);
        if ((flags & InodeEncrypted) != 0)
        {
            throw DiskErrors.Unsupported($"a file or directory (inode {number}) is encrypted.");
        }

        var size = (ulong)raw.U32(0x04);
        if (type is FileType.File or FileType.Directory)
        {
            size |= (ulong)raw.U32(0x6C) << 32;
        }

        var attributeBlock = raw.U32(0x68) | ((ulong)raw.U16(0x76) << 32);
        var attributeSectors = attributeBlock == 0 ? 0 : _blockSize / 512;
        return new Inode
        {
            Number = number,
            Type = type,
            Mode = mode & 0xFFF,
            UserId = raw.U16(0x02) | ((uint)raw.U16(0x78) << 16),
            GroupId = raw.U16(0x18) | ((uint)raw.U16(0x7A) << 16),
            Size = size.Signed(),
            Flags = flags,
            DataSectors = raw.U32(0x1C) - attributeSectors,
            Block = raw.AsSpan(0x28, InodeBlockLength).ToArray(),
            Raw = raw,
        };
    }

    private long DescriptorPosition(uint group)
    {
        var perBlock = (uint)(_blockSize / _descriptorSize);
        var descriptorBlock = group / perBlock;

        // Not the first data block: with bigalloc that is 0 even where blocks of 1 KiB put the superblock into block 1.
        var afterSuperblock = (SuperblockOffset / _blockSize) + 1L;
        long block;
        if ((_incompat & IncompatMetaBlockGroups) != 0 && descriptorBlock >= _superblock.U32(0x104))
        {
            // With meta_bg the descriptors of a run of groups lie at the start of its first group, behind a superblock's copy if there
            // is one.
            var firstGroup = (long)descriptorBlock * perBlock;
            block = firstGroup == 0
                ? afterSuperblock
                : _firstDataBlock + (firstGroup * _blocksPerGroup) + (HasSuperblock(firstGroup) ? 1 : 0);
        }
        else
        {
            block = afterSuperblock + descriptorBlock;
        }

        return BlockPosition(block) + ((long)(group % perBlock) * _descriptorSize);
    }

    private bool HasSuperblock(long group)
    {
        if (group == 0)
        {
            return true;
        }

        if ((_superblock.U32(0x5C) & CompatSparseSuper2) != 0)
        {
            return group == _superblock.U32(0x24C) || group == _superblock.U32(0x250);
        }

        return (_superblock.U32(0x64) & RoCompatSparseSuper) == 0
            || group == 1 || IsPowerOf(group, 3) || IsPowerOf(group, 5) || IsPowerOf(group, 7);
    }

    /// <summary>Finds where a logical block lies: its physical block (0 for a hole) and how many blocks from it on are alike.</summary>
    private (long Physical, long Blocks) MapExtent(Inode inode, long logical)
    {
        ReadOnlySpan<byte> node = inode.Block;
        var hole = long.MaxValue;
        int? parentDepth = null;
        while (true)
        {
            int entries = node.U16(2);
            int depth = node.U16(6);
            if (node.U16(0) != ExtentMagic
                || depth > MaximumExtentDepth
                || (parentDepth is { } d && depth != d - 1)
                || entries > (node.Length - 12) / 12)
            {
                throw DiskErrors.Damaged($"the extents of inode {inode.Number} of an ext file system are impossible.");
            }

            parentDepth = depth;

            // Entries are sorted by their first logical block; the last one at or before ours is the one.
            var found = -1;
            for (var i = 0; i < entries; i++)
            {
                long first = node.U32(12 + (12 * i));
                if (first > logical)
                {
                    hole = Math.Min(hole, first - logical);
                    break;
                }

                found = 12 + (12 * i);
            }

            if (found < 0)
            {
                return (0, Math.Min(hole, uint.MaxValue));
            }

            if (depth > 0)
            {
                node = MapBlockBytes(node.U32(found + 4) | ((long)node.U16(found + 8) << 32));
                continue;
            }

            int length = node.U16(found + 4);
            var unwritten = length > MaximumUnwrittenLength;
            length = unwritten ? length - MaximumUnwrittenLength : length;
            var into = logical - node.U32(found);
            if (into >= length)
            {
                return (0, Math.Min(hole, uint.MaxValue));
            }

            var start = node.U32(found + 8) | ((long)node.U16(found + 6) << 32);
            return (unwritten ? 0 : start + into, length - into);
        }
    }

    private (long Physical, long Blocks) MapBlock(Inode inode, long logical)
    {
        if (logical < 12)
        {
            return (inode.Block.U32((int)logical * 4), 1);
        }

        long perBlock = _blockSize / 4;
        logical -= 12;
        for (var level = 1; level <= 3; level++)
        {
            var reach = (long)Math.Pow(perBlock, level);
            if (logical >= reach)
            {
                logical -= reach;
                continue;
            }

            long block = inode.Block.U32((11 + level) * 4);
            for (; level > 0 && block != 0; level--)
            {
                reach /= perBlock;
                block = MapBlockBytes(block).U32((int)(logical / reach) * 4);
                logical %= reach;
            }

            return (block, 1);
        }

        throw DiskErrors.Damaged($"inode {inode.Number} of an ext file system is larger than its block map can be.");
    }

    private byte[] MapBlockBytes(long block)
    {
        if (!_mapBlocks.TryGetValue(block, out var bytes))
        {
            bytes = _region.ReadBytes(BlockPosition(block), _blockSize);
            if (_mapBlocks.Count >= 64)
            {
                _mapBlocks.Clear();
            }

            _mapBlocks[block] = bytes;
        }

        return bytes;
    }

    /// <summary>
    /// The data kept in the inode: 60 bytes in place of the block map, the rest in the attribute system.data behind the inode's fields.
    /// </summary>
    private static byte[] InlineData(Inode inode)
    {
        var length = (int)Math.Min(inode.Size, inode.Raw.Length);
        if (length <= InodeBlockLength)
        {
            return inode.Block.At(0, length).ToArray();
        }

        const uint AttributeMagic = 0xEA02_0000;
        const byte SystemIndex = 7;
        ReadOnlySpan<byte> raw = inode.Raw;
        var start = 128 + raw.U16(0x80);
        if (raw.U32(start) != AttributeMagic)
        {
            return [.. inode.Block];
        }

        var first = start + 4;
        for (var entry = first; entry + 16 <= raw.Length && raw.U32(entry) != 0;)
        {
            int nameLength = raw.U8(entry);
            if (raw.U8(entry + 1) == SystemIndex && raw.At(entry + 16, nameLength).SequenceEqual("data"u8) && raw.U32(entry + 4) == 0)
            {
                var valueLength = Math.Min((int)Math.Min(raw.U32(entry + 8), (uint)raw.Length), length - InodeBlockLength);
                return [.. inode.Block, .. raw.At(first + raw.U16(entry + 2), valueLength)];
            }

            entry += (16 + nameLength + 3) & ~3;
        }

        return [.. inode.Block];
    }

    private sealed class Inode : FileNode
    {
        public required uint Number { get; init; }

        public required uint Flags { get; init; }

        /// <summary>Blocks of 512 bytes that the content owns.</summary>
        public required long DataSectors { get; init; }

        public required byte[] Block { get; init; }

        public required byte[] Raw { get; init; }

        public override (ulong, ulong) Key => (Number, 0);
    }
}
