using System.Globalization;
using System.Text;
using System.Text.Json;
using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.Vhd;

namespace ArchAzure.BuildTests;

/// <summary>What SECURITY.md promises of a build.</summary>
[Collection(Pipeline.Name)]
public sealed class SecurityTests(Pipeline pipeline)
{
    private const string Canary = "CANARY-c8f1e6";

    // linux/capability.h.
    private static readonly string[] s_bits =
    [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN",
        "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
        "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    ];

    [Fact]
    public async Task A_whole_build_in_a_folder_with_a_hostile_name_by_builders_that_see_nothing_else()
    {
        const string touched = "archazure-was-here";
        await using var build = TestBuild.Named(pipeline, $"-rf \"q\" 'a' $(touch {touched}) `touch {touched}`; touch {touched} & ä,b=c:%n\nx", $"DISK_SIZE={TestBuild.SmallDisk}");
        using var outside = new TempFolder();
        var secret = outside.Write("secret", Canary);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        build.Reporter.Watch = status =>
        {
            foreach (var container in build.ContainersAsync().GetAwaiter().GetResult().Where(seen.Add))
            {
                SeesNothingElseAsync(container, build.Directory.Path, secret).GetAwaiter().GetResult();
            }
        };
        var done = await build.RunAllAsync();
        build.Reporter.Watch = null;

        Assert.True(seen.Count >= 4, $"Only {seen.Count} builders were seen.");
        Assert.Equal(5, done.LastGoodStep);
        await Tool.RunAsync("e2fsck", "-fn", $"{done.VhdPath}?offset={done.Disk!.Partitions[Disks.PartitionPlan.Root].Offset.ToString(CultureInfo.InvariantCulture)}");
        await build.NothingLeftAsync();

        // The cmdlets too take the name as it is. (A backslash they would not: PowerShell reads it as a slash.)
        var path = HostProcess.Quote(build.Directory.Path);
        var result = await HostProcess.RunAsync($"(Get-ArchBuild {path}).Status; Test-AzureVhd {HostProcess.Quote(done.VhdPath!)} -Quiet; $null = Remove-ArchBuild {path} -IncludeVhd -KeepImage -Confirm:$false");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.Equal(["done", "True"], result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(["settings.env"], Directory.EnumerateFileSystemEntries(build.Directory.Path).Select(Path.GetFileName));
        Assert.False(File.Exists(touched));
        Assert.Empty(Directory.EnumerateFiles(Path.GetDirectoryName(build.Directory.Path)!, touched, SearchOption.AllDirectories));
    }

    [Theory]
    [InlineData("077", "600", "700")]
    [InlineData("022", "644", "755")]
    [InlineData("000", "664", "775")]
    public async Task Files_have_the_modes_of_the_umask_and_nothing_of_the_environment(string umask, string file, string folder)
    {
        await using var build = TestBuild.Empty(pipeline, $"DISK_SIZE={TestBuild.SmallDisk}");
        using var fresh = new TempFolder();
        var path = fresh["work"];
        var result = await HostProcess.RunAsync(
            $"New-ArchBootstrap {HostProcess.Quote(path)} -Settings {HostProcess.Quote(build.Directory.SettingsFile)} -Verbose | New-ArchDisk -Verbose | Out-Null",
            "env", $"AZURE_CLIENT_SECRET={Canary}", "bash", "-c", $"umask {umask}; exec \"$0\" \"$@\"");
        Assert.True(result.ExitCode == 0, result.All);

        var entries = (await Tool.RunAsync("find", path, "-printf", "%y %m %P\\n")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains(entries, entry => entry.EndsWith("disk.img", StringComparison.Ordinal));
        Assert.Contains(entries, entry => entry.EndsWith(".log", StringComparison.Ordinal));
        Assert.All(entries, entry => Assert.StartsWith(entry[0] == 'd' ? $"d {folder} " : $"f {file} ", entry, StringComparison.Ordinal));
        Assert.DoesNotContain(Canary, result.All, StringComparison.Ordinal);
        await HoldsNoCanaryAsync(path);
    }

    [Fact]
    public async Task A_password_in_an_address_is_refused_before_anything_is_written()
    {
        using var folder = new TempFolder();
        foreach (var line in new[] { $"MIRROR=http://me:{Canary}@127.0.0.1/$repo", $"RELEASE_URL=https://{Canary}@127.0.0.1/iso/", $"WAAGENT_SOURCE=https://me:{Canary}@127.0.0.1/agent.git" })
        {
            var settings = folder.Write("settings.env", line + "\n");
            var result = await HostProcess.RunAsync($"New-ArchBootstrap {HostProcess.Quote(folder["work"])} -Settings {HostProcess.Quote(settings)} -Verbose");
            Assert.NotEqual(0, result.ExitCode);
            Assert.Contains("Remove them", result.All.ReplaceLineEndings(" "), StringComparison.Ordinal);
            Assert.DoesNotContain(Canary, result.All, StringComparison.Ordinal);
            Assert.False(Directory.Exists(folder["work"]));
        }
    }

    [Fact]
    public async Task A_work_directory_that_everyone_may_write_to_is_refused()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 1);
        File.SetUnixFileMode(build.Directory.Path, (UnixFileMode)0b1_111_111_111);
        await build.FailsAsync(2, "WorkDirectoryNotOwn", [build.Directory.Path, "every user", "chmod o-w"]);
        Assert.False(File.Exists(build.Directory.Disk));
    }

    [Fact]
    public async Task Links_planted_where_files_are_made_lead_nowhere()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 1);
        build.AddSettings($"DISK_SIZE={TestBuild.SmallDisk}");
        using var outside = new TempFolder();
        var victim = outside.Write("victim", "mine");
        Directory.CreateDirectory(build.Directory.LogFolder);
        var vhd = outside["image.vhd"];
        foreach (var path in new[] { build.Directory.Disk + ".part", build.Directory.Disk, build.Directory.Log(2), build.Directory.LockFile, build.Directory.BuildFile + ".part", vhd + ".part", vhd })
        {
            File.CreateSymbolicLink(path, victim);
        }

