using System.Globalization;
using ArchAzure.Builds;

namespace ArchAzure.BuildTests.Faults;

/// <summary>The comparison itself: what is planted is found and named, and two real builds are equal.</summary>
[Collection(Pipeline.Name)]
public sealed class ImageComparisonTests(Pipeline pipeline)
{
    [Fact]
    public async Task A_planted_difference_of_each_kind_in_the_tree_is_named()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 5);
        var (expected, actual) = (ComparedImage.Of(pipeline.ImageBuild), ComparedImage.Of(build.State));
        Assert.Empty(await ImageComparison.BytesAsync(expected, actual));
        Assert.Empty(await ImageComparison.UnexplainedAsync(expected, actual));

        using var folder = new TempFolder();
        var mount = folder["root"];
        Directory.CreateDirectory(mount);
        await Tool.RunAsync(
            "mount", "-t", "ext4", "-o", $"loop,offset={actual.Root.Offset},sizelimit={actual.Root.Length}", actual.Vhd, mount);
        try
        {
            await Tool.RunAsync("chmod", "o+w", $"{mount}/etc/fstab");
            await Tool.RunAsync("chown", "--no-dereference", "11:12", $"{mount}/etc/os-release");
            await Tool.RunAsync(
                "ln", "--symbolic", "--force", "--no-dereference", "../usr/share/zoneinfo/Europe/Oslo", $"{mount}/etc/localtime");
            await Tool.RunAsync("setcap", "cap_net_bind_service=ep", $"{mount}/usr/bin/true");
            await Tool.RunAsync("setfacl", "--modify", "user:11:r", $"{mount}/etc/passwd");
            await Tool.RunAsync("mknod", $"{mount}/usr/share/null", "c", "1", "3");
            await File.AppendAllTextAsync($"{mount}/etc/hosts", "x");
            await FlipAsync($"{mount}/etc/group");
            File.Delete($"{mount}/etc/shells");
            Directory.Delete(Directory.EnumerateDirectories($"{mount}/var/lib/pacman/local", "sudo-*").Single(), recursive: true);
            await File.WriteAllTextAsync($"{mount}/root/more", "x");
            File.Delete($"{mount}/usr/bin/false");
            await Tool.RunAsync("cp", "--no-preserve=mode", $"{mount}/usr/bin/env", $"{mount}/usr/bin/false");
        }
        finally
        {
            await Tool.RunAsync("umount", mount);
        }

        var found = (await ImageComparison.UnexplainedAsync(expected, actual))
            .Where(difference => !difference.Place.StartsWith("/var/lib/pacman/local", StringComparison.Ordinal))
            .ToList();
        (string Place, string What)[] planted =
        [
            ("/etc/fstab", "mode"), ("/etc/os-release", "owner"), ("/etc/os-release", "group"), ("/etc/localtime", "link target"),
            ("/usr/bin/true", "extended attributes"),
            ("/etc/passwd", "extended attributes"), ("/usr/share/null", "not expected"), ("/etc/hosts", "size"), ("/etc/hosts", "content"),
            ("/etc/group", "content"), ("/etc/shells", "missing"), ("package list", "missing"), ("/root/more", "not expected"),
            ("/usr/bin/false", "mode"), ("/usr/bin/false", "content"),
        ];
        Assert.All(
            planted,
            wanted =>
                Assert.True(
                    found.Exists(difference => (difference.Place, difference.What) == wanted),
                    $"{wanted} is not in: {string.Join(" | ", found)}"));
        Assert.Contains(
            found,
            difference =>
                difference.Place == "/usr/bin/true" && difference.Values.Contains("security.capability=0x", StringComparison.Ordinal));
        Assert.Contains(
            found,
            difference =>
                difference.Place == "/etc/passwd" && difference.Values.Contains("system.posix_acl_access=0x", StringComparison.Ordinal));
        Assert.DoesNotContain(
            found,
            difference =>
                !planted.Contains((difference.Place, difference.What))
                    && difference is not { Place: "/etc/localtime" or "/usr/bin/false", What: "size" });
    }

    [Fact]
    public async Task A_hard_link_that_became_a_file_of_its_own_is_named()
    {
        await using var one = await TestBuild.AfterStepAsync(pipeline, 5);
        await using var other = await TestBuild.AfterStepAsync(pipeline, 5);
        var (expected, actual) = (ComparedImage.Of(one.State), ComparedImage.Of(other.State));
        foreach (var (image, command) in new[] { (expected, "ln"), (actual, "cp") })
        {
            await WriteAsync(image, async root => await Tool.RunAsync(command, $"{root}/etc/hosts", $"{root}/etc/hosts.again"));
        }

        var found = await ImageComparison.TreesAsync(expected, actual);
        Assert.All(
            ["/etc/hosts", "/etc/hosts.again"],
            path => Assert.Contains(found, difference => difference.Place == path && difference.What == "hard links"));
        Assert.All(found, difference => Assert.StartsWith("/etc/hosts", difference.Place, StringComparison.Ordinal));

        // Times are compared where they are asked for.
        await WriteAsync(actual, async root => await Tool.RunAsync("touch", "--date=@1000000000", $"{root}/etc/group"));
        Assert.DoesNotContain(await ImageComparison.TreesAsync(expected, actual), difference => difference.Place == "/etc/group");
        Assert.Contains(
            await ImageComparison.TreesAsync(expected, actual, times: true),
            difference => difference is { Place: "/etc/group", What: "modification time" });
    }

    [Fact]
    public async Task A_changed_byte_is_named_wherever_it_lies()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 5);
        var (expected, actual) = (ComparedImage.Of(pipeline.ImageBuild), ComparedImage.Of(build.State));
        var (disk, length) = (actual.Disk, new FileInfo(actual.Vhd).Length);
        var root = $"{actual.Vhd}?offset={actual.Root.Offset.ToString(CultureInfo.InvariantCulture)}";
        var block = long.Parse((await Tool.RunAsync("debugfs", "-R", "bmap /etc/hosts 0", root)).Trim(), CultureInfo.InvariantCulture);

        // "Inode 12 is part of block group 0 / located at block 248, offset 0x0b00"
        var inode = (await Tool.RunAsync("debugfs", "-R", "imap /etc/passwd", root)).Split("located at block ")[1].Split(", offset 0x");
        var passwd = (
            long.Parse(inode[0], CultureInfo.InvariantCulture) * 4096) + long.Parse(inode[1]
                .Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        var esp = disk.Partitions[Disks.PartitionPlan.Esp];
        (long Offset, string Name)[] planted =
        [
            (100, "protective MBR: boot code"),
            (512 + 60, "GPT header: disk GUID"),
            (1024 + 128 + 20, "GPT entry 2: partition GUID"),
            (disk.Partitions[Disks.PartitionPlan.BiosBoot].Offset + 5000, "BIOS boot partition: GRUB's core image"),
            (esp.Offset + 67, "ESP: volume id"),
            (actual.Root.Offset + 1024 + 0x30, "root superblock: write time"),
            (actual.Root.Offset + passwd + 0x0C, "root inode of /etc/passwd: ctime"),
            (actual.Root.Offset + (block * 4096) + 3, "root /etc/hosts: content"),
            (length - 512 - 512 + 24, "backup GPT header: own LBA"),
            (length - 512 + 68, "VHD footer: unique id"),
        ];
        foreach (var (offset, _) in planted)
        {
            await FlipAsync(actual.Vhd, offset);
        }

        var found = (await ImageComparison.BytesAsync(expected, actual)).Select(difference => difference.ToString()).ToList();
        Assert.All(planted, wanted => Assert.Contains(found, name => name.EndsWith(wanted.Name, StringComparison.Ordinal)));
        Assert.True(found.Count == planted.Length, string.Join('\n', found));

        // In the ESP: in its one file, and in a table.
        await using var third = await TestBuild.AfterStepAsync(pipeline, 5);
        var boot = ComparedImage.Of(third.State);
        await Tool.RunAsync("mattrib", "-i", $"{boot.Vhd}@@{esp.Offset}", "+r", "::/EFI/BOOT/BOOTX64.EFI");
        Assert.Equal(
            ["ESP /EFI/BOOT/: entry: attributes"],
            (await ImageComparison.BytesAsync(expected, boot)).Select(difference => difference.ToString()));
        using var folder = new TempFolder();
        await Tool.RunAsync("mcopy", "-i", $"{boot.Vhd}@@{esp.Offset}", "-n", "::/EFI/BOOT/BOOTX64.EFI", folder["boot.efi"]);
        await Tool.RunAsync("mattrib", "-i", $"{boot.Vhd}@@{esp.Offset}", "-r", "::/EFI/BOOT/BOOTX64.EFI");
        await FlipAsync(boot.Vhd, await FindAsync(boot.Vhd, esp.Offset, (await File.ReadAllBytesAsync(folder["boot.efi"]))[..512]) + 1000);
        await FlipAsync(boot.Vhd, 512 + 60);
        await FlipAsync(boot.Vhd, length - 512 + 68);

        // Both builds have recorded the same identities, so only the footer's own is excused.
        var unexplained = (await ImageComparison.UnexplainedAsync(expected, boot)).Select(difference => difference.ToString());
        Assert.Equal(["GPT header: disk GUID", "ESP /EFI/BOOT/BOOTX64.EFI: content"], unexplained);
    }

    [Fact]
    [Trait("Speed", "long")]
    public async Task Two_builds_differ_in_nothing_that_is_not_listed()
    {
        await using var one = await TestBuild.AfterStepAsync(pipeline, 1);
        await using var other = await TestBuild.AfterStepAsync(pipeline, 1);
        List<ArchBuild> builds = [];
        foreach (var build in new[] { one, other })
        {
            build.AddSettings($"DISK_SIZE={TestBuild.SmallDisk}");
            builds.Add(await build.RunAllAsync(first: 2));
        }

        Assert.NotEqual(builds[0].Disk!.RootUuid, builds[1].Disk!.RootUuid);
        var found = await ImageComparison.UnexplainedAsync(ComparedImage.Of(builds[0]), ComparedImage.Of(builds[1]));
        Assert.True(found.Count == 0, string.Join('\n', found));
    }

    private static async Task WriteAsync(ComparedImage image, Func<string, Task> write)
    {
        using var folder = new TempFolder();
        Directory.CreateDirectory(folder["root"]);
        await Tool.RunAsync(
            "mount", "-t", "ext4", "-o", $"loop,offset={image.Root.Offset},sizelimit={image.Root.Length}", image.Vhd, folder["root"]);
        try
        {
            await write(folder["root"]);
        }
        finally
        {
            await Tool.RunAsync("umount", folder["root"]);
        }
    }

    /// <summary>Where a sector lies, looked for in the first MiBs from an offset on.</summary>
    private static async Task<long> FindAsync(string path, long offset, byte[] sector)
    {
        var bytes = new byte[16 << 20];
        await using var file = File.OpenRead(path);
        file.Position = offset;
        await file.ReadExactlyAsync(bytes);
        var found = bytes.AsSpan().IndexOf(sector);
        Assert.True(found >= 0, $"The sector is not near {offset} of '{path}'.");
        return offset + found;
    }

    private static async Task FlipAsync(string path, long offset = 0)
    {
        await using var file = File.Open(path, FileMode.Open);
        file.Position = offset;
        var value = file.ReadByte();
        file.Position = offset;
        file.WriteByte((byte)(value ^ 1));
    }
}
