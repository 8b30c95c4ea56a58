using System.Text.Json;
using ArchAzure.Builds;
using ArchAzure.Disks;

namespace ArchAzure.BuildTests;

/// <summary>
/// One build that asks for everything off the beaten track, by a pipe of the five cmdlets: a local bootstrap archive, btrfs,
/// the other kernel, a package, a layer of the user's own, the agent from an archive, a destination.
/// </summary>
public sealed class PipeBuild : IAsyncLifetime, IDisposable
{
    private readonly TempFolder _folder = new();

    /// <summary>The build's work directory.</summary>
    internal WorkDirectory WorkDirectory => new(_folder["my builds/work 'directory'"]);

    /// <summary>What the pipe wrote.</summary>
    internal ToolResult Result { get; private set; } = null!;

    /// <summary>Where the VHD was asked to be.</summary>
    public string Destination => _folder["out/my image.vhd"];

    /// <summary>The root partition alone.</summary>
    public string Root => _folder["root.raw"];

    /// <summary>The local bootstrap archive.</summary>
    public string Bootstrap => _folder["archlinux-bootstrap-2026.11.01-x86_64.tar.zst"];

    /// <inheritdoc/>
    public async Task InitializeAsync()
    {
        var image = new WorkDirectory(TestSetup.ImageWorkDirectory);
        var settings = ArchAzure.Settings.BuildSettings.Load(image.SettingsFile);
        foreach (var name in new[] { "", ".sig" })
        {
            File.Copy(Path.Combine(TestSetup.StandIn, "iso/2026.11.01", Path.GetFileName(Bootstrap) + name), Bootstrap + name);
        }

        Directory.CreateDirectory(_folder["out"]);
        WriteLayer(_folder["mine"]);

        Directory.CreateDirectory(WorkDirectory.Path);
        await File.WriteAllTextAsync(WorkDirectory.SettingsFile, "RESOURCE_DISK_SWAP=512\n");

        // The other tests' server is not this one's to start: the collection has done so before any class.
        Result = await Pwsh.RunAsync(
            $$"""
            New-ArchBootstrap {{Quote(WorkDirectory.Path)}} -BootstrapPath {{Quote(Bootstrap)}} -Mirror {{Quote(settings.Mirror)}} -ReleaseUrl 'http://127.0.0.1:1/nothing/' -ReleaseKey {{Quote(settings.ReleaseKey!)}} |
                New-ArchDisk -SizeMiB 3072 -RootFileSystem btrfs |
                Install-ArchBase -Kernel linux-lts -Package tree, nano -Locale de_DE.UTF-8 -TimeZone Europe/Berlin -Keymap de -Layer {{Quote(_folder["mine"])}} |
                Install-WaAgent -Source {{Quote(Path.Combine(TestSetup.StandIn, "waagent.tar.gz"))}} |
                ConvertTo-AzureVhd -Destination {{Quote(Destination)}} |
                ForEach-Object { $_.VhdPath }
            """);
        if (Result.ExitCode == 0)
        {
            var root = BuildStore.Load(WorkDirectory).Disk!.Partitions[PartitionPlan.Root];
            await Tool.RunAsync(
                "dd", $"if={Destination}", $"of={Root}", "bs=1M", $"skip={root.Offset}", $"count={root.Length}",
                "iflag=skip_bytes,count_bytes", "conv=sparse", "status=none");
        }

        static string Quote(string text) => Pwsh.Quote(text);
    }

    /// <inheritdoc/>
    public Task DisposeAsync() => Task.CompletedTask;

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();