        await build.RunAsync(2);
        Assert.Null(new FileInfo(build.Directory.Disk).LinkTarget);
        Assert.Equal(long.Parse(TestBuild.SmallDisk, CultureInfo.InvariantCulture) << 20, new FileInfo(build.Directory.Disk).Length);
        await VhdConverter.ConvertAsync(new VhdConversion { SourcePath = build.Directory.Disk, DestinationPath = vhd, Force = true }, build.Reporter, default);
        Assert.Null(new FileInfo(vhd).LinkTarget);
        Assert.Equal("mine", await File.ReadAllTextAsync(victim));
    }

    private static async Task SeesNothingElseAsync(string container, string workDirectory, string secret)
    {
        using var json = JsonDocument.Parse(await Tool.RunAsync("docker", "inspect", container));
        var host = json.RootElement[0].GetProperty("HostConfig");
        foreach (var mount in json.RootElement[0].GetProperty("Mounts").EnumerateArray())
        {
            Assert.StartsWith(workDirectory + "/", mount.GetProperty("Source").GetString(), StringComparison.Ordinal);
        }

        Assert.False(host.GetProperty("Privileged").GetBoolean());
        foreach (var name in new[] { "Devices", "DeviceRequests", "Binds", "VolumesFrom", "GroupAdd" })
        {
            Assert.True(!host.TryGetProperty(name, out var list) || list.ValueKind == JsonValueKind.Null || list.GetArrayLength() == 0, $"{name}: {host}");
        }

        Assert.Equal("private", host.GetProperty("IpcMode").GetString());
        Assert.All(["PidMode", "UTSMode", "UsernsMode"], name => Assert.Equal("", host.GetProperty(name).GetString()));

        // Its main process, as the kernel has it: exactly the listed capabilities, and Docker's filter of system calls (mode 2).
        var status = (await Tool.RunAsync("docker", "exec", container, "cat", "/proc/1/status")).Split('\n').Select(line => line.Split(":\t")).Where(parts => parts.Length == 2)
            .ToDictionary(parts => parts[0], parts => parts[1], StringComparer.Ordinal);
        var mounting = host.GetProperty("CapAdd").EnumerateArray().Any(name => name.GetString()!.EndsWith("SYS_ADMIN", StringComparison.Ordinal));
        var expected = BuilderCapabilities.Files.Keys.Concat(mounting ? BuilderCapabilities.Mounts.Keys : []).Aggregate(0UL, (mask, name) => mask | (1UL << Array.IndexOf(s_bits, name)));
        Assert.All(["CapEff", "CapBnd", "CapPrm"], set => Assert.Equal(expected.ToString("x16", CultureInfo.InvariantCulture), status[set]));
        Assert.Equal("2", status["Seccomp"]);

        var look = await Tool.TryAsync("docker", ["exec", container, "ls", secret, workDirectory, "/var/run/docker.sock", TestSetup.EngineSocket]);
        Assert.NotEqual(0, look.ExitCode);
        Assert.Equal("", look.Output);
    }

    private static async Task HoldsNoCanaryAsync(string folder)
    {
        foreach (var file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Where(file => !file.EndsWith(".img", StringComparison.Ordinal)))
        {
            Assert.True((await File.ReadAllBytesAsync(file)).AsSpan().IndexOf(Encoding.ASCII.GetBytes(Canary)) < 0, $"{file} holds the canary.");
        }
    }
}
