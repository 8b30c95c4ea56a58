using System.Buffers.Binary;
using System.Text;
using ArchAzure.Readiness;
using ArchAzure.UnitTests.FileSystems;
using Xunit;

namespace ArchAzure.UnitTests.Readiness;

/// <summary>
/// Sound images of many makers' layouts, and unsound ones: for each the outcome of every rule. Those that are not named pass.
/// </summary>
public sealed class LayoutTests : IDisposable
{
    private const string Unknown = "Unknown";
    private const string Kernel = "/vmlinuz-linux";
    private const string Initramfs = "/initramfs-linux.img";
    private const string RootIs = $"root=UUID={ReadyImage.RootUuid}";

    // What is looked at in the root.
    private static readonly string[] s_inRoot =
    [
        "AgentConfigured", "AgentEnabled", "AgentInstalled", "AgentUnprovisioned", "DvdModules", "EssentialModules",
        "FileSystemModules", "FloppyDisabled", "FstabIdentifiers", "GrubDefaults", "HyperVModules", "KvpDaemon", "LogRotation",
        "MachineIdEmpty", "NetworkConfiguration", "NoAuthorizedKeys", "NoBakedResolver", "NoHardwareAddresses", "NoLogs",
        "NoPackageCache", "NoPacmanKeyring", "NoPasswords", "NoRandomSeed", "NoSharedIdentities", "NoShellHistory", "NoSshHostKeys",
        "NoSwap", "NoTargetPassword", "NoUserAccounts", "NvmeModules", "RootFileSystem", "RootLocked", "RootModules", "SshEnabled",
        "SshKeepAlive", "SshPasswordPolicy", "SshRootLogin", "TcpKeepAlive", "TimeSynchronized", "VirtualFunctionsUnmanaged",
    ];

    // What is read of the boot loader's configuration.
    private static readonly string[] s_ofBoot = ["InitramfsInit", "KernelCommandLine", "RootArgument"];

    private readonly TemporaryDirectory _work = new();

    public static TheoryData<string> Names => [.. s_layouts.Select(layout => layout.Name)];

    private static readonly Layout[] s_layouts =
    [
        new("plain", _ => { }, null, []),
        new("own /boot", OwnBoot, null, []),
        new("EFI system partition at /boot", EspAtBoot, null, []),
        new("entries that GRUB reads", EntriesOfGrub, null, []),
        new("systemd-boot", image => SystemdBoot(image, image.Esp, RootIs), 2, []),
        new("systemd-boot, root by type", image => SystemdBoot(image, image.Esp, ""), 2, []),
        new("systemd-boot and XBOOTLDR", ExtendedBoot, 2, []),
        new("unified kernel", image => UnifiedKernel(image, RootIs), 2, []),
        new("unified kernel, root by type", image => UnifiedKernel(image, ""), 2, []),
        new("MBR", Mbr, 1, []),
        new("MBR for both generations", Mbr, null, [
            ("PartitionTable", "Failed"), ("PartitionLayout", "Failed"), ("UefiBoot", Unknown), ("SecureBoot", Unknown),
        ]),
        new("values added to those of GRUB", DefaultsInParts, null, []),
        new("/var on a partition of its own", image => Mounted(image, "/var", "/log/journal/0123/system.journal"), null, [
            ("NoLogs", "Failed"),
        ]),
        new("/home on a partition of its own", image => Mounted(image, "/home", "/ada/.bash_history"), null, [
            ("NoShellHistory", "Failed"),
        ]),
        new("another system on the disk", AnotherSystem, null, []),
        new("another system on the disk, and a loader that does not tell", image =>
        {
            AnotherSystem(image);
            image.Root.Replace("/boot/grub/grub.cfg", "linux ", "linuz ");
            image.Partitioning.AddRange(["-t", "3:8300"]);
        }, null, [.. Outcomes(Unknown, [.. s_inRoot, .. s_ofBoot])]),
        new("fstab and the loader disagree", image =>
        {
            AnotherSystem(image);
            image.Root["/etc/fstab"] = $"UUID={ReadyImage.ExtraUuid} / ext4 rw 0 1\n";
        }, null, [.. Outcomes(Unknown, s_inRoot)]),
        new("XFS", image => image.Patch = disk => Overwrite(disk, "XFSB"u8), null, [.. Outcomes(Unknown, [.. s_inRoot, .. s_ofBoot])]),
        new("encrypted", image => image.Patch = disk => Overwrite(disk, [0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE, 0, 2]), null, [
            ("RootFileSystem", "Failed"), .. Outcomes(Unknown, [.. s_inRoot.Except(["RootFileSystem"]), .. s_ofBoot]),
        ]),
        new("a partition that is damaged and not needed", image =>
        {
            AddPartition(image, "8300");
            image.Patch = disk => Overwrite(disk, ReadyImage.ExtraSector, new byte[512], 1024 + 0x20);
        }, null, []),
        new("no system", image => image.Root.Remove("/usr/lib/os-release"), null, [.. Outcomes(Unknown, s_inRoot)]),
        new("unsigned loader", image => image.Esp.File("/EFI/BOOT/BOOTX64.EFI", ReadyImage.EfiProgram(signed: false)), null, [
            ("SecureBoot", "Warning"),
        ]),
    ];

