using System.Formats.Tar;
using ArchAzure.BuildTests.Faults;
using ArchAzure.Builds;

namespace ArchAzure.BuildTests;

/// <summary>
/// What a package, a hook, a layer or a command in the target would do to the machine that builds: each way is tried from each of these
/// places, and must be refused; the host is looked at before and after.
/// </summary>
[Collection(Pipeline.Name)]
public sealed class WallTests(Pipeline pipeline)
{
    private static readonly string[] s_kernelValues =
    [
        "/proc/sys/vm/swappiness", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
    ];

    /// <summary>What hostile.py tries, in its order.</summary>
    private static readonly string[] s_ways =
    [
        "sysctl", "core-pattern", "sysrq", "proc-bus", "remount-proc-sys", "umount-proc-sys", "fresh-proc", "remount-root", "devtmpfs",
        "mknod-disk", "mknod-memory", "cgroup-release-agent",
        "cgroup2", "debugfs", "sys-write", "bpf", "perf", "user-namespace", "mount-namespace", "new-mount-api", "builder-root",
        "stronger-memory", "stronger-input", "capability",
    ];

    [Fact]
    [Trait("Speed", "slow")]
    public Task Nothing_that_runs_in_the_target_reaches_the_host() => TryAllAsync(null);

    [Fact]
    [Trait("Speed", "long")]
    public async Task Nor_where_the_engine_has_cgroup_v2()
    {
        using var engine = new PrivateEngine { UnifiedCgroups = true };
        await engine.InitializeAsync();
        try
        {
            Assert.Equal("2", (await Tool.RunAsync("docker", "--host", engine.Host, "info", "--format", "{{.CgroupVersion}}")).Trim());
            await engine.CopyImageAsync(pipeline.ImageBuild.Bootstrap!.BuilderImage);
            await TryAllAsync(engine.Host);
        }
        finally
        {
            await engine.DisposeAsync();
        }
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task Steps_that_share_a_builder_do_not_share_its_files_and_network()
    {
        using var folder = new TempFolder();
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);

        // Step 4's packages run the hook, step 5 runs grub-mkimage; both look around outside of their root.
        folder.Write("look/packages", "python\n");
        folder.Write(
            "look/files/usr/local/lib/look.py",
            $"""
            import encodings.idna, os, socket, sys
            os.makedirs("/tmp/inner", exist_ok=True)
            os.chroot("/tmp/inner")
            for _ in range(20):
                os.chdir("..")
            os.chroot(".")
            for name in sorted(os.listdir("/work")):
                path = "/work/" + name
                try:
                    size = len(os.listdir(path)) if os.path.isdir(path) else os.path.getsize(path)
                    open(path if not os.path.isdir(path) else path + "/planted", "ab").close()
                    print("look", sys.argv[1], name, "OPEN")
                except OSError as error:
                    print("look", sys.argv[1], name, "closed" if size == 0 else "OPEN")
            try:
                socket.create_connection(("127.0.0.1", {pipeline.Settings.ReleaseUrl.Port}), 10).close()
                print("look", sys.argv[1], "network OPEN")
            except OSError:
                print("look", sys.argv[1], "network closed")
            """);
        folder.Write(
            "look/files/usr/share/libalpm/hooks/look.hook",
            "[Trigger]\nOperation = Install\nType = Package\nTarget = python-setuptools\n\n[Action]\nWhen = PostTransaction\nExec = "
            + "/usr/bin/python /usr/local/lib/look.py 4\n");
        folder.Write(
            "look/files/usr/local/bin/grub-mkimage", "#!/bin/sh\npython /usr/local/lib/look.py 5\nexec /usr/bin/grub-mkimage \"$@\"\n");
        folder.Write("look/configure", "chmod 0755 /usr/local/bin/grub-mkimage\n");
        build.AddSettings($"LAYERS={folder["look"]}", $"DISK_SIZE={TestBuild.SmallDisk}");
        await build.RunAllAsync(2);

        Assert.Equal(
            [
                "look 4 cache OPEN", "look 4 disk.img OPEN", "look 4 network OPEN", "look 4 packages OPEN",
                "look 4 target-3.tar.zst.part closed", "look 4 target-4.tar.zst.part OPEN",
            ],
            Said(4));
        Assert.Equal(
            [
                "look 5 cache closed", "look 5 disk.img OPEN", "look 5 network closed", "look 5 packages closed",
                "look 5 target-3.tar.zst.part closed", "look 5 target-4.tar.zst.part closed",
            ],
            Said(5));

        IEnumerable<string> Said(int step) => File.ReadLines(build.Directory.Log(step))
            .Select(line => line[10..])
            .Where(line => line.StartsWith("look ", StringComparison.Ordinal))
            .Distinct(StringComparer.Ordinal)
            .Order(StringComparer.Ordinal);
    }

