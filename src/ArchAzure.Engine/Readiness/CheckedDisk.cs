using ArchAzure.Disks;
using ArchAzure.FileSystems;
using ArchAzure.Vhd;

namespace ArchAzure.Readiness;

/// <summary>
/// The image under check. Each part is read when a rule first asks for it, and once: what cannot be read throws the same
/// <see cref="ArchAzureException"/> to each rule that asks.
/// </summary>
internal sealed class CheckedDisk
{
    private readonly Lazy<IPartitionTable> _partitionTable;
    private readonly Lazy<IReadOnlyList<SystemTree>> _trees;
    private readonly Lazy<SystemTree> _rootTree;
    private readonly Lazy<IFileSystemView> _root;
    private readonly Lazy<IFileSystemView> _efiSystem;
    private readonly Lazy<BootEntry> _boot;
    private readonly Lazy<KernelModules> _modules;
    private readonly Lazy<Initramfs> _initramfs;
    private readonly Lazy<KernelModules?> _earlyModules;
    private readonly Lazy<IReadOnlyList<NetworkFile>> _networkFiles;
    private readonly Lazy<IReadOnlyList<FstabEntry>> _fstab;
    private readonly Lazy<SshdConfiguration> _sshd;
    private readonly Lazy<Accounts> _accounts;
    private readonly Dictionary<int, FileSystemIdentity> _identities = [];

    public CheckedDisk(Stream stream, VhdFooter footer, ReadinessOptions options, ReadBudget budget)
    {
        Footer = footer;
        Options = options;
        Disk = new DiskRegion(stream, footer.CurrentSize, budget);
        _partitionTable = new(() => MasterBootRecord.TryRead(Disk) ?? (IPartitionTable)GuidPartitionTable.Read(Disk));
        _trees = new(() => [.. PartitionTable.Partitions.SelectMany(partition => SystemTree.In(this, partition))]);
        _rootTree = new(() => RootSearch.Find(this));
        _root = new(() => new MountedFileSystems(RootTree.FileSystem, Mounts()));
        _efiSystem = new(() => FileSystemIdentity.Open(Region(EfiSystemPartition)));
        _boot = new(() => BootEntry.Read(this));
        _modules = new(ReadModules);
        _initramfs = new(ReadInitramfs);
        _earlyModules = new(() => KernelModules.TryRead(Initramfs, Modules.Release));
        _networkFiles = new(() => NetworkFile.ReadAll(Root));
        _fstab = new(() => Readiness.Fstab.Read(RootTree.FileSystem));
        _sshd = new(() => SshdConfiguration.Read(Root));
        _accounts = new(() => Accounts.Read(Root));
    }

    public VhdFooter Footer { get; }

    public ReadinessOptions Options { get; }

    public DiskRegion Disk { get; }

    /// <summary>What the check may still cost.</summary>
    public ReadBudget Budget => Disk.Budget;

    public IPartitionTable PartitionTable => _partitionTable.Value;

    /// <summary>All trees of files that can be read, by their partitions.</summary>
    public IReadOnlyList<SystemTree> Trees => _trees.Value;

    /// <summary>The root alone.</summary>
    public SystemTree RootTree => _rootTree.Value;

    public DiskPartition EfiSystemPartition =>
        PartitionTable.Partitions.FirstOrDefault(partition => partition.Type == PartitionTypes.EfiSystem)
        ?? throw DiskErrors.Unsupported("it has no EFI system partition.");

    /// <summary>The root with what fstab mounts on it.</summary>
    public IFileSystemView Root => _root.Value;

    public IFileSystemView EfiSystem => _efiSystem.Value;

    /// <summary>What the boot loader starts if nobody intervenes.</summary>
    public BootEntry Boot => _boot.Value;

    /// <summary>The same, or null where it cannot be told.</summary>
    public BootEntry? TryBoot
    {
        get
        {
            try
            {
                return Boot;
            }
            catch (ArchAzureException)
            {
                return null;
            }
        }
    }

    public KernelModules Modules => _modules.Value;

    /// <summary>What all of the boot entry's initramfs files unpack to.</summary>
    public IFileSystemView Initramfs => _initramfs.Value;

    /// <summary>The modules that the initramfs brings for the kernel that starts, or null if it has no list of them.</summary>
    public KernelModules? EarlyModules => _earlyModules.Value;

    public IReadOnlyList<NetworkFile> NetworkFiles => _networkFiles.Value;

    public IReadOnlyList<FstabEntry> Fstab => _fstab.Value;

    public SshdConfiguration Sshd => _sshd.Value;

    public Accounts Accounts => _accounts.Value;

    public DiskRegion Region(DiskPartition partition) => Disk.Slice(partition.Offset, partition.Length);

    public FileSystemIdentity Identify(DiskPartition partition)
    {
        if (!_identities.TryGetValue(partition.Number, out var identity))
        {
            _identities[partition.Number] = identity = FileSystemIdentity.Probe(Region(partition));
        }

        return identity;
    }

    /// <summary>The partitions that could be the root: those of its own type, or else the general ones of Linux.</summary>
    public IReadOnlyList<DiskPartition> RootCandidates()
    {
        var ofType = PartitionTable.Partitions.Where(partition => partition.Type == PartitionTypes.LinuxRootX64).ToList();
        return ofType.Count > 0
            ? ofType
            : [.. PartitionTable.Partitions.Where(partition => partition.Type == PartitionTypes.LinuxFileSystem)];
    }

    private Dictionary<string, FileSystemView> Mounts()
    {
        var mounts = new Dictionary<string, FileSystemView>(StringComparer.Ordinal);
        foreach (var entry in Fstab.Where(entry => entry.MountPoint.StartsWith('/') && !entry.Options.Contains("noauto")))
        {
            var point = entry.MountPoint.TrimEnd('/');
            if (point.Length > 0 && entry.Type != "swap" && Identifiers.Resolve(this, entry.Source) is { } partition)
            {
                mounts[point] = Mount(partition, entry.Options);
            }
        }

        return mounts;
    }

    private FileSystemView Mount(DiskPartition partition, IReadOnlyList<string> options)
    {
        try
        {
            return SystemTree.Mounted(this, partition, options).FileSystem;
        }
        catch (ArchAzureException e)
        {
            return new UnreadableFileSystem(Budget, Identify(partition), e);
        }
    }

    private string KernelRelease()
    {
        using var kernel = Boot.Kernel.Open();
        return KernelFile.ReadRelease(kernel)
            ?? throw DiskErrors.Unsupported($"{Boot.Kernel.Path} is no Linux kernel for x86 that tells its release.");
    }

    private KernelModules ReadModules()
    {
        var release = KernelRelease();
        return KernelModules.TryRead(Root, release)
            ?? throw DiskErrors.Unsupported(
                $"the modules of the kernel that starts, {release}, have no modules.dep in /lib/modules/{release}.");
    }

    private Initramfs ReadInitramfs()
    {
        var initramfs = new Initramfs(Budget);
        foreach (var file in Boot.Initramfs)
        {
            using var stream = file.Open();
            initramfs.Add(stream);
        }

        return initramfs;
    }
}