    public void Dispose() => _work.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Outcome_of_every_rule(string name)
    {
        var layout = s_layouts.Single(layout => layout.Name == name);
        var image = new ReadyImage();
        layout.Make(image);
        image.Write(_work["disk.vhd"]);

        var results = await ReadinessCheck.RunAsync(
            _work["disk.vhd"], new() { Generation = layout.Generation }, new TestSupport.RecordingReporter(), default);

        var expected = layout.Outcomes.ToDictionary(outcome => outcome.Rule, outcome => outcome.Outcome, StringComparer.Ordinal);
        var found = results.Where(result => result.Verdict != ReadinessOutcome.Passed)
            .Select(result => $"{result.Rule}: {result.Verdict}");
        Assert.True(
            found.Order(StringComparer.Ordinal)
                .SequenceEqual(expected.Select(outcome => $"{outcome.Key}: {outcome.Value}").Order(StringComparer.Ordinal)),
            string.Join('\n', results.Where(result => result.Verdict.ToString() != expected.GetValueOrDefault(result.Rule, "Passed"))
                .Select(result => $"{result.Rule}: {result.Verdict}: {result.Found}")));
    }

    private static IEnumerable<(string Rule, string Outcome)> Outcomes(string outcome, IEnumerable<string> rules) =>
        rules.Select(rule => (rule, outcome));

    private static void Overwrite(Stream disk, ReadOnlySpan<byte> bytes) => Overwrite(disk, ReadyImage.RootSector, bytes);

    private static void Overwrite(Stream disk, int sector, ReadOnlySpan<byte> bytes, int offset = 0)
    {
        disk.Position = ((long)sector * ReadyImage.Sector) + offset;
        disk.Write(bytes);
    }

    private static void Mbr(ReadyImage image)
    {
        image.HasMbr = true;
        image.Root["/etc/fstab"] = $"UUID={ReadyImage.RootUuid} / ext4 rw 0 1\n";
    }

    private static void OwnBoot(ReadyImage image)
    {
        AddPartition(image, "8300");
        image.Extra!["/grub/grub.cfg"] = $"linux {Kernel} {RootIs} {ReadyImage.CommandLine}\ninitrd {Initramfs}\n";
        MoveKernel(image, image.Extra);
        image.Root.Remove("/boot/grub/grub.cfg");
        image.Root["/etc/fstab"] += $"\nUUID={ReadyImage.ExtraUuid} /boot ext4 rw 0 2\n";
        image.Root.Folder("/boot");
    }

    private static void EspAtBoot(ReadyImage image)
    {
        image.Esp["/grub/grub.cfg"] = $"linux {Kernel} {RootIs} {ReadyImage.CommandLine}\ninitrd {Initramfs}\n";
        MoveKernel(image, image.Esp);
        image.Root.Remove("/boot/grub/grub.cfg");
        image.Root.Folder("/boot");
        image.Root.Replace("/etc/fstab", "/efi", "/boot");
    }

    private static void EntriesOfGrub(ReadyImage image)
    {
        image.Root["/boot/grub/grub.cfg"] = "search.fs_uuid x root\ninsmod blscfg\nblscfg\n";
        image.Root["/boot/grub/grubenv"] = $"# GRUB Environment Block\nsaved_entry=new\nkernelopts={RootIs} {ReadyImage.CommandLine}\n";
        image.Root["/boot/loader/entries/old.conf"] = "title Old\nversion 5.9\nlinux /boot/gone\noptions quiet\n";
        image.Root["/boot/loader/entries/new.conf"] =
            $"title New\nversion 5.10\nlinux /boot{Kernel}\ninitrd /boot{Initramfs} $tuned_initrd\noptions $kernelopts $tuned_params\n";
    }

