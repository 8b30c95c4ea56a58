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
    private readonly Lazy<GuidPartitionTable> _partitionTable;
    private readonly Lazy<GuidPartition> _rootPartition;
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
        _partitionTable = new(() => GuidPartitionTable.Read(Disk));
        _rootPartition = new(FindRootPartition);
        _root = new(() => FileSystemIdentity.Open(Region(RootPartition)));
        _efiSystem = new(() => FileSystemIdentity.Open(Region(EfiSystemPartition)));
        _boot = new(() => BootEntry.Read(this));
        _modules = new(ReadModules);
        _initramfs = new(ReadInitramfs);
        _earlyModules = new(() => KernelModules.TryRead(Initramfs, Modules.Release));
        _networkFiles = new(() => NetworkFile.ReadAll(Root));
        _fstab = new(() => Readiness.Fstab.Read(Root));
        _sshd = new(() => SshdConfiguration.Read(Root));
        _accounts = new(() => Accounts.Read(Root));
    }

    public VhdFooter Footer { get; }

    public ReadinessOptions Options { get; }

    public DiskRegion Disk { get; }

    /// <summary>What the check may still cost.</summary>
    public ReadBudget Budget => Disk.Budget;

    public GuidPartitionTable PartitionTable => _partitionTable.Value;

    public GuidPartition RootPartition => _rootPartition.Value;

    public GuidPartition EfiSystemPartition =>
        PartitionTable.Partitions.FirstOrDefault(partition => partition.Type == PartitionTypes.EfiSystem)
        ?? throw DiskErrors.Unsupported("it has no EFI system partition.");

    public IFileSystemView Root => _root.Value;

    public IFileSystemView EfiSystem => _efiSystem.Value;

    /// <summary>What the boot loader starts if nobody intervenes.</summary>
    public BootEntry Boot => _boot.Value;

    public KernelModules Modules => _modules.Value;

    /// <summary>What all of the boot entry's initramfs files unpack to.</summary>
    public IFileSystemView Initramfs => _initramfs.Value;

    /// <summary>The modules that the initramfs brings for the kernel that starts, or null if it has no list of them.</summary>
    public KernelModules? EarlyModules => _earlyModules.Value;

    public IReadOnlyList<NetworkFile> NetworkFiles => _networkFiles.Value;

    public IReadOnlyList<FstabEntry> Fstab => _fstab.Value;

    public SshdConfiguration Sshd => _sshd.Value;

    public Accounts Accounts => _accounts.Value;

    public DiskRegion Region(GuidPartition partition) => Disk.Slice(partition.Offset, partition.Length);

    public FileSystemIdentity Identify(GuidPartition partition)
    {
        if (!_identities.TryGetValue(partition.Number, out var identity))
        {
            _identities[partition.Number] = identity = FileSystemIdentity.Probe(Region(partition));
        }

        return identity;
    }

    /// <summary>The partitions that could be the root: those of its own type, or else the general ones of Linux.</summary>
    public IReadOnlyList<GuidPartition> RootCandidates()
    {
        var ofType = PartitionTable.Partitions.Where(partition => partition.Type == PartitionTypes.LinuxRootX64).ToList();
        return ofType.Count > 0
            ? ofType
            : [.. PartitionTable.Partitions.Where(partition => partition.Type == PartitionTypes.LinuxFileSystem)];
    }

    private GuidPartition FindRootPartition() => RootCandidates() switch
    {
        [var only] => only,
        [] => throw DiskErrors.Unsupported("it has no partition for the root of a Linux."),
        var several =>
            throw DiskErrors.Unsupported(
                $"partitions {string.Join(" and ", several.Select(partition => partition.Number))} could each be its root."),
    };

    private string KernelRelease()
    {
        using var kernel = Boot.FileSystem.OpenRead(Boot.Kernel);
        return KernelFile.ReadRelease(kernel)
            ?? throw DiskErrors.Unsupported($"{Boot.Kernel} is no Linux kernel for x86 that tells its release.");
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
        foreach (var path in Boot.Initramfs)
        {
            using var stream = Boot.FileSystem.OpenRead(path);
            initramfs.Add(stream);
        }

        return initramfs;
    }
}