    private async Task TryAllAsync(string? host)
    {
        using var folder = new TempFolder();
        var devices = Directory.GetFileSystemEntries("/dev").Order(StringComparer.Ordinal).ToList();
        var values = s_kernelValues.Select(File.ReadAllText).ToList();
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        build.DockerHost = host;
        using var engine = new DockerHostVariable(host);
        await WriteLayerAsync(folder);
        build.AddSettings($"LAYERS={folder["before"]}:{folder["wall"]}");

        await build.RunAsync(3);
        await build.RunAsync(4);
        var lines = File.ReadLines(build.Directory.Log(3))
            .Concat(File.ReadLines(build.Directory.Log(4)))
            .Select(line => line[(line.IndexOf("  ", 8, StringComparison.Ordinal) + 2)..])
            .ToList();
        var script = Path.Combine(folder.Path, "by-hand");
        await File.WriteAllTextAsync(script, "exec python /usr/local/lib/hostile.py invoke\n");
        await new TargetAccess(build.Directory, build.Reporter).RunAsync(null, script, keep: false, (line, _) => lines.Add(line), default);

        foreach (var place in new[] { "configure", "package", "hook", "invoke" })
        {
            var said = lines.Where(line => line.StartsWith($"wall {place} ", StringComparison.Ordinal))
                .Select(line => line.Split(' ', 4))
                .ToList();
            Assert.Equal(s_ways, said.Select(words => words[2]));
            Assert.All(said, words => Assert.True(words[3].StartsWith("refused", StringComparison.Ordinal), string.Join(' ', words)));
        }

        Assert.Equal(values, s_kernelValues.Select(File.ReadAllText));
        Assert.Equal(devices, Directory.GetFileSystemEntries("/dev").Order(StringComparer.Ordinal));
        await build.NothingLeftAsync();
    }

    /// <summary>A layer whose script, package and hook all run hostile.py.</summary>
    private static async Task WriteLayerAsync(TempFolder folder)
    {
        folder.Write("wall/packages", "python\n");
        folder.Write(
            "wall/files/usr/local/lib/hostile.py", await File.ReadAllTextAsync(Path.Combine(TestSetup.Checkout, "tests/build/hostile.py")));

        // Step 4 installs it; pacman itself runs the hook, from outside the target.
        folder.Write(
            "wall/files/usr/share/libalpm/hooks/wall.hook",
            "[Trigger]\nOperation = Install\nType = Package\nTarget = python-setuptools\n\n[Action]\nWhen = PostTransaction\nExec = "
            + "/usr/bin/python /usr/local/lib/hostile.py hook\n");
        Directory.CreateDirectory(folder["wall/files/root"]);
        await using (var tar = new TarWriter(File.Create(folder["wall/files/root/wall.pkg.tar"]), TarEntryFormat.Ustar))
        {
            await AddAsync(tar, ".PKGINFO", "pkgname = wall\npkgver = 1-1\narch = any\nsize = 0\n");
            await AddAsync(tar, ".INSTALL", "post_install() { python /usr/local/lib/hostile.py package; }\n");
        }

        // What one script leaves running is gone before the next command.
        folder.Write("before/configure", "setsid sleep 4321 > /dev/null 2>&1 &\n");
        folder.Write(
            "wall/configure",
            "! grep --null-data --line-regexp --quiet 4321 /proc/[0-9]*/cmdline || exit\npython /usr/local/lib/hostile.py "
            + "configure\npacman --upgrade --noconfirm /root/wall.pkg.tar\n");
    }

    private static async Task AddAsync(TarWriter tar, string name, string content)
    {
        using var data = new MemoryStream(System.Text.Encoding.UTF8.GetBytes(content));
        await tar.WriteEntryAsync(new UstarTarEntry(TarEntryType.RegularFile, name) { DataStream = data });
    }
}
