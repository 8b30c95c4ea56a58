using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using ArchAzure.Disks;

namespace ArchAzure.BuildTests;

/// <summary>A raw view of the shared VHD: a sparse copy without the footer, for tools that know no VHD.</summary>
public sealed class RawView : IAsyncLifetime, IDisposable
{
    private readonly TempFolder _folder = new();

    /// <summary>The raw disk.</summary>
    public string Path => _folder["disk.raw"];

    /// <summary>The ESP alone.</summary>
    public string Esp => _folder["esp.raw"];

    /// <inheritdoc/>
    public async Task InitializeAsync()
    {
        var build = ArchAzure.Builds.BuildStore.Load(new ArchAzure.Builds.WorkDirectory(TestSetup.ImageWorkDirectory));
        await Tool.RunAsync("cp", "--sparse=always", "--reflink=auto", build.VhdPath!, Path);
        await Tool.RunAsync("truncate", "--size=-512", Path);
        var esp = build.Disk!.Partitions[PartitionPlan.Esp];
        await Tool.RunAsync(
            "dd", $"if={Path}", $"of={Esp}", "bs=1M", $"skip={esp.Offset}", $"count={esp.Length}", "iflag=skip_bytes,count_bytes",
            "conv=sparse", "status=none");
    }

    /// <inheritdoc/>
    public Task DisposeAsync() => Task.CompletedTask;

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();
}

/// <summary>The shared image, looked at with tools that are not ours.</summary>
[Collection(Pipeline.Name)]
public sealed partial class VhdStructureTests(Pipeline pipeline, RawView raw) : IClassFixture<RawView>
{
    private string Vhd => pipeline.ImageBuild.VhdPath!;

    private Partition Root => pipeline.ImageBuild.Disk!.Partitions[PartitionPlan.Root];

    private string RootFileSystem => $"{raw.Path}?offset={Root.Offset}";

    [Fact]
    public void File_is_whole_MiB_and_a_footer()
    {
        var length = new FileInfo(Vhd).Length;
        Assert.Equal(512, length % (1 << 20));
        Assert.Equal((pipeline.ImageBuild.Disk!.SizeMiB << 20) + 512, length);
        Assert.Equal($"ArchLinux-{pipeline.ImageBuild.Version}.vhd", Path.GetFileName(Vhd));
    }

    [Fact]
    public async Task Qemu_sees_the_exact_size()
    {
        using var information = JsonDocument.Parse(await Tool.RunAsync("qemu-img", "info", "-f", "vpc", "--output=json", Vhd));
        Assert.Equal(pipeline.ImageBuild.Disk!.SizeMiB << 20, information.RootElement.GetProperty("virtual-size").GetInt64());
    }

    [Fact]
    public void Footer_holds_by_the_specification()
    {
        // Microsoft, "Virtual Hard Disk Image Format Specification", 1.0 (2006): all fields big-endian.
        var footer = new byte[512];
        using (var file = File.OpenRead(Vhd))
        {
            file.Seek(-512, SeekOrigin.End);
            file.ReadExactly(footer);
        }

        Assert.Equal("conectix", Encoding.ASCII.GetString(footer, 0, 8));
        Assert.Equal(2u, UInt32At(8) & 2);
        Assert.Equal(0x0001_0000u, UInt32At(12));
        Assert.Equal(ulong.MaxValue, BinaryPrimitives.ReadUInt64BigEndian(footer.AsSpan(16)));
        var made = new DateTime(2000, 1, 1, 0, 0, 0, DateTimeKind.Utc).AddSeconds(UInt32At(24));
        Assert.InRange(made, new DateTime(2025, 1, 1, 0, 0, 0, DateTimeKind.Utc), DateTime.UtcNow.AddMinutes(1));
        Assert.Equal("win ", Encoding.ASCII.GetString(footer, 28, 4));
        Assert.Equal("Wi2k", Encoding.ASCII.GetString(footer, 36, 4));
        var size = (ulong)pipeline.ImageBuild.Disk!.SizeMiB << 20;
        Assert.Equal(size, BinaryPrimitives.ReadUInt64BigEndian(footer.AsSpan(40)));
        Assert.Equal(size, BinaryPrimitives.ReadUInt64BigEndian(footer.AsSpan(48)));
        Assert.Equal(Geometry(size / 512), UInt32At(56));
        Assert.Equal(2u, UInt32At(60));
        uint sum = 0;
        for (var i = 0; i < footer.Length; i++)
        {
            sum += i is >= 64 and < 68 ? 0u : footer[i];
        }

        Assert.Equal(~sum, UInt32At(64));
        Assert.Equal(pipeline.ImageBuild.Vhd!.UniqueId, new Guid(footer.AsSpan(68, 16), bigEndian: true));
        Assert.All(footer[84..], value => Assert.Equal(0, value));

        uint UInt32At(int offset) => BinaryPrimitives.ReadUInt32BigEndian(footer.AsSpan(offset));
    }

