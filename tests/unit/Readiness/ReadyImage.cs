using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Text;
using ArchAzure.FileSystems;
using ArchAzure.Readiness;
using ArchAzure.UnitTests.FileSystems;
using ArchAzure.Vhd;

namespace ArchAzure.UnitTests.Readiness;

/// <summary>
/// A small disk on which every rule passes: laid out as the product's, made by sgdisk, mkfs.vfat, mke2fs, bsdtar and zstd, with files
/// just large enough to be judged. Tests change one thing of it.
/// </summary>
internal sealed class ReadyImage
{
    public const string Release = "6.17.8-arch1-1";
    public const string RootUuid = "6f1c1b0e-9b1f-4d52-8a3e-0c6a5d0f7a11";
    public const string RootPartUuid = "0b7e7d55-1f3c-4e56-9d0d-6a2f4f3f9e01";
    public const string EspUuid = "A1B2-C3D4";
    public const string ExtraUuid = "5a1a7e57-0000-4000-8000-00000000e874";
    public const int Sector = 512;
    public const int BiosBootSector = 2048;
    public const int EspSector = 4096;
    public const int EspSectors = 8192;
    public const int RootSector = EspSector + EspSectors;
    public const int ExtraSector = RootSector + 24576;
    public const long DefaultSize = 24 << 20;

    /// <summary>How many rules apply to it.</summary>
    public const int Rules = 52;

    public const string CommandLine = "console=tty0 console=ttyS0,115200n8 earlyprintk=ttyS0,115200 rootdelay=300 net.ifnames=0";

    public static readonly string[] InitramfsModules =
    [
        "kernel/drivers/hv/hv_vmbus.ko.zst", "kernel/drivers/scsi/hv_storvsc.ko.zst", "kernel/drivers/scsi/scsi_transport_fc.ko.zst",
        "kernel/drivers/net/hyperv/hv_netvsc.ko.zst",
        "kernel/drivers/nvme/host/nvme.ko.zst", "kernel/drivers/pci/controller/pci-hyperv.ko.zst",
        "kernel/drivers/ata/ata_piix.ko.zst", "kernel/drivers/scsi/sr_mod.ko.zst", "kernel/drivers/cdrom/cdrom.ko.zst",
        "kernel/fs/udf/udf.ko.zst",
    ];

    private static readonly string[] s_rootModules =
    [
        .. InitramfsModules, "kernel/fs/fat/vfat.ko.zst", "kernel/fs/smb/client/cifs.ko.zst", "kernel/drivers/watchdog/softdog.ko.zst",
    ];

    private static readonly ConcurrentDictionary<string, (byte[] First, byte[] Last)> s_partitionTables = new(StringComparer.Ordinal);

    public Tree Root { get; set; } = GoodRoot();

    public Tree Esp { get; set; } = GoodEsp();

    public List<string> Initramfs { get; set; } = [.. InitramfsModules.Select(module => $"usr/lib/modules/{Release}/{module}")];

    /// <summary>What else the initramfs holds.</summary>
    public Tree InitramfsFiles { get; } = GoodInitramfs();

    /// <summary>Where the initramfs goes.</summary>
    public Action<ReadyImage, byte[]> PlaceInitramfs { get; set; } =
        (image, bytes) => image.Root.File("/boot/initramfs-linux.img", bytes);

    /// <summary>The files of a fourth partition (ext4), or null.</summary>
    public Tree? Extra { get; set; }

    /// <summary>Whether the disk has an MBR with the root alone, and GRUB before it.</summary>
    public bool HasMbr { get; set; }

    /// <summary>What packs the initramfs.</summary>
    public string[] Compressor { get; set; } = ["zstd", "-q", "-1", "--rm"];

    public long Size { get; set; } = DefaultSize;

    public int RootSectors { get; set; } = ExtraSector - RootSector;

    /// <summary>More arguments for sgdisk, e.g. another partition.</summary>
    public List<string> Partitioning { get; set; } = [];

    public Func<VhdFooter, VhdFooter> Footer { get; set; } = footer => footer;

    /// <summary>Changes the disk's bytes at last.</summary>
    public Action<Stream> Patch { get; set; } = _ => { };

    /// <summary>Replaces what makes the root file system of a folder.</summary>
    public Action<string, string> MakeRoot { get; set; } = (folder, file) =>
        ImageTool.Run(
            "mke2fs", "-q", "-F", "-t", "ext4", "-d", folder, "-U", RootUuid, file, $"{(ExtraSector - RootSector) * Sector / 1024}k");