    private static void SystemdBoot(ReadyImage image, Tree tree, string root)
    {
        image.Root.Remove("/boot/grub/grub.cfg");
        image.Root.Remove("/etc/default/grub");
        image.Esp["/loader/loader.conf"] = "timeout 3\ndefault arch*\n";
        tree["/loader/entries/aaa.conf"] = "title Other\nsort-key aaa\nlinux /gone\noptions quiet\n";
        tree["/loader/entries/arch.conf"] =
            $"title Arch Linux\nlinux {Kernel}\ninitrd {Initramfs}\noptions {root}\noptions {ReadyImage.CommandLine}\n";
        MoveKernel(image, tree);
    }

    private static void ExtendedBoot(ReadyImage image)
    {
        AddPartition(image, "ea00");
        SystemdBoot(image, image.Extra!, RootIs);
    }

    private static void UnifiedKernel(ReadyImage image, string root)
    {
        image.Root.Remove("/boot/grub/grub.cfg");
        image.Root.Remove("/etc/default/grub");
        image.Root.Remove("/boot" + Kernel);
        image.PlaceInitramfs = (made, bytes) => made.Esp.File(
            "/EFI/Linux/arch-6.17.efi",
            Sections(
                (".cmdline", Encoding.UTF8.GetBytes($"{root} {ReadyImage.CommandLine}\0")),
                (".linux", ReadyImage.Kernel(ReadyImage.Release)), (".initrd", bytes)));
    }

    private static void DefaultsInParts(ReadyImage image)
    {
        image.Root["/etc/default/grub"] = "GRUB_CMDLINE_LINUX=\"console=tty0\"\nGRUB_CMDLINE_LINUX_DEFAULT=''\n";
        image.Root["/etc/default/grub.d/50-azure.cfg"] =
            $"GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {ReadyImage.CommandLine}\"\nGRUB_TIMEOUT=1\n";
    }

    private static void Mounted(ReadyImage image, string mountPoint, string file)
    {
        AddPartition(image, "8300");
        image.Extra![file] = "text";
        image.Root.Folder(mountPoint);
        image.Root["/etc/fstab"] += $"\nUUID={ReadyImage.ExtraUuid} {mountPoint} ext4 rw 0 2\n";
    }

    private static void AnotherSystem(ReadyImage image)
    {
        AddPartition(image, "8300");
        image.Extra!["/usr/lib/os-release"] = "ID=other\n";
        image.Extra["/etc/machine-id"] = "0123456789abcdef0123456789abcdef\n";
    }

    private static void AddPartition(ReadyImage image, string type)
    {
        image.Partitioning.AddRange(["-n", $"4:{ReadyImage.ExtraSector}:+4096K", "-t", $"4:{type}"]);
        image.Extra = new Tree();
    }

    private static void MoveKernel(ReadyImage image, Tree tree)
    {
        image.Root.Remove("/boot" + Kernel);
        tree.File(Kernel, ReadyImage.Kernel(ReadyImage.Release));
        image.PlaceInitramfs = (_, bytes) => tree.File(Initramfs, bytes);
    }

    /// <summary>A UEFI program with these sections, as objcopy adds them to systemd's stub.</summary>
    private static byte[] Sections(params (string Name, byte[] Content)[] sections)
    {
        const int pe = 0x80;
        const int optional = 240;
        using var program = new MemoryStream();
        var head = ReadyImage.EfiProgram();
        Array.Resize(ref head, 4096);
        BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(pe + 6), (ushort)sections.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(pe + 20), optional);
        var (at, offset) = (pe + 24 + optional, head.Length);
        foreach (var (name, content) in sections)
        {
            Encoding.ASCII.GetBytes(name).CopyTo(head, at);
            BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(at + 8), content.Length);
            BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(at + 16), content.Length);
            BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(at + 20), offset);
            (at, offset) = (at + 40, offset + content.Length);
        }

        program.Write(head);
        foreach (var (_, content) in sections)
        {
            program.Write(content);
        }

        return program.ToArray();
    }

    /// <summary>A layout.</summary>
    /// <param name="Name">Its name.</param>
    /// <param name="Make">Makes a good image have it.</param>
    /// <param name="Generation">What it is checked for; null for both.</param>
    /// <param name="Outcomes">Which rules do not pass.</param>
    private sealed record Layout(
        string Name, Action<ReadyImage> Make, int? Generation, IReadOnlyList<(string Rule, string Outcome)> Outcomes);
}
