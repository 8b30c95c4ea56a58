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
        "lifeline-memory", "capability",
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
