using ArchAzure.FileSystems;
using ArchAzure.Readiness;
using ArchAzure.UnitTests.FileSystems;
using Xunit;

namespace ArchAzure.UnitTests.Readiness;

public sealed class ReadinessCheckTests : IDisposable
{
    private readonly TemporaryDirectory _work = new();

    // Of what Azure takes, these only warn.
    private static readonly string[] s_warning =
    [
        "AgentConfigured: swap without a disk", "AgentConfigured: swap without a size", "EssentialModules", "FixedVhdFooter", "KvpDaemon",
        "LogRotation", "SecureBoot", "TimeSynchronized",
    ];

    /// <summary>For each rule one change of the good image, or several, on which it and no other fails.</summary>
    public static TheoryData<string, string> Changes
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (var (rule, what, _) in All)
            {
                data.Add(rule, what);
            }

            return data;
        }
    }

    private static (string Rule, string What, Action<ReadyImage> Apply)[] All =>
    [
        (
            "FixedVhdFooter",
            "creator whose size QEMU does not trust",
            image => image.Footer = footer => footer with { CreatorApplication = "vpc " }),
        ("WholeMebibytes", "one sector too many", image => image.Size += 512),
        (
            "PartitionTable",
            "backup GPT overwritten",
            image => image.Patch = disk => Overwrite(disk, ReadyImage.DefaultSize - 512, new byte[512])),
        ("PartitionTable", "primary GPT altered", image => image.Patch = disk => Overwrite(disk, 1024 + 60, [0x41])),
        ("PartitionTable", "no protective MBR", image => image.Patch = disk => Overwrite(disk, 446, new byte[64])),
        (
            "PartitionLayout",
            "two EFI system partitions",
            image => image.Partitioning = ["-n", $"4:{ReadyImage.ExtraSector}:+1M", "-t", "4:ef00"]),
        ("NoLogicalVolumes", "LVM partition", image => image.Partitioning = ["-n", $"4:{ReadyImage.ExtraSector}:+1M", "-t", "4:8e00"]),
        ("NoLogicalVolumes", "LVM volume on a partition of another type", image =>
        {
            image.Partitioning = ["-n", $"4:{ReadyImage.ExtraSector}:+1M", "-t", "4:8300"];
            image.Patch = disk =>
            {
                Overwrite(disk, (ReadyImage.ExtraSector * 512) + 512, "LABELONE"u8);
                Overwrite(disk, (ReadyImage.ExtraSector * 512) + 512 + 24, "LVM2 001"u8);
            };
        }),
        ("NoSwap", "swap partition", image => image.Partitioning = ["-n", $"4:{ReadyImage.ExtraSector}:+1M", "-t", "4:8200"]),
        ("NoSwap", "swap space on a partition of another type", image =>
        {
            image.Partitioning = ["-n", $"4:{ReadyImage.ExtraSector}:+1M", "-t", "4:8300"];
            image.Patch = disk => Overwrite(disk, (ReadyImage.ExtraSector * 512) + 4086, "SWAPSPACE2"u8);
        }),
        ("NoSwap", "swap file in fstab", image => image.Root["/etc/fstab"] += "\n/swapfile none swap defaults 0 0\n"),
        ("NoSwap", "swap unit", image => image.Root["/etc/systemd/system/swapfile.swap"] = "[Swap]\nWhat=/swapfile\n"),
        ("BiosBoot", "no boot code", image => image.Patch = disk => Overwrite(disk, 0, new byte[440])),
        (
            "BiosBoot",
            "empty BIOS boot partition",
            image => image.Patch = disk => Overwrite(disk, ReadyImage.BiosBootSector * 512, new byte[1024])),
        (
            "BiosBoot",
            "empty core image",
            image => image.Patch = disk => Overwrite(disk, (ReadyImage.BiosBootSector + 1) * 512, new byte[512])),
        ("BiosBoot", "boot code for another disk", image => image.Patch = disk => Overwrite(disk, 0x5C, [1])),
        ("UefiBoot", "loader for another processor", image => image.Esp.File("/EFI/BOOT/BOOTX64.EFI", ReadyImage.EfiProgram(0xAA64))),
        ("UefiBoot", "loader at another path", image =>
        {
            image.Esp.Remove("/EFI/BOOT/BOOTX64.EFI");
            image.Esp.File("/EFI/GRUB/grubx64.efi", ReadyImage.EfiProgram());
        }),
        ("SecureBoot", "not signed", image => image.Esp.File("/EFI/BOOT/BOOTX64.EFI", ReadyImage.EfiProgram(signed: false))),
        ("UefiBoot", "loader is text", image => image.Esp["/EFI/BOOT/BOOTX64.EFI"] = "not a program"),
        ("KernelCommandLine", "quiet", image => image.Root.Replace("/boot/grub/grub.cfg", " rw console", " rw quiet console")),
        ("KernelCommandLine", "no serial console", image => image.Root.Replace("/boot/grub/grub.cfg", "console=ttyS0,115200n8 ", "")),
        ("KernelCommandLine", "no rootdelay", image => image.Root.Replace("/boot/grub/grub.cfg", "rootdelay=300 ", "")),
        (
            "KernelCommandLine",
            "another entry is the default",
            image => image.Root.Replace("/boot/grub/grub.cfg", "set default=\"0\"", "set default=\"Advanced options>0\"")),
        (
            "KernelCommandLine",
            "the DVD drive is hidden",
            image => image.Root.Replace("/boot/grub/grub.cfg", " rw console", " rw libata.atapi_enabled=0 console")),
        ("GrubDefaults", "no earlyprintk", image => image.Root.Replace("/etc/default/grub", "earlyprintk=ttyS0,115200 ", "")),
        (
            "GrubDefaults",
            "quiet by default",
            image => image.Root.Replace("/etc/default/grub", "_DEFAULT=\"\"", "_DEFAULT=\"loglevel=3 quiet\"")),
        ("GrubDefaults", "missing", image => image.Root.Remove("/etc/default/grub")),
        (
            "RootArgument",
            "device name",
            image => image.Root.Replace("/boot/grub/grub.cfg", $"root=UUID={ReadyImage.RootUuid}", "root=/dev/sda3")),
        ("RootArgument", "UUID of no file system", image => image.Root.Replace("/boot/grub/grub.cfg", "root=UUID=6f1c", "root=UUID=7f1c")),
        ("InitramfsInit", "missing", image => image.InitramfsFiles.Remove("/init")),
        ("InitramfsInit", "link that leads nowhere", image =>
        {
            image.InitramfsFiles.Remove("/init");
            image.InitramfsFiles.Link("/init", "usr/lib/systemd/systemd");
        }),
        ("InitramfsInit", "not executable", image => image.InitramfsFiles["/init"] = "#!/usr/bin/ash\n"),
        ("InitramfsInit", "its shell is missing", image => image.InitramfsFiles.Remove("/usr/bin/busybox")),
        (
            "InitramfsInit",
            "another one is asked for",
            image => image.Root.Replace("/boot/grub/grub.cfg", "rootdelay", "rdinit=/sbin/init rootdelay")),
        (
            "RootModules",
            "file system's driver missing",
            image => image.Root.Replace($"/usr/lib/modules/{ReadyImage.Release}/modules.builtin", "kernel/fs/ext4/ext4.ko\n", "")),
        (
            "RootModules",
            "sd_mod missing",
            image => image.Root.Replace($"/usr/lib/modules/{ReadyImage.Release}/modules.builtin", "kernel/drivers/scsi/sd_mod.ko\n", "")),
        (
            "HyperVModules",
            "dependency missing",
            image => image.Initramfs.RemoveAll(name => name.Contains("scsi_transport_fc", StringComparison.Ordinal))),
        (
            "HyperVModules",
            "hv_storvsc missing",
            image => image.Initramfs.RemoveAll(name => name.Contains("hv_storvsc", StringComparison.Ordinal))),
        ("NvmeModules", "nvme missing", image => image.Initramfs.RemoveAll(name => name.Contains("nvme", StringComparison.Ordinal))),
        (
            "NvmeModules",
            "pci_hyperv missing",
            image => image.Initramfs.RemoveAll(name => name.Contains("pci-hyperv", StringComparison.Ordinal))),
        ("DvdModules", "sr_mod missing", image => image.Initramfs.RemoveAll(name => name.Contains("sr_mod", StringComparison.Ordinal))),
        (
            "FileSystemModules",
            "dependency of vfat missing",
            image =>
                image.Root.Replace(
                    $"/usr/lib/modules/{ReadyImage.Release}/modules.dep",
                    "kernel/fs/fat/vfat.ko.zst:",
                    "kernel/fs/fat/vfat.ko.zst: kernel/fs/fat/fat.ko.zst")),
        (
            "FileSystemModules",
            "vfat missing",
            image => image.Root.Remove($"/usr/lib/modules/{ReadyImage.Release}/kernel/fs/fat/vfat.ko.zst")),
        ("FileSystemModules", "udf turned off", image => image.Root["/etc/modprobe.d/hardening.conf"] = "install udf /bin/false\n"),
        ("FstabIdentifiers", "device name", image => image.Root.Replace("/etc/fstab", $"UUID={ReadyImage.RootUuid}", "/dev/sda3")),
        ("FstabIdentifiers", "UUID of no file system", image => image.Root.Replace("/etc/fstab", ReadyImage.EspUuid, "0000-0001")),
        (
            "EssentialModules",
            "no CIFS",
            image => image.Root.Remove($"/usr/lib/modules/{ReadyImage.Release}/kernel/fs/smb/client/cifs.ko.zst")),
        (
            "EssentialModules",
            "no watchdog",
            image => image.Root.Remove($"/usr/lib/modules/{ReadyImage.Release}/kernel/drivers/watchdog/softdog.ko.zst")),
        ("KvpDaemon", "missing", image => image.Root.Remove("/usr/bin/hv_kvp_daemon")),
        (
            "KvpDaemon",
            "not enabled",
            image => image.Root.Remove("/etc/systemd/system/multi-user.target.wants/hv_kvp_daemon.service")),
        (
            "TimeSynchronized",
            "not enabled",
            image => image.Root.Remove("/etc/systemd/system/multi-user.target.wants/chronyd.service")),
        ("FstabIdentifiers", "wrong type", image => image.Root.Replace("/etc/fstab", "vfat", "ext4")),
        ("NetworkConfiguration", "no file applies", image => image.Root.Remove("/etc/systemd/network/20-azure.network")),
        (
            "NetworkConfiguration",
            "no DHCP",
            image => image.Root.Replace("/etc/systemd/network/20-azure.network", "DHCP=ipv4", "Address=10.0.0.4/24")),
        (
            "NetworkConfiguration",
            "another file comes first",
            image => image.Root["/etc/systemd/network/10-static.network"] = "[Match]\nName=eth0\n[Network]\nAddress=10.0.0.4/24\n"),
        (
            "VirtualFunctionsUnmanaged",
            "all of ethernet",
            image => image.Root["/etc/systemd/network/30-all.network"] = "[Match]\nType=ether\n[Network]\nDHCP=yes\n"),
        (
            "VirtualFunctionsUnmanaged",
            "by name",
            image => image.Root.Replace("/etc/systemd/network/20-azure.network", "Driver=hv_netvsc", "Name=e*")),
        ("TcpKeepAlive", "not set", image => image.Root.Remove("/etc/sysctl.d/60-azure.conf")),
        (
            "TcpKeepAlive",
            "a later file sets more",
            image => image.Root["/usr/lib/sysctl.d/99-late.conf"] = "-net/ipv4/tcp_keepalive_time=600\n"),
        ("SshEnabled", "no link", image => image.Root.Remove("/etc/systemd/system/multi-user.target.wants/sshd.service")),
        ("SshEnabled", "masked", image => image.Root.Link("/etc/systemd/system/sshd.service", "/dev/null")),
        ("SshKeepAlive", "too long", image => image.Root.Replace("/etc/ssh/sshd_config.d/10-azure.conf", "180", "4m")),
        ("SshKeepAlive", "an earlier file wins", image => image.Root["/etc/ssh/sshd_config.d/05-first.conf"] = "clientaliveinterval=0\n"),
        ("SshKeepAlive", "not set", image =>
        {
            image.Root.Replace("/etc/ssh/sshd_config.d/10-azure.conf", "ClientAliveInterval 180", "");
            image.Root.Replace("/etc/ssh/sshd_config", "ClientAliveInterval 900", "#ClientAliveInterval 180");
        }),
        (
            "SshRootLogin",
            "yes",
            image => image.Root.Replace("/etc/ssh/sshd_config.d/10-azure.conf", "PermitRootLogin no", "PermitRootLogin yes")),
        (
            "SshRootLogin",
            "yes for some",
            image => image.Root["/etc/ssh/sshd_config"] += "Match Address 10.0.0.0/8\n  PermitRootLogin yes\n"),
        ("SshPasswordPolicy", "empty passwords", image => image.Root["/etc/ssh/sshd_config"] += "PermitEmptyPasswords yes\n"),
        ("AgentInstalled", "not executable", image => image.Root["/usr/bin/waagent"] = "#!/usr/bin/python3\n"),
        ("AgentInstalled", "its Python is gone", image => image.Root.Remove("/usr/bin/python3.14")),
        ("AgentConfigured", "swap without a disk", image => image.Root.Replace("/etc/waagent.conf", "EnableSwap=n", "EnableSwap=y")),
        (
            "AgentConfigured",
            "swap without a size",
            image => image.Root.Replace("/etc/waagent.conf", "Format=n\nResourceDisk.EnableSwap=n", "Format=y\nResourceDisk.EnableSwap=y")),
        (
            "AgentConfigured",
            "resource disk mounted over the root",
            image => image.Root.Replace("/etc/waagent.conf", "Format=n", "Format=y\nResourceDisk.MountPoint=/")),
        (
            "AgentConfigured",
            "cloud-init that is not there",
            image => image.Root.Replace("/etc/waagent.conf", "Agent=waagent", "Agent=cloud-init")),
        ("AgentUnprovisioned", "provisioned", image => image.Root["/var/lib/waagent/provisioned"] = "1"),
        ("MachineIdEmpty", "baked", image => image.Root["/etc/machine-id"] = "0123456789abcdef0123456789abcdef\n"),
        ("MachineIdEmpty", "D-Bus's own", image => image.Root["/var/lib/dbus/machine-id"] = "0123456789abcdef0123456789abcdef\n"),
        ("NoSshHostKeys", "host key", image => image.Root["/etc/ssh/ssh_host_ed25519_key"] = "secret"),
        ("NoAuthorizedKeys", "root's", image => image.Root["/root/.ssh/authorized_keys"] = "ssh-ed25519 AAAA"),
        ("NoPacmanKeyring", "master key", image => image.Root["/etc/pacman.d/gnupg/private-keys-v1.d/0F.key"] = "secret"),
        ("NoShellHistory", "bash", image => image.Root["/root/.bash_history"] = "passwd"),
        ("NoShellHistory", "tcsh", image => image.Root["/home/gone/.history"] = "passwd"),
        ("NoShellHistory", "of a service", image =>
        {
            image.Root["/etc/passwd"] += "builder:x:970:970::/var/lib/builder/:/usr/bin/bash\n";
            image.Root["/var/lib/builder/.python_history"] = "token";
        }),
        ("NoLogs", "journal", image => image.Root["/var/log/journal/0123/system.journal"] = "LPKSHHRH"),
        ("NoLogs", "pacman", image => image.Root["/var/log/pacman.log"] = "[PACMAN] Running"),
        ("NoRandomSeed", "systemd", image => image.Root["/var/lib/systemd/random-seed"] = "seed"),
        ("NoRandomSeed", "on the ESP", image => image.Esp["/loader/random-seed"] = "seed"),
        ("NoBakedResolver", "name server", image => image.Root["/etc/resolv.conf"] = "nameserver 192.168.1.1\n"),
        ("NoPackageCache", "package", image => image.Root["/var/cache/pacman/pkg/linux-6.17.pkg.tar.zst"] = "package"),
        ("RootLocked", "password", image => image.Root.Replace("/etc/shadow", "root:!*:", "root:$y$j9T$abc$def:")),
        ("RootLocked", "empty", image => image.Root.Replace("/etc/shadow", "root:!*:", "root::")),
        ("NoPasswords", "service with a password", image =>
        {
            image.Root["/etc/passwd"] += "ftp:x:14:14::/srv:/bin/sh\n";
            image.Root["/etc/shadow"] += "ftp:$6$abc$def:20000::::::\n";
        }),
        ("NoTargetPassword", "targetpw", image => image.Root["/etc/sudoers.d/10-suse"] = "Defaults targetpw # as root\n"),
        ("NoTargetPassword", "rootpw", image => image.Root["/etc/sudoers"] = "# sudo\nDefaults env_reset, rootpw\n"),
        ("NoSharedIdentities", "credentials", image => image.Root["/var/lib/systemd/credential.secret"] = "secret"),
        ("NoSharedIdentities", "lease", image => image.Root["/var/lib/NetworkManager/internal-1-eth0.lease"] = "ADDRESS=10.0.0.4\n"),
        ("NoHardwareAddresses", "udev", image => image.Root["/etc/udev/rules.d/70-persistent-net.rules"] = "NAME=\"eth0\"\n"),
        (
            "NoHardwareAddresses",
            "link",
            image => image.Root["/etc/systemd/network/10-eth.link"] = "[Match]\nMACAddress=00:0d:3a:11:22:33\n[Link]\nName=eth0\n"),
        ("LogRotation", "no file", image => image.Root.Remove("/etc/logrotate.d/waagent")),
        (
            "LogRotation",
            "no timer",
            image => image.Root.Remove("/etc/systemd/system/multi-user.target.wants/logrotate.timer")),
        ("NoUserAccounts", "user", image => image.Root["/etc/passwd"] += "arch:x:1000:1000::/home/arch:/bin/bash\n"),
        ("NoUserAccounts", "second root", image => image.Root["/etc/passwd"] += "toor:x:0:0::/root:/bin/bash\n"),
    ];

    public void Dispose() => _work.Dispose();

    [Theory]
    [InlineData("blacklist floppy\n", ReadinessOutcome.Passed)]
    [InlineData("install floppy /bin/true\n", ReadinessOutcome.Passed)]
    [InlineData("# blacklist floppy\n", ReadinessOutcome.Warning)]
    public async Task The_floppy_driver_is_to_stay_away(string configuration, ReadinessOutcome outcome)
    {
        var image = new ReadyImage();
        const string module = "kernel/drivers/block/floppy.ko.zst";
        image.Root[$"/usr/lib/modules/{ReadyImage.Release}/{module}"] = "module";
        image.Root[$"/usr/lib/modules/{ReadyImage.Release}/modules.dep"] += $"{module}:\n";
        image.Root["/etc/modprobe.d/floppy.conf"] = configuration;
        Assert.Equal(outcome, (await Check(image)).Single(result => result.Rule == "FloppyDisabled").Verdict);
    }

    [Fact]
    public async Task A_udev_rule_keeps_networkd_away_from_slaves()
    {
        var image = new ReadyImage();
        image.Root["/etc/systemd/network/20-azure.network"] = "[Match]\nDriver=hv_netvsc mana mlx5_core\n[Network]\nDHCP=yes\n";
        Assert.Equal(ReadinessOutcome.Failed, (await Check(image)).Single(result => result.Rule == "VirtualFunctionsUnmanaged").Verdict);

        image.Root["/etc/udev/rules.d/68-slaves.rules"] =
            "SUBSYSTEM==\"net\", DRIVERS==\"hv_pci\", ATTR{flags}==\"0x*[89abcdef]??\", ENV{ID_NET_MANAGED_BY}=\"unmanaged\"\n";
        File.Delete(_work["disk.vhd"]);
        Assert.Equal(ReadinessOutcome.Passed, (await Check(image)).Single(result => result.Rule == "VirtualFunctionsUnmanaged").Verdict);
    }

    [Fact]
    public async Task Good_image_passes_every_rule()
    {
        var results = await Check(new ReadyImage());

        Assert.All(
            results, result => Assert.True(result.Verdict == ReadinessOutcome.Passed, $"{result.Rule}: {result.Verdict}: {result.Found}"));
        Assert.Equal(ReadyImage.Rules, results.Count);
        Assert.All(
            results,
            result =>
                Assert.False(
                    string.IsNullOrWhiteSpace(result.Found)
                        || string.IsNullOrWhiteSpace(result.Wanted)
                        || string.IsNullOrWhiteSpace(result.Source)));
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public async Task Change_fails_its_rule_and_no_other(string rule, string what)
    {
        var image = new ReadyImage();
        All.Single(change => change.Rule == rule && change.What == what).Apply(image);

        var results = await Check(image);

        var others = results.Where(result => result.Rule != rule && result.Verdict != ReadinessOutcome.Passed)
            .Select(result => $"{result.Rule}: {result.Verdict}: {result.Found}");
        Assert.Empty(others);
        var failed = results.Single(result => result.Rule == rule);
        Assert.True(
            failed.Verdict == (s_warning.Any(warning => warning == rule || warning == $"{rule}: {what}")
                ? ReadinessOutcome.Warning : ReadinessOutcome.Failed),
            $"{failed.Verdict}: {failed.Found}");
        Assert.False(string.IsNullOrWhiteSpace(failed.Remedy));
    }

    [Fact]
    public async Task An_agent_that_chooses_by_itself_is_understood()
    {
        var image = new ReadyImage();
        image.Root.Replace("/etc/waagent.conf", "Agent=waagent", "Agent=auto");
        var result = (await Check(image)).Single(result => result.Rule == "AgentConfigured");
        Assert.Equal(ReadinessOutcome.Passed, result.Verdict);
        Assert.Contains("auto (waagent)", result.Found, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cause_that_blinds_many_rules_is_told_once()
    {
        var image = new ReadyImage();
        image.Root.Remove("/usr/lib/os-release");
        var unknown = (await Check(image)).Where(result => result.Verdict == ReadinessOutcome.Unknown).ToList();
        var cause = Assert.Single(unknown, result => result.Found.Contains("no os-release", StringComparison.Ordinal));
        Assert.All(unknown.Where(result => result != cause), result =>
        {
            Assert.Equal($"see {cause.Rule}", result.Found);
            Assert.Contains(result.Rule, cause.Found, StringComparison.Ordinal);
        });
    }

    [Fact]
    public async Task A_device_may_start_the_daemon_of_KVP()
    {
        var image = new ReadyImage();
        image.Root.Remove("/etc/systemd/system/multi-user.target.wants/hv_kvp_daemon.service");
        image.Root["/etc/udev/rules.d/68-hyperv.rules"] =
            "KERNEL==\"vmbus/hv_kvp\", TAG+=\"systemd\", ENV{SYSTEMD_WANTS}+=\"hv_kvp_daemon.service\"\n";
        Assert.Equal(ReadinessOutcome.Passed, (await Check(image)).Single(result => result.Rule == "KvpDaemon").Verdict);
    }

    [Fact]
    public async Task Every_rule_has_a_change_that_fails_it()
    {
        var results = await Check(new ReadyImage());

        // These have tests of their own below, since what fails them hides the rest, or takes a huge disk.
        string[] apart = ["DiskSize", "RootFileSystem", "AgentEnabled", "FloppyDisabled"];
        Assert.Equal(
            results.Select(result => result.Rule).Except(apart).Order(StringComparer.Ordinal),
            All.Select(change => change.Rule).Distinct().Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Agent_that_nothing_starts_fails_enablement_and_configuration()
    {
        var image = new ReadyImage();
        image.Root.Remove("/etc/systemd/system/multi-user.target.wants/waagent.service");

        var results = await Check(image);

        Assert.Equal(["AgentConfigured", "AgentEnabled"], Failed(results).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(null, (2L << 40) + (1 << 20), ReadinessOutcome.Failed)]
    [InlineData(1, (2L << 40) + (1 << 20), ReadinessOutcome.Failed)]
    [InlineData(2, (2L << 40) + (1 << 20), ReadinessOutcome.Passed)]
    [InlineData(1, 2L << 40, ReadinessOutcome.Passed)]
    [InlineData(2, 4L << 40, ReadinessOutcome.Passed)]
    [InlineData(2, (4L << 40) + (1 << 20), ReadinessOutcome.Failed)]
    public void Disk_size_is_limited_by_generation(int? generation, long size, ReadinessOutcome expected)
    {
        var footer = ArchAzure.Vhd.VhdFooter.ForFixedDisk(size, Guid.NewGuid(), DateTimeOffset.UtcNow);
        using var stream = new MemoryStream();
        var image = new CheckedDisk(stream, footer, new() { Generation = generation }, new());

        Assert.Equal(expected, new ArchAzure.Readiness.Rules.DiskSize().Check(image).Outcome);
    }

    [Fact]
    public async Task Encrypted_root_fails_and_hides_what_is_inside()
    {
        var image = new ReadyImage
        {
            Patch = disk => Overwrite(disk, ReadyImage.RootSector * 512, [0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE, 0, 2]),
        };

        var results = await Check(image);

        Assert.Equal(["RootFileSystem"], Failed(results));
        var inside = results.Single(result => result.Rule == "KernelCommandLine");
        Assert.Equal(ReadinessOutcome.Unknown, inside.Verdict);
        Assert.Contains("LUKS", inside.Found, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, "XFSB", "XFS")]
    [InlineData(1080, "\0\0", "no file system that is known")]
    public async Task Unreadable_root_is_unknown(int offset, string magic, string found)
    {
        var image = new ReadyImage
        {
            Patch = disk => Overwrite(disk, (ReadyImage.RootSector * 512) + offset, System.Text.Encoding.ASCII.GetBytes(magic)),
        };

        var results = await Check(image);

        Assert.Empty(Failed(results));
        Assert.Contains(found, results.Single(result => result.Rule == "RootFileSystem").Found, StringComparison.Ordinal);
        Assert.Equal(ReadinessOutcome.Unknown, results.Single(result => result.Rule == "NoUserAccounts").Verdict);
        Assert.Equal(ReadinessOutcome.Passed, results.Single(result => result.Rule == "UefiBoot").Verdict);
    }

    [Fact]
    public async Task Destroyed_partition_table_fails_and_leaves_the_rest_unknown()
    {
        var image = new ReadyImage
        {
            Patch = disk =>
            {
                Overwrite(disk, 512 + 16, [0, 0, 0, 0]);
                Overwrite(disk, ReadyImage.DefaultSize - 512 + 16, [0, 0, 0, 0]);
            },
        };

        var results = await Check(image);

        Assert.Equal(["PartitionTable"], Failed(results));
        Assert.Contains("wrong checksum", results.Single(result => result.Rule == "PartitionTable").Found, StringComparison.Ordinal);
        Assert.Equal(
            ["DiskSize", "FixedVhdFooter", "WholeMebibytes"],
            results.Where(result => result.Verdict == ReadinessOutcome.Passed).Select(result => result.Rule).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Generation_leaves_out_the_other_ones_boot_path()
    {
        var image = new ReadyImage { Patch = disk => Overwrite(disk, 0, new byte[440]) };
        image.Write(_work["disk.vhd"]);

        var first = await ReadinessCheck.RunAsync(_work["disk.vhd"], new() { Generation = 1 }, new RecordingReporter(), default);
        var second = await ReadinessCheck.RunAsync(_work["disk.vhd"], new() { Generation = 2 }, new RecordingReporter(), default);

        Assert.Equal(["BiosBoot"], Failed(first));
        Assert.DoesNotContain(first, result => result.Rule == "UefiBoot");
        Assert.Empty(Failed(second));
        Assert.DoesNotContain(second, result => result.Rule == "BiosBoot");
    }

    [Fact]
    public async Task Swap_on_the_resource_disk_is_none_on_the_os_disk()
    {
        var image = new ReadyImage();
        image.Root.Replace(
            "/etc/waagent.conf",
            "Format=n\nResourceDisk.EnableSwap=n",
            "Format=y\nResourceDisk.EnableSwap=y\nResourceDisk.SwapSizeMB=2048");

        Assert.Empty(Failed(await Check(image)));
    }

    [Fact]
    public async Task Cloud_init_may_provision()
    {
        var image = new ReadyImage();
        image.Root.Replace("/etc/waagent.conf", "Agent=waagent", "Agent=cloud-init");
        image.Root.File("/usr/bin/cloud-init", "#!/usr/bin/python3\n"u8.ToArray(), (UnixFileMode)0b111_101_101);
        image.Root["/usr/lib/systemd/system/cloud-init-main.service"] = "[Unit]\n";
        image.Root.Link(
            "/etc/systemd/system/cloud-init.target.wants/cloud-init-main.service", "/usr/lib/systemd/system/cloud-init-main.service");
        image.Root["/etc/cloud/cloud.cfg.d/90-azure.cfg"] = "datasource_list: [ Azure ]\n";

        var results = await Check(image);

        Assert.Empty(results.Where(result => result.Verdict != ReadinessOutcome.Passed).Select(result => $"{result.Rule}: {result.Found}"));
    }

    [Fact]
    public async Task Built_in_drivers_count_as_present()
    {
        var image = new ReadyImage { Initramfs = [] };
        image.Root[$"/usr/lib/modules/{ReadyImage.Release}/modules.builtin"] = string.Concat(
            new[]
            {
                "hv-vmbus", "hv_storvsc", "scsi_transport_fc", "hv_netvsc", "nvme", "pci-hyperv", "ata_piix", "sr_mod", "cdrom", "udf",
                "vfat", "ext4", "sd_mod",
            }.Select(name => $"kernel/drivers/{name}.ko\n"));

        Assert.DoesNotContain(await Check(image), result => result.Verdict != ReadinessOutcome.Passed);
    }

    [Fact]
    public async Task Modules_of_another_kernel_do_not_count()
    {
        var image = new ReadyImage();
        image.Initramfs = image.Initramfs.ConvertAll(name => name.Replace(ReadyImage.Release, "6.1.0-old", StringComparison.Ordinal));

        Assert.Equal(["DvdModules", "HyperVModules", "NvmeModules"], Failed(await Check(image)).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Init_may_be_systemd()
    {
        var image = new ReadyImage();
        image.InitramfsFiles.Remove("/init");
        image.InitramfsFiles.Link("/init", "lib/systemd/systemd");
        image.InitramfsFiles.File("/usr/lib/systemd/systemd", "ELF"u8.ToArray(), (UnixFileMode)0b111_101_101);

        Assert.DoesNotContain(await Check(image), result => result.Verdict != ReadinessOutcome.Passed);
    }

    [Fact]
    public async Task Lists_of_modules_may_be_an_index_alone()
    {
        var image = new ReadyImage();
        image.Initramfs = [];
        foreach (var module in ReadyImage.InitramfsModules)
        {
            image.InitramfsFiles[$"/usr/lib/modules/{ReadyImage.Release}/{module}"] = "module";
        }

        var index = $"/usr/lib/modules/{ReadyImage.Release}/modules.dep.bin";
        image.InitramfsFiles.File(index, ModuleIndex.Write(ReadyImage.InitramfsModules));
        Assert.DoesNotContain(await Check(image), result => result.Verdict != ReadinessOutcome.Passed);
        File.Delete(_work["disk.vhd"]);

        image.InitramfsFiles.File(
            index,
            ModuleIndex.Write(ReadyImage.InitramfsModules.Where(module => !module.Contains("hv_storvsc", StringComparison.Ordinal))));
        Assert.Equal(["HyperVModules"], Failed(await Check(image)));
        File.Delete(_work["disk.vhd"]);

        image.InitramfsFiles.Remove(index);
        var results = await Check(image);
        Assert.Equal(["DvdModules", "HyperVModules", "NvmeModules"], Failed(results).Order(StringComparer.Ordinal));
        Assert.Contains("modules.dep.bin", results.Single(result => result.Rule == "HyperVModules").Found, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("circle")]
    [InlineData("cut")]
    [InlineData("no index")]
    public async Task A_damaged_index_of_modules_is_unknown(string damage)
    {
        var image = new ReadyImage { Initramfs = [] };
        var index = ModuleIndex.Write(ReadyImage.InitramfsModules);
        image.InitramfsFiles.File($"/usr/lib/modules/{ReadyImage.Release}/modules.dep.bin", damage switch
        {
            "circle" => ModuleIndex.Circle(),
            "cut" => index[..^5],
            _ => [.. "text"u8, .. index[4..]],
        });

        var results = await Check(image);

        Assert.Equal(
            ["DvdModules", "HyperVModules", "NvmeModules", "RootModules"],
            results.Where(result => result.Verdict == ReadinessOutcome.Unknown)
                .Select(result => result.Rule)
                .Order(StringComparer.Ordinal));
        Assert.Empty(Failed(results));
    }

    [Fact]
    public async Task Initramfs_that_cannot_be_read_is_unknown()
    {
        string[] ofInitramfs = ["DvdModules", "HyperVModules", "InitramfsInit", "NvmeModules", "RootModules"];
        var image = new ReadyImage { Compressor = ["xz", "-q", "-1"] };

        var results = await Check(image);

        Assert.Empty(Failed(results));
        Assert.Equal(
            ofInitramfs,
            results.Where(result => result.Verdict == ReadinessOutcome.Unknown)
                .Select(result => result.Rule)
                .Order(StringComparer.Ordinal));
        File.Delete(_work["disk.vhd"]);

        var without = new ReadyImage();
        without.Root.Replace("/boot/grub/grub.cfg", "initrd /boot/initramfs-linux.img\n}\nsubmenu", "true\n}\nsubmenu");
        Assert.Equal(ReadinessOutcome.Unknown, (await Check(without)).Single(result => result.Rule == "InitramfsInit").Verdict);
        File.Delete(_work["disk.vhd"]);

        var gone = new ReadyImage();
        gone.Root.Replace("/boot/grub/grub.cfg", "initrd /boot/initramfs-linux.img", "initrd /boot/initramfs-other.img");
        Assert.Equal(["InitramfsInit"], Failed(await Check(gone)));
    }

    [Theory]
    [InlineData("NetworkManager.service", "NetworkManager")]
    [InlineData("networking.service", "ifupdown")]
    public async Task Other_network_managers_are_unknown(string unit, string name)
    {
        var image = new ReadyImage();
        image.Root.Remove("/etc/systemd/system/multi-user.target.wants/systemd-networkd.service");
        image.Root[$"/usr/lib/systemd/system/{unit}"] = "[Unit]\n";
        image.Root.Link($"/etc/systemd/system/multi-user.target.wants/{unit}", $"/usr/lib/systemd/system/{unit}");

        var results = await Check(image);

        Assert.Empty(Failed(results));
        var network = results.Single(result => result.Rule == "NetworkConfiguration");
        Assert.Equal(ReadinessOutcome.Unknown, network.Verdict);
        Assert.Contains(name, network.Found, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Virtual_functions_may_be_said_to_be_unmanaged()
    {
        var image = new ReadyImage();
        image.Root["/etc/systemd/network/10-vf.network"] = "[Match]\nDriver=mana mlx4_* mlx5_core\n[Link]\nUnmanaged=yes\n";
        image.Root["/etc/systemd/network/20-azure.network"] = "[Match]\nType=ether\n[Network]\nDHCP=yes\n";

        Assert.Empty(Failed(await Check(image)));
    }

    [Fact]
    public async Task Machine_id_may_be_absent_or_empty()
    {
        var absent = new ReadyImage();
        absent.Root.Remove("/etc/machine-id");
        Assert.Empty(Failed(await Check(absent)));
        File.Delete(_work["disk.vhd"]);

        var empty = new ReadyImage();
        empty.Root["/etc/machine-id"] = "";
        Assert.Empty(Failed(await Check(empty)));
    }

    [Fact]
    public async Task Files_that_are_no_fixed_vhd_are_errors()
    {
        new ReadyImage().Write(_work["good.vhd"]);
        var good = await File.ReadAllBytesAsync(_work["good.vhd"]);
        var dynamic = ArchAzure.Vhd.VhdFooter.Parse(good.AsSpan(good.Length - 512)) with { DiskType = ArchAzure.Vhd.VhdDiskType.Dynamic };
        var damaged = good.ToArray();
        damaged[^400] ^= 0xFF;

        (string ErrorId, byte[] Content)[] files =
        [
            ("NotAVhd", []), ("NotAVhd", good[..^512]), ("VhdTruncated", [.. good[..1_000_000], .. good[^512..]]),
            ("VhdNotFixed", dynamic.ToBytes()), (
                "VhdxNotSupported", [.. "vhdxfile"u8, .. new byte[1 << 16]]), ("DamagedVhdFooter", damaged),
        ];
        foreach (var (errorId, content) in files)
        {
            await File.WriteAllBytesAsync(_work["bad.vhd"], content);
            var error = await Assert.ThrowsAsync<ArchAzureException>(
                () => ReadinessCheck.RunAsync(_work["bad.vhd"], new(), new RecordingReporter(), default));
            Assert.Equal(errorId, error.ErrorId);
            Assert.Contains("bad.vhd", error.Message, StringComparison.Ordinal);
        }

        var missing = await Assert.ThrowsAsync<ArchAzureException>(
            () => ReadinessCheck.RunAsync(_work["none.vhd"], new(), new RecordingReporter(), default));
        Assert.Equal("VhdNotFound", missing.ErrorId);
        var generation = await Assert.ThrowsAsync<ArchAzureException>(
            () => ReadinessCheck.RunAsync(_work["good.vhd"], new() { Generation = 3 }, new RecordingReporter(), default));
        Assert.Equal("GenerationUnknown", generation.ErrorId);
    }

    [Fact]
    public async Task Btrfs_root_passes_too()
    {
        // The smallest btrfs is too large for the disk of the other tests.
        var image = new ReadyImage
        {
            Size = 160 << 20,
            RootSectors = 128 << 11,
            MakeRoot = (folder, file) =>
            {
                using (var root = File.Create(file))
                {
                    root.SetLength(128 << 20);
                }

                ImageTool.Run("mkfs.btrfs", "-q", "--rootdir", folder, "-U", ReadyImage.RootUuid, file);
            },
        };
        image.Root.Replace("/etc/fstab", "/ ext4", "/ btrfs");

        var results = await Check(image);

        Assert.Empty(
            results.Where(result => result.Verdict != ReadinessOutcome.Passed)
                .Select(result => $"{result.Rule}: {result.Verdict}: {result.Found}"));
    }

    [Fact]
    public async Task Altered_images_give_results_and_no_errors()
    {
        new ReadyImage().Write(_work["good.vhd"]);
        var good = await File.ReadAllBytesAsync(_work["good.vhd"]);
        var places = Enumerable.Range(0, (int)ReadyImage.DefaultSize).Where(i => good[i] != 0).ToArray();
        var random = new Random(1);
        for (var round = 0; round < 60; round++)
        {
            var bytes = good.ToArray();
            for (var change = 0; change < 40; change++)
            {
                bytes[places[random.Next(places.Length)]] ^= (byte)random.Next(1, 256);
            }

            await File.WriteAllBytesAsync(_work["altered.vhd"], bytes);
            var results = await ReadinessCheck.RunAsync(_work["altered.vhd"], new(), new RecordingReporter(), default);

            // One is not asked where there is no loader that could be signed.
            Assert.InRange(results.Count, ReadyImage.Rules - 1, ReadyImage.Rules);
        }
    }

    [Fact]
    public async Task Cancelled_check_ends()
    {
        new ReadyImage().Write(_work["disk.vhd"]);
        using var source = new CancellationTokenSource();
        var reporter = new ActingReporter
        {
            OnProgress = update =>
            {
                if (update.Status.Contains("HyperVModules", StringComparison.Ordinal))
                {
                    source.Cancel();
                }
            },
        };

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => ReadinessCheck.RunAsync(_work["disk.vhd"], new(), reporter, source.Token));
    }

    private static void Overwrite(Stream disk, long position, ReadOnlySpan<byte> bytes)
    {
        disk.Position = position;
        disk.Write(bytes);
    }

    private static List<string> Failed(IEnumerable<ReadinessResult> results) =>
        [.. results.Where(result => result.Verdict == ReadinessOutcome.Failed).Select(result => result.Rule)];

    private Task<IReadOnlyList<ReadinessResult>> Check(ReadyImage image)
    {
        image.Write(_work["disk.vhd"]);
        return ReadinessCheck.RunAsync(_work["disk.vhd"], new(), new RecordingReporter(), default);
    }

    private sealed class ActingReporter : IReporter
    {
        public required Action<ProgressUpdate> OnProgress { get; init; }

        public void Verbose(string message)
        {
        }

        public void Information(string message)
        {
        }

        public void Warning(string message)
        {
        }

        public void Progress(ProgressUpdate update) => OnProgress(update);
    }
}