    private static void WriteLayer(string layer)
    {
        const UnixFileMode plain = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
        Write("files/opt/mine/text", "as it is: $HOME `id` é\n", plain | UnixFileMode.GroupWrite | UnixFileMode.OtherWrite);
        Write("files/opt/mine/program", "binary\n", plain | UnixFileMode.UserExecute);
        Write("files/etc/sudoers.d/mine", "# nothing\n", plain);
        Write(
            "files/etc/systemd/system/mine.service",
            "[Service]\nType=oneshot\nExecStart=/usr/bin/true\n[Install]\nWantedBy=multi-user.target\n",
            plain);
        File.CreateSymbolicLink(Path.Combine(layer, "files/opt/mine/link"), "../else where");
        Write("packages", "# a comment\npsmisc # another\n", plain);
        Write("services", "mine.service\n-chronyd.service\n", plain);
        Write(
            "configure",
            "set -eu\ncat /opt/mine/text > /opt/mine/configured\necho \"$ARCHAZURE_KERNEL $ARCHAZURE_ROOT_FILE_SYSTEM\" >> "
            + "/opt/mine/configured\n",
            plain);

        void Write(string name, string text, UnixFileMode mode)
        {
            var path = Path.Combine(layer, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, text);
            File.SetUnixFileMode(path, mode);
        }
    }
}

/// <summary>What became of the pipe's wishes.</summary>
[Collection(Pipeline.Name)]
[Trait("Speed", "slow")]
public sealed class PipeTests(Pipeline pipeline, PipeBuild pipe) : IClassFixture<PipeBuild>
{
    private ArchBuild Build
    {
        get
        {
            Assert.True(pipe.Result.ExitCode == 0, pipe.Result.All);
            return BuildStore.Load(pipe.WorkDirectory);
        }
    }