    /// <summary>Writes the VHD.</summary>
    public void Write(string path)
    {
        using var work = new TemporaryDirectory();
        MakeInitramfs(work);
        var rootFolder = Directory.CreateDirectory(work["root"]).FullName;
        Root.WriteTo(rootFolder);
        MakeRoot(rootFolder, work["root.img"]);
        MakeEsp(work, work["esp.img"]);

        using var stream = new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite);
        stream.SetLength(Size);
        if (HasMbr)
        {
            WriteMbr(stream);
        }
        else
        {
            WritePartitionTable(stream);
            Copy(work["esp.img"], stream, EspSector);
            WriteBootCode(stream, BiosBootSector);
        }

        Copy(work["root.img"], stream, RootSector);
        if (Extra is not null)
        {
            Extra.WriteTo(Directory.CreateDirectory(work["extra"]).FullName);
            ImageTool.Run("mke2fs", "-q", "-F", "-t", "ext4", "-d", work["extra"], "-U", ExtraUuid, work["extra.img"], "4096k");
            Copy(work["extra.img"], stream, ExtraSector);
        }

        Patch(stream);
        stream.Position = Size;
        stream.Write(Footer(VhdFooter.ForFixedDisk(Size, Guid.Parse(RootUuid), DateTimeOffset.UnixEpoch.AddYears(50))).ToBytes());
    }

    /// <summary>The smallest PE32+ header of a UEFI application.</summary>
    public static byte[] EfiProgram(ushort machine = 0x8664, bool signed = true)
    {
        var program = new byte[1024];
        "MZ"u8.CopyTo(program);
        program[0x3C] = 0x80;
        "PE\0\0"u8.CopyTo(program.AsSpan(0x80));
        BinaryPrimitives.WriteUInt16LittleEndian(program.AsSpan(0x84), machine);
        BinaryPrimitives.WriteUInt16LittleEndian(program.AsSpan(0x98), 0x20B);
        BinaryPrimitives.WriteUInt16LittleEndian(program.AsSpan(0x98 + 68), 10);

        // Sixteen tables, of which the fifth is that of the signatures.
        BinaryPrimitives.WriteUInt32LittleEndian(program.AsSpan(0x98 + 108), 16);
        BinaryPrimitives.WriteUInt32LittleEndian(program.AsSpan(0x98 + 112 + (4 * 8) + 4), signed ? 8u : 0);
        return program;
    }

    public static byte[] Kernel(string release)
    {
        var kernel = new byte[8192];
        "HdrS"u8.CopyTo(kernel.AsSpan(0x202));
        BinaryPrimitives.WriteUInt16LittleEndian(kernel.AsSpan(0x20E), 0x1000);
        kernel[0x236] = 1;
        Encoding.ASCII.GetBytes($"{release} (linux@archlinux) #1 SMP PREEMPT_DYNAMIC\0").CopyTo(kernel, 0x1200);
        return kernel;
    }

    private static Tree GoodRoot()
    {
        var root = new Tree();
        root.Link("/lib", "usr/lib");
        root.Link("/bin", "usr/bin");
        root["/usr/lib/os-release"] = "ID=arch\n";
        root.File("/boot/vmlinuz-linux", Kernel(Release));
        root["/boot/grub/grub.cfg"] = $$"""
            # as grub-mkconfig writes it
            if [ -s $prefix/grubenv ]; then
              load_env
            fi
            if [ "${next_entry}" ] ; then
               set default="${next_entry}"
            else
               set default="0"
            fi
            function savedefault {
              linux /never/started
            }
            serial --unit=0 --speed=115200
            menuentry 'Arch Linux' --class arch $menuentry_id_option 'gnulinux-simple-{{RootUuid}}' {
              insmod ext2
              if [ x$feature_platform_search_hint = xy ]; then
                search --no-floppy --fs-uuid --set=root {{RootUuid}}
              fi
              echo 'Loading Linux linux ...'
              linux /boot/vmlinuz-linux root=UUID={{RootUuid}} rw {{CommandLine}}
              initrd /boot/initramfs-linux.img
            }
            submenu 'Advanced options' {
              menuentry 'Arch Linux, fallback' {
                linux /boot/vmlinuz-linux root=UUID={{RootUuid}} rw single
                initrd /boot/initramfs-linux.img
              }
            }
            """;
        root["/etc/default/grub"] = $"""
            GRUB_TIMEOUT=1
            GRUB_CMDLINE_LINUX="{CommandLine}"
            GRUB_CMDLINE_LINUX_DEFAULT=""
            """;
        var modules = $"/usr/lib/modules/{Release}";
        foreach (var module in s_rootModules)
        {
            root[$"{modules}/{module}"] = "module";
        }

        root[$"{modules}/modules.dep"] = string.Concat(
            s_rootModules.Select(module => module + (module.Contains("hv_storvsc", StringComparison.Ordinal)
                ? ": kernel/drivers/scsi/scsi_transport_fc.ko.zst kernel/drivers/hv/hv_vmbus.ko.zst\n"
                : ":\n")));
        root[$"{modules}/modules.builtin"] = "kernel/fs/ext4/ext4.ko\nkernel/fs/btrfs/btrfs.ko\nkernel/drivers/scsi/sd_mod.ko\n";
        root["/etc/fstab"] = $"""
            # file system  mount point  type  options  dump  pass
            UUID={RootUuid} / ext4 rw,relatime 0 1
            UUID={EspUuid}	/efi	vfat	rw,noatime	0 2
            tmpfs /tmp tmpfs defaults 0 0
            """;
        root["/etc/systemd/network/20-azure.network"] = "[Match]\nDriver=hv_netvsc\n\n[Network]\nDHCP=ipv4\n";
        root["/usr/lib/systemd/network/80-container-host0.network"] = "[Match]\nKind=veth\nName=host0\n\n[Network]\nDHCP=yes\n";
        Enable(root, "systemd-networkd.service");
        Enable(root, "sshd.service");
        Enable(root, "waagent.service");
        Enable(root, "chronyd.service");
        Enable(root, "hv_kvp_daemon.service");
        Enable(root, "logrotate.timer");
        root["/etc/logrotate.d/waagent"] = "/var/log/waagent.log {\n}\n";
        root.File("/usr/bin/hv_kvp_daemon", "ELF"u8.ToArray(), (UnixFileMode)0b111_101_101);
        root.File("/usr/bin/sshd", "ELF"u8.ToArray(), (UnixFileMode)0b111_101_101);
        root.File("/usr/bin/python3.14", "ELF"u8.ToArray(), (UnixFileMode)0b111_101_101);
        root.Link("/usr/bin/python3", "python3.14");
        root.File("/usr/bin/waagent", "#!/usr/bin/python3\nimport azurelinuxagent\n"u8.ToArray(), (UnixFileMode)0b111_101_101);
        root["/usr/lib/waagent/azurelinuxagent/common/version.py"] = "AGENT_NAME = \"WALinuxAgent\"\nAGENT_VERSION = '2.16.0.2'\n";
        root["/usr/lib/libssl.so.3"] = "ELF";
        root["/etc/waagent.conf"] = "# who\nProvisioning.Agent=waagent\nResourceDisk.Format=n\nResourceDisk.EnableSwap=n\n";
        root["/etc/ssh/sshd_config"] = "# first\nInclude /etc/ssh/sshd_config.d/*.conf\nClientAliveInterval 900\n";
        root["/etc/ssh/sshd_config.d/10-azure.conf"] = "ClientAliveInterval 180\nPermitRootLogin no\n";
        root["/etc/sysctl.d/60-azure.conf"] = "net.ipv4.tcp_keepalive_time = 120\n";
        root["/etc/machine-id"] = "uninitialized\n";
        root.Link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
        root["/etc/passwd"] = "root:x:0:0:root:/root:/usr/bin/bash\nnobody:x:65534:65534::/:/usr/bin/nologin\n";
        root["/etc/shadow"] = "root:!*:20000::::::\nnobody:!*:20000::::::\n";
        root["/var/log/pacman.log"] = "";
        root.Folder("/var/cache/pacman/pkg");
        root.Folder("/var/lib/waagent");
        root.Folder("/root");
        root.Folder("/home");
        return root;
    }

    private static Tree GoodInitramfs()
    {
        const UnixFileMode executable = (UnixFileMode)0b111_101_101;
        var files = new Tree();
        files.Link("/bin", "usr/bin");
        files.Link("/lib", "usr/lib");
        files.File("/init", "#!/usr/bin/ash\n"u8.ToArray(), executable);
        files.Link("/usr/bin/ash", "busybox");
        files.File("/usr/bin/busybox", "ELF"u8.ToArray(), executable);
        return files;
    }

    private static Tree GoodEsp()
    {
        var esp = new Tree();
        esp.File("/EFI/BOOT/BOOTX64.EFI", EfiProgram());
        return esp;
    }

    private static void Enable(Tree root, string unit)
    {
        root[$"/usr/lib/systemd/system/{unit}"] = "[Service]\nExecStart=/usr/bin/true\n";
        root.Link($"/etc/systemd/system/multi-user.target.wants/{unit}", $"/usr/lib/systemd/system/{unit}");
    }

    private static void Copy(string file, Stream disk, int sector)
    {
        using var source = File.OpenRead(file);
        disk.Position = (long)sector * Sector;
        source.CopyTo(disk);
    }

    /// <summary>
    /// As grub-install leaves it: boot.img loads the partition's first sector, diskboot.img there the core image behind it.
    /// </summary>
    private static void WriteBootCode(FileStream disk, long coreSector)
    {
        var field = new byte[8];
        disk.Position = 0;
        disk.Write([0xEB, 0x63, 0x90]);
        disk.Position = 0x5C;
        BinaryPrimitives.WriteInt64LittleEndian(field, coreSector);
        disk.Write(field);
        disk.Position = 0x180;
        disk.Write("GRUB \0Geom\0Hard Disk\0Read\0 Error\r\n"u8);
        disk.Position = coreSector * Sector;
        disk.Write("RV\xbe"u8);
        disk.Position = (coreSector * Sector) + 500;
        BinaryPrimitives.WriteInt64LittleEndian(field, coreSector + 1);
        disk.Write(field);
        disk.Write([0x08, 0x00, 0x20, 0x08]);
        disk.Write([0xEA, 0x1C, 0x82, 0x00]);
    }

    /// <summary>Both copies of the GPT. sgdisk sleeps for a second each time, so each layout is made once.</summary>
    private void WritePartitionTable(FileStream disk)
    {
        var (first, last) = s_partitionTables.GetOrAdd($"{Size} {RootSectors} {string.Join(' ', Partitioning)}", _ =>
        {
            using var work = new TemporaryDirectory();
            using (var image = File.Create(work["disk.img"]))
            {
                image.SetLength(Size);
            }

            ImageTool.Run(
                "sgdisk",
                [
                    "-a", "2048",
                    "-n", $"1:{BiosBootSector}:+1M", "-t", "1:ef02",
                    "-n", $"2:{EspSector}:+{EspSectors / 2}K", "-t", "2:ef00",
                    "-n", $"3:{RootSector}:+{RootSectors / 2}K", "-t", "3:8304", "-u", $"3:{RootPartUuid}", "-c", "3:root",
                    .. Partitioning, work["disk.img"],
                ]);
            var bytes = File.ReadAllBytes(work["disk.img"]);
            return (bytes[..(34 * Sector)], bytes[^(33 * Sector)..]);
        });
        disk.Position = 0;
        disk.Write(first);
        disk.Position = Size - last.Length;
        disk.Write(last);
    }

    private static void WriteMbr(FileStream disk)
    {
        WriteBootCode(disk, 1);
        var record = new byte[16];
        record[4] = 0x83;
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(8), RootSector);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(12), ExtraSector - RootSector);
        disk.Position = 446;
        disk.Write(record);
        disk.Position = 510;
        disk.Write([0x55, 0xAA]);
    }

    private void MakeInitramfs(TemporaryDirectory work)
    {
        var early = new Tree();
        early["/kernel/x86/microcode/GenuineIntel.bin"] = "microcode";
        early.WriteTo(Directory.CreateDirectory(work["early"]).FullName);
        ImageTool.Run("bsdtar", "--format", "newc", "-cf", work["early.cpio"], "-C", work["early"], ".");
        var main = InitramfsFiles.Clone();
        foreach (var name in Initramfs)
        {
            main["/" + name] = "module";
        }

        // As depmod lists what is there.
        const string modules = $"usr/lib/modules/{Release}/";
        if (Initramfs.Any(name => name.StartsWith(modules, StringComparison.Ordinal)))
        {
            main[$"/{modules}modules.dep"] = string.Concat(
                Initramfs.Select(name => $"{name.Replace(modules, "", StringComparison.Ordinal)}:\n"));
        }

        main.WriteTo(Directory.CreateDirectory(work["initramfs"]).FullName);
        ImageTool.Run("bsdtar", "--format", "newc", "-cf", work["main.cpio"], "-C", work["initramfs"], ".");
        ImageTool.Run(Compressor[0], [.. Compressor[1..], work["main.cpio"]]);
        PlaceInitramfs(
            this,
            [.. File.ReadAllBytes(work["early.cpio"]), .. File.ReadAllBytes(Directory.GetFiles(work.Path, "main.cpio.*").Single())]);
    }

    private void MakeEsp(TemporaryDirectory work, string file)
    {
        using (var image = File.Create(file))
        {
            image.SetLength(EspSectors * Sector);
        }

        ImageTool.Run("mkfs.vfat", "-i", EspUuid.Replace("-", "", StringComparison.Ordinal), "-n", "ESP", file);
        var folder = Directory.CreateDirectory(work["esp"]).FullName;
        Esp.WriteTo(folder);
        ImageTool.Run("mcopy", ["-s", "-i", file, .. Directory.GetFileSystemEntries(folder), "::/"]);
    }
}