    [Fact]
    public async Task Partition_table_is_sound_and_as_recorded()
    {
        Assert.Contains("No problems found", await Tool.RunAsync("sgdisk", "--verify", raw.Path), StringComparison.Ordinal);
        var table = await Tool.RunAsync("sgdisk", "--print", raw.Path);
        var disk = pipeline.ImageBuild.Disk!;
        Assert.Contains($"Disk identifier (GUID): {disk.DiskGuid}", table, StringComparison.OrdinalIgnoreCase);
        Assert.Equal(3, disk.Partitions.Count);
        Assert.Equal(["1", "2", "3"], PartitionLine().Matches(table).Select(match => match.Groups[1].Value));

        // Type GUIDs by the UEFI and the Discoverable Partitions specifications.
        string[] types =
        [
            "21686148-6449-6E6F-744E-656564454649", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
        ];
        foreach (var partition in disk.Partitions)
        {
            var information = await Tool.RunAsync("sgdisk", $"--info={partition.Number}", raw.Path);
            Assert.Contains($"Partition GUID code: {types[partition.Number - 1]}", information, StringComparison.OrdinalIgnoreCase);
            Assert.Contains($"Partition unique GUID: {partition.PartitionGuid}", information, StringComparison.OrdinalIgnoreCase);
            Assert.Contains($"First sector: {partition.FirstSector} ", information, StringComparison.Ordinal);
            Assert.Contains($"Partition size: {partition.SectorCount} sectors", information, StringComparison.Ordinal);
            Assert.Contains($"Partition name: '{partition.Name}'", information, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Root_file_system_is_clean_and_as_recorded()
    {
        await Tool.RunAsync("e2fsck", "-fn", RootFileSystem);
        var header = await SuperblockAsync();
        Assert.Equal(pipeline.ImageBuild.Disk!.RootUuid.ToString(), header["Filesystem UUID"]);
        Assert.Equal(pipeline.ImageBuild.Disk.HashSeed.ToString(), header["Directory Hash Seed"]);
        Assert.Equal("root", header["Filesystem volume name"]);
        Assert.Equal(Root.Length, Number(header, "Block count") * Number(header, "Block size"));
    }

    [Fact]
    public async Task Only_data_and_tables_take_room()
    {
        var allocated = long.Parse(await Tool.RunAsync("stat", "--format=%b", Vhd), CultureInfo.InvariantCulture) * 512;
        var header = await SuperblockAsync();
        var block = Number(header, "Block size");
        var overhead = Number(header, "Overhead clusters") * block;
        var data = ((Number(header, "Block count") - Number(header, "Free blocks")) * block) - overhead;

        // Inode tables are written only as far as they are used; the rest of the overhead (journal, bitmaps, descriptors) may be whole.
        var inodes = Number(header, "Inode count");
        var used = inodes - Number(header, "Free inodes");
        var inodeSize = Number(header, "Inode size");
        var tables = overhead - ((inodes - used) * inodeSize);

        // Both FATs, four bytes for each cluster of one sector, and what is in the partition; the BIOS core.
        var fat = 2 * pipeline.ImageBuild.Disk!.Partitions[PartitionPlan.Esp].SectorCount * 4;
        var bound = (long)(data * 1.05) + tables + fat + (4 << 20);
        Assert.InRange(allocated, data, bound);
    }

    [Fact]
    public async Task Esp_is_clean_and_holds_the_removable_path()
    {
        Assert.Contains("32 bit entries", await Tool.RunAsync("fsck.vfat", "-nv", raw.Esp), StringComparison.Ordinal);
        var id = pipeline.ImageBuild.Disk!.EspUuid;
        Assert.Contains($"Volume Serial Number is {id}", await Tool.RunAsync("mdir", "-i", raw.Esp, "::/"), StringComparison.Ordinal);
        using var folder = new TempFolder();
        await Tool.RunAsync("mcopy", "-i", raw.Esp, "::/EFI/BOOT/BOOTX64.EFI", folder["loader"]);
        var loader = await File.ReadAllBytesAsync(folder["loader"]);
        Assert.Equal("MZ"u8.ToArray(), loader[..2]);
        var pe = BinaryPrimitives.ReadInt32LittleEndian(loader.AsSpan(0x3C));
        Assert.Equal("PE\0\0"u8.ToArray(), loader[pe..(pe + 4)]);
        Assert.Equal(0x8664, BinaryPrimitives.ReadUInt16LittleEndian(loader.AsSpan(pe + 4)));
        Assert.Contains(pipeline.ImageBuild.Disk.RootUuid.ToString(), Encoding.Latin1.GetString(loader), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bios_boot_code_is_there_and_names_its_core()
    {
        await using var file = File.OpenRead(raw.Path);
        var sector = new byte[512];
        await file.ReadExactlyAsync(sector);
        Assert.Equal(0xAA55, BinaryPrimitives.ReadUInt16LittleEndian(sector.AsSpan(510)));

        // GRUB's boot.img: the core image's first sector at 0x5C (include/grub/i386/pc/boot.h).
        Assert.Equal(
            pipeline.ImageBuild.Disk!.Partitions[PartitionPlan.BiosBoot].FirstSector,
            BinaryPrimitives.ReadInt64LittleEndian(sector.AsSpan(0x5C)));
    }

    [Fact]
    public async Task Fstab_names_both_file_systems_by_uuid()
    {
        var lines = (await CatAsync("/etc/fstab")).Split('\n').Where(line => line.Length > 0 && line[0] != '#')
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).ToList();
        Assert.Equal(2, lines.Count);
        Assert.Equal([$"UUID={pipeline.ImageBuild.Disk!.RootUuid}", "/", "ext4"], lines[0][..3]);
        Assert.Contains("x-systemd.growfs", lines[0][3], StringComparison.Ordinal);
        Assert.Equal([$"UUID={pipeline.ImageBuild.Disk.EspUuid}", "/efi", "vfat"], lines[1][..3]);
        Assert.Contains("nofail", lines[1][3], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Kernel_is_started_as_azure_asks()
    {
        var configuration = await CatAsync("/boot/grub/grub.cfg");
        var line = Assert.Single(configuration.Split('\n'), line => line.TrimStart().StartsWith("linux ", StringComparison.Ordinal));
        var words = new[]
        {
            $"root=UUID={pipeline.ImageBuild.Disk!.RootUuid}", "console=ttyS0,115200n8", "earlyprintk=ttyS0,115200", "rootdelay=300",
            "net.ifnames=0",
        };
        foreach (var word in words)
        {
            Assert.Contains(word, line.Split(' '));
        }

        Assert.DoesNotContain("quiet", line.Split(' '));
        var files = new[]
        {
            "/boot/vmlinuz-linux", "/boot/initramfs-linux.img", "/boot/grub/x86_64-efi/normal.mod", "/boot/grub/i386-pc/normal.mod",
        };
        foreach (var file in files)
        {
            Assert.Contains("Type: regular", await DebugAsync($"stat {file}"), StringComparison.Ordinal);
        }

        // What grub-mkconfig will use later, in the machine.
        Assert.Contains("rootdelay=300", await CatAsync("/etc/default/grub"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nothing_of_one_machine_is_in_it()
    {
        Assert.Contains("Size: 0", await DebugAsync("stat /etc/machine-id"), StringComparison.Ordinal);
        Assert.DoesNotContain("ssh_host_", await DebugAsync("ls /etc/ssh"), StringComparison.Ordinal);
        Assert.Contains("sshd_config", await DebugAsync("ls /etc/ssh"), StringComparison.Ordinal);
        Assert.Equal(["hooks", "mirrorlist"], await NamesAsync("/etc/pacman.d"));
        foreach (var folder in new[] { "/var/cache/pacman/pkg", "/var/lib/pacman/sync", "/tmp", "/var/tmp", "/run" })
        {
            Assert.Empty(await NamesAsync(folder));
        }

        var files = new[]
        {
            "/var/lib/systemd/random-seed", "/root/.bash_history", "/.archazure-script", "/var/lib/archazure-agent",
            "/var/lib/waagent/provisioned",
        };
        foreach (var file in files)
        {
            Assert.Contains("File not found", await DebugAsync($"stat {file}"), StringComparison.Ordinal);
        }

        Assert.Contains(
            "Fast link dest: \"../run/systemd/resolve/stub-resolv.conf\"",
            await DebugAsync("stat /etc/resolv.conf"),
            StringComparison.Ordinal);
        var shadow = await CatAsync("/etc/shadow");
        Assert.Contains("root:", shadow, StringComparison.Ordinal);
        Assert.All(shadow.Split('\n', StringSplitOptions.RemoveEmptyEntries), line => Assert.Matches("^[^:]+:[!*]", line));
        Assert.DoesNotContain("127.0.0.1", await CatAsync("/etc/pacman.d/mirrorlist"), StringComparison.Ordinal);
        Assert.DoesNotContain("DisableSandbox", Uncommented(await CatAsync("/etc/pacman.conf")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Agent_is_configured()
    {
        var options = Uncommented(await CatAsync("/etc/waagent.conf")).Split('\n');
        foreach (var option in new[]
        {
            "Provisioning.Agent=waagent", "Provisioning.Enabled=y", "Provisioning.SshHostKeyPairType=auto",
            "Provisioning.RegenerateSshHostKeyPair=n", "Provisioning.DeleteRootPassword=y",
            "Protocol.EndpointDiscovery=static", "ResourceDisk.Format=y", "ResourceDisk.EnableSwap=n", "ResourceDisk.SwapSizeMB=0",
        })
        {
            var name = option.Split('=')[0] + "=";
            Assert.Equal(option, Assert.Single(options, line => line.StartsWith(name, StringComparison.Ordinal)).Trim());
        }
    }

    [Theory]
    [InlineData("sshd.service")]
    [InlineData("waagent.service")]
    [InlineData("systemd-networkd.service")]
    [InlineData("chronyd.service")]
    [InlineData("archazure-new-machine.service")]
    [InlineData("archazure-provisioned.path")]
    [InlineData("pacman-keyring.service")]
    public async Task Service_is_enabled(string unit) =>
        Assert.Contains(unit, await NamesAsync("/etc/systemd/system/multi-user.target.wants"));

    [Fact]
    public async Task Resolver_starts_before_login() =>
        Assert.Contains("systemd-resolved.service", await NamesAsync("/etc/systemd/system/sysinit.target.wants"));

    [Fact]
    public async Task Image_is_named_in_os_release()
    {
        var release = await CatAsync("/usr/lib/os-release");
        Assert.Contains("ID=arch\n", release, StringComparison.Ordinal);
        Assert.EndsWith($"\nIMAGE_ID=archlinux-azure\nIMAGE_VERSION={pipeline.ImageBuild.Version}\n", release, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Agent_does_not_lie_in_the_folder_of_one_Python()
    {
        Assert.Contains("Fast link dest: \"../lib/waagent/waagent\"", await DebugAsync("stat /usr/bin/waagent"), StringComparison.Ordinal);
        Assert.Contains("__pycache__", await NamesAsync("/usr/lib/waagent/azurelinuxagent/common"));
    }

    /// <summary>By their devices, which there are on Hyper-V only.</summary>
    [Fact]
    public async Task Daemons_of_HyperV_are_there_and_not_enabled()
    {
        Assert.Contains("hv_kvp_daemon.service", await NamesAsync("/usr/lib/systemd/system"));
        var rules = await CatAsync("/etc/udev/rules.d/68-azure-hyperv.rules");
        Assert.Contains("ENV{SYSTEMD_WANTS}+=\"hv_kvp_daemon.service\"", rules, StringComparison.Ordinal);
        Assert.DoesNotContain(
            await NamesAsync("/etc/systemd/system/multi-user.target.wants"), name => name.StartsWith("hv_", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Systemd_leaves_the_instance_metadata_to_the_agents() =>
        Assert.Contains(
            "Fast link dest: \"/dev/null\"", await DebugAsync("stat /etc/systemd/system-generators/systemd-imds-generator"),
            StringComparison.Ordinal);

    [Fact]
    public async Task First_boot_rebuilds_nothing_that_is_there()
    {
        var time = TimeOf(await DebugAsync("stat /usr"));
        Assert.Equal(time, TimeOf(await DebugAsync("stat /etc/.updated")));
        Assert.Equal(time, TimeOf(await DebugAsync("stat /var/.updated")));
        Assert.Contains("ld.so.cache", await NamesAsync("/etc"));

        static string TimeOf(string status) =>
            status.Split('\n').Single(line => line.TrimStart().StartsWith("mtime:", StringComparison.Ordinal));
    }

    private static string Uncommented(string text) => string.Join('\n', text.Split('\n').Where(line => !line.StartsWith('#')));

    // Cylinders, heads, sectors by the specification's appendix.
    private static uint Geometry(ulong sectors)
    {
        sectors = Math.Min(sectors, 65535UL * 16 * 255);
        ulong perTrack, heads, tracks;
        if (sectors >= 65535UL * 16 * 63)
        {
            (perTrack, heads, tracks) = (255, 16, sectors / 255);
        }
        else
        {
            perTrack = 17;
            tracks = sectors / 17;
            heads = Math.Max((tracks + 1023) / 1024, 4);
            if (tracks >= heads * 1024 || heads > 16)
            {
                (perTrack, heads, tracks) = (31, 16, sectors / 31);
            }

            if (tracks >= heads * 1024)
            {
                (perTrack, heads, tracks) = (63, 16, sectors / 63);
            }
        }

        return (uint)(((tracks / heads) << 16) | (heads << 8) | perTrack);
    }

    private static long Number(Dictionary<string, string> header, string name) => long.Parse(header[name], CultureInfo.InvariantCulture);

    private async Task<Dictionary<string, string>> SuperblockAsync() =>
        (await Tool.RunAsync("tune2fs", "-l", RootFileSystem))
            .Split('\n')
            .Select(line => line.Split(':', 2))
            .Where(pair => pair.Length == 2)
            .ToDictionary(pair => pair[0], pair => pair[1].Trim(), StringComparer.Ordinal);

    [Fact]
    public async Task Package_list_beside_it_is_what_pacman_has_installed()
    {
        using var list = JsonDocument.Parse(await File.ReadAllTextAsync(Vhd + ".cdx.json"));
        Assert.Equal("CycloneDX", list.RootElement.GetProperty("bomFormat").GetString());
        var components = list.RootElement.GetProperty("components").EnumerateArray().ToList();
        var packages = components.Where(
            component => component.TryGetProperty("purl", out var address)
                && address.GetString()!.StartsWith("pkg:alpm/arch/", StringComparison.Ordinal))
            .Select(component => $"{component.GetProperty("name")}-{component.GetProperty("version")}");
        var installed = (await NamesAsync("/var/lib/pacman/local")).Except(["ALPM_DB_VERSION"], StringComparer.Ordinal);
        Assert.Equal(installed.Order(StringComparer.Ordinal), packages.Order(StringComparer.Ordinal));
        Assert.Contains(components, component => component.GetProperty("version").GetString() == pipeline.ImageBuild.Agent!.AgentVersion);

        var sums = await File.ReadAllLinesAsync(Path.Combine(Path.GetDirectoryName(Vhd)!, "SHA256SUMS"));
        Assert.Equal((await Tool.RunAsync("sha256sum", Vhd + ".cdx.json"))[..64], Assert.Single(sums)[..64]);
        var digest = $"sha256:{pipeline.ImageBuild.Vhd!.FsVerity} {Path.GetFileName(Vhd)}\n";
        Assert.Equal(digest, await File.ReadAllTextAsync(Path.Combine(Path.GetDirectoryName(Vhd)!, "FSVERITYSUMS")));
        Assert.Equal(
            digest, await Tool.RunAsync("env", $"--chdir={Path.GetDirectoryName(Vhd)}", "fsverity", "digest", Path.GetFileName(Vhd)));
    }

    private async Task<string> DebugAsync(string request) => (await Tool.TryAsync("debugfs", ["-R", request, RootFileSystem])).All;

    private async Task<string> CatAsync(string path)
    {
        var text = await Tool.RunAsync("debugfs", "-R", $"cat {path}", RootFileSystem);
        Assert.False(string.IsNullOrWhiteSpace(text), $"{path} is empty or missing.");
        return text;
    }

    private async Task<IReadOnlyList<string>> NamesAsync(string folder)
    {
        // -p: /inode/mode/uid/gid/name/size/
        var listing = await Tool.RunAsync("debugfs", "-R", $"ls -p {folder}", RootFileSystem);
        var names = listing.Split('\n').Where(line => line.StartsWith('/')).Select(line => line.Split('/')[5]).ToList();
        Assert.True(names.Contains("."), $"{folder} is not there.");
        return [.. names.Where(name => name is not ("." or ".."))];
    }

    [GeneratedRegex(@"^\s+(\d+)\s+\d+\s+\d+\s", RegexOptions.Multiline)]
    private static partial Regex PartitionLine();
}