    [Fact]
    public async Task Five_cmdlets_end_in_the_vhd_that_was_asked_for()
    {
        var build = Build;
        Assert.Equal(5, build.LastGoodStep);
        Assert.Contains(pipe.Destination, pipe.Result.Output, StringComparison.Ordinal);
        Assert.Equal(pipe.Destination, build.VhdPath);
        Assert.Equal((3072L << 20) + 512, new FileInfo(pipe.Destination).Length);
        using var information = JsonDocument.Parse(await Tool.RunAsync("qemu-img", "info", "-f", "vpc", "--output=json", pipe.Destination));
        Assert.Equal(3072L << 20, information.RootElement.GetProperty("virtual-size").GetInt64());
        var folder = Path.GetDirectoryName(pipe.Destination)!;
        Assert.Equal(
            new[]
            {
                pipe.Destination, pipe.Destination + ".cdx.json", Path.Combine(folder, "SHA256SUMS"), Path.Combine(folder, "FSVERITYSUMS"),
            }.Order(StringComparer.Ordinal),
            Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal));
        Assert.Empty(Directory.EnumerateFiles(pipe.WorkDirectory.Path, "*.part"));
        Assert.Empty(await Tool.RunAsync("docker", "ps", "--all", "--quiet", "--filter", $"label=archazure.build={build.Id}"));
    }

    [Fact]
    public void The_local_archive_was_used_and_no_server_asked()
    {
        Assert.Equal("2026.11.01", Build.Version);
        Assert.Equal(Path.GetFileName(pipe.Bootstrap), Build.Bootstrap!.FileName);
        Assert.Equal(pipeline.ImageBuild.Bootstrap!.SignedBy, Build.Bootstrap.SignedBy);
        Assert.Equal(pipeline.ImageBuild.Bootstrap.Sha256, Build.Bootstrap.Sha256);
        Assert.False(Directory.Exists(pipe.WorkDirectory.DownloadFolder));
        Assert.True(File.Exists(pipe.Bootstrap), "The user's own archive is not to be moved.");
    }

    [Fact]
    public async Task Btrfs_is_clean_and_as_recorded()
    {
        Assert.Equal("btrfs", Build.Disk!.RootFileSystem);
        Assert.Contains("no error found", (await Tool.TryAsync("btrfs", ["check", "--readonly", pipe.Root])).All, StringComparison.Ordinal);
        Assert.Contains(
            Build.Disk.RootUuid.ToString(),
            await Tool.RunAsync("btrfs", "inspect-internal", "dump-super", pipe.Root),
            StringComparison.Ordinal);
        Assert.Contains($"UUID={Build.Disk.RootUuid}  /     btrfs", await CatAsync("etc/fstab"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_other_kernel_starts()
    {
        var configuration = await CatAsync("boot/grub/grub.cfg");
        Assert.Contains("linux /boot/vmlinuz-linux-lts ", configuration, StringComparison.Ordinal);
        Assert.Contains("initrd /boot/initramfs-linux-lts.img", configuration, StringComparison.Ordinal);
        Assert.NotEmpty(await CatAsync("boot/vmlinuz-linux-lts"));
        Assert.NotEmpty(await CatAsync("boot/initramfs-linux-lts.img"));
        Assert.Equal("linux-lts", Build.Base!.Kernel);
        Assert.DoesNotContain("boot/vmlinuz-linux", await NamesAsync());
    }

    [Fact]
    public async Task Locale_zone_and_keymap_hold()
    {
        Assert.Equal("LANG=de_DE.UTF-8\n", await CatAsync("etc/locale.conf"));
        Assert.Equal("KEYMAP=de\n", await CatAsync("etc/vconsole.conf"));
        Assert.Contains("lrwxrwxrwx", await LineAsync("etc/localtime"), StringComparison.Ordinal);
        Assert.EndsWith("-> ../usr/share/zoneinfo/Europe/Berlin", await LineAsync("etc/localtime"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Packages_and_the_layer_arrive()
    {
        var names = await NamesAsync();
        Assert.Contains("usr/bin/tree", names);
        Assert.Contains("usr/bin/nano", names);
        Assert.Contains("usr/bin/killall", names);
        Assert.Equal(["base", "azure", "mine"], Build.Base!.Layers);
        Assert.Equal("as it is: $HOME `id` é\n", await CatAsync("opt/mine/text"));
        Assert.Equal("as it is: $HOME `id` é\nlinux-lts btrfs\n", await CatAsync("opt/mine/configured"));
        Assert.StartsWith("-rw-r--r-- 0/0", await LineAsync("opt/mine/text"), StringComparison.Ordinal);
        Assert.StartsWith("-rwxr-xr-x 0/0", await LineAsync("opt/mine/program"), StringComparison.Ordinal);
        Assert.StartsWith("-r--r----- 0/0", await LineAsync("etc/sudoers.d/mine"), StringComparison.Ordinal);
        Assert.EndsWith("-> ../else where", await LineAsync("opt/mine/link"), StringComparison.Ordinal);
        Assert.Contains("etc/systemd/system/multi-user.target.wants/mine.service", names);
        Assert.DoesNotContain("etc/systemd/system/multi-user.target.wants/chronyd.service", names);
    }

    [Fact]
    public async Task The_agent_is_the_archives()
    {
        Assert.Equal(Path.Combine(TestSetup.StandIn, "waagent.tar.gz"), Build.Agent!.Source);
        Assert.Null(Build.Agent.Commit);
        Assert.Equal(pipeline.ImageBuild.Agent!.AgentVersion, Build.Agent.AgentVersion);
        Assert.Contains("usr/bin/waagent", await NamesAsync());
    }

    [Fact]
    public async Task The_agent_is_to_make_swap_on_the_resource_disk()
    {
        var options = (await CatAsync("etc/waagent.conf")).Split('\n');
        Assert.All(
            ["ResourceDisk.Format=y", "ResourceDisk.EnableSwap=y", "ResourceDisk.SwapSizeMB=512"],
            option => Assert.Contains(option, options));
    }

    [Fact]
    public void What_was_asked_for_is_remembered()
    {
        Assert.Equal("btrfs", Build.Requested["ROOT_FILE_SYSTEM"]);
        Assert.Equal("3072", Build.Requested["DISK_SIZE"]);
        Assert.Equal("tree nano", Build.Requested["PACKAGES"]);
    }

    /// <summary>The target as it went into the VHD, but for the seal.</summary>
    private Task<string> CatAsync(string path)
    {
        _ = Build;
        return TargetFiles.ReadAsync(pipe.WorkDirectory, path);
    }

    private Task<IReadOnlyList<string>> NamesAsync()
    {
        _ = Build;
        return TargetFiles.NamesAsync(pipe.WorkDirectory);
    }

    private Task<string> LineAsync(string path)
    {
        _ = Build;
        return TargetFiles.LineAsync(pipe.WorkDirectory, path);
    }
}
