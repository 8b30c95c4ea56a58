namespace ArchAzure.FileSystems;

/// <summary>What lies on a partition.</summary>
internal enum FileSystemKind
{
    /// <summary>Nothing that is known here.</summary>
    Unknown,

    /// <summary>ext2, ext3 or ext4.</summary>
    Ext,

    /// <summary>FAT12, FAT16 or FAT32.</summary>
    Fat,

    /// <summary>btrfs.</summary>
    Btrfs,

    /// <summary>XFS.</summary>
    Xfs,

    /// <summary>Swap space.</summary>
    Swap,

    /// <summary>An LVM physical volume.</summary>
    Lvm,

    /// <summary>A volume encrypted with LUKS.</summary>
    Luks,

    /// <summary>A member of a Linux software RAID.</summary>
    Raid,
}

/// <summary>What <c>blkid</c> would say of a partition.</summary>
/// <param name="Kind">What it holds.</param>
/// <param name="Name">Its name for people, e.g. <c>ext4</c>.</param>
/// <param name="Uuid">The UUID in the form that fstab and the kernel use (FAT: <c>ABCD-1234</c>), or null.</param>
/// <param name="Label">The label, or null.</param>
internal sealed record FileSystemIdentity(FileSystemKind Kind, string Name, string? Uuid = null, string? Label = null)
{
    /// <summary>
    /// Tells by magic numbers what a partition holds. Never throws for what it holds, only for a file that ends too early.
    /// </summary>
    public static FileSystemIdentity Probe(DiskRegion region)
    {
        ArgumentNullException.ThrowIfNull(region);
        var head = region.ReadBytes(0, (int)Math.Min(region.Length, 68 << 10));
        bool Has(int offset, ReadOnlySpan<byte> magic) =>
            offset + magic.Length <= head.Length && head.At(offset, magic.Length).SequenceEqual(magic);

        if (Has(0, "LUKS"u8) && head.Length >= 512 && head[4] == 0xBA && head[5] == 0xBE)
        {
            return new(FileSystemKind.Luks, "LUKS", NullIfEmpty(head.At(168, 40).Text()));
        }

        for (var sector = 0; sector < 4; sector++)
        {
            if (Has(sector * 512, "LABELONE"u8) && Has((sector * 512) + 24, "LVM2 001"u8))
            {
                return new(FileSystemKind.Lvm, "LVM2 physical volume");
            }
        }

        // The signature ends the first page, whatever the size of a page.
        for (var page = 4096; page <= 65536; page *= 2)
        {
            if (Has(page - 10, "SWAPSPACE2"u8) || Has(page - 10, "SWAP-SPACE"u8))
            {
                return new(FileSystemKind.Swap, "swap", BigEndianUuid(head.At(1036, 16)), NullIfEmpty(head.At(1052, 16).Text()));
            }
        }

        if (Has(4096, [0xFC, 0x4E, 0x2B, 0xA9]))
        {
            return new(FileSystemKind.Raid, "Linux RAID member");
        }

        if (Has(0, "XFSB"u8) && head.Length >= 512)
        {
            return new(FileSystemKind.Xfs, "XFS", BigEndianUuid(head.At(32, 16)), NullIfEmpty(head.At(108, 12).Text()));
        }

        if (Has(0x10040, "_BHRfS_M"u8) && head.Length >= 0x10000 + 4096)
        {
            return new(FileSystemKind.Btrfs, "btrfs", BigEndianUuid(head.At(0x10020, 16)), NullIfEmpty(head.At(0x1012B, 256).Text()));
        }

        if (Has(ExtFileSystem.SuperblockOffset + 0x38, [0x53, 0xEF]) && head.Length >= 2048)
        {
            var s = head.At(ExtFileSystem.SuperblockOffset, ExtFileSystem.SuperblockLength);
            const uint HasJournal = 0x4;
            const uint FeaturesOfExt4 = 0x40 | 0x80 | 0x200;
            var name = (s.U32(0x60) & FeaturesOfExt4) != 0 ? "ext4" : (s.U32(0x5C) & HasJournal) != 0 ? "ext3" : "ext2";
            return new(FileSystemKind.Ext, name, BigEndianUuid(s.At(0x68, 16)), NullIfEmpty(s.At(0x78, 16).Text()));
        }

        return FatFileSystem.TryIdentify(head) ?? new(FileSystemKind.Unknown, "unknown");
    }

    /// <summary>A reader for a file system.</summary>
    /// <exception cref="ArchAzureException"><c>ImageNotReadable</c>: no reader for its kind; <c>ImageDamaged</c>.</exception>
    public static FileSystemView Open(DiskRegion region)
    {
        var identity = Probe(region);
        return identity.Kind switch
        {
            FileSystemKind.Ext => new ExtFileSystem(region, identity),
            FileSystemKind.Fat => new FatFileSystem(region, identity),
            FileSystemKind.Btrfs => new BtrfsFileSystem(region, identity),
            FileSystemKind.Luks => throw DiskErrors.Unsupported("a file system is encrypted (LUKS)."),
            FileSystemKind.Unknown => throw DiskErrors.Unsupported("a partition holds no file system that is known here."),
            _ => throw DiskErrors.Unsupported($"a partition holds {identity.Name}, which cannot be read here."),
        };
    }

    private static string BigEndianUuid(ReadOnlySpan<byte> bytes) => new Guid(bytes, bigEndian: true).ToString();

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;
}
