using System.Globalization;
using System.Text;
using ArchAzure.Builds;
using ArchAzure.Vhd;

namespace ArchAzure.BuildTests;

/// <summary>What SECURITY.md promises of a build; of its builders, see <see cref="BuilderWatch"/>.</summary>
[Collection(Pipeline.Name)]
public sealed class SecurityTests(Pipeline pipeline)
{
    private const string Canary = "CANARY-c8f1e6";

    [Theory]
    [InlineData("077", "600", "700")]
    [InlineData("022", "644", "755")]
    [InlineData("000", "664", "775")]
    public async Task Files_have_the_modes_of_the_umask_and_nothing_of_the_environment(string umask, string file, string folder)
    {
        await using var build = TestBuild.Empty(pipeline, $"DISK_SIZE={TestBuild.SmallDisk}");
        using var fresh = new TempFolder();
        var path = fresh["work"];
        var result = await Pwsh.RunAsync(
            $"New-ArchBootstrap {Pwsh.Quote(path)} -Settings {Pwsh.Quote(build.Directory.SettingsFile)} -Verbose | New-ArchDisk -Verbose "
            + "| Out-Null",
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
        var lines = new[]
        {
            $"MIRROR=http://me:{Canary}@127.0.0.1/$repo", $"RELEASE_URL=https://{Canary}@127.0.0.1/iso/",
            $"WAAGENT_SOURCE=https://me:{Canary}@127.0.0.1/agent.git",
        };
        foreach (var line in lines)
        {
            var settings = folder.Write("settings.env", line + "\n");
            var result = await Pwsh.RunAsync($"New-ArchBootstrap {Pwsh.Quote(folder["work"])} -Settings {Pwsh.Quote(settings)} -Verbose");
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
        var paths = new[]
        {
            build.Directory.Disk + ".part", build.Directory.Disk, build.Directory.Log(2), build.Directory.LockFile,
            build.Directory.BuildFile + ".part", vhd + ".part", vhd,
        };
        foreach (var path in paths)
        {
            File.CreateSymbolicLink(path, victim);
        }

        await build.RunAsync(2);
        Assert.Null(new FileInfo(build.Directory.Disk).LinkTarget);
        Assert.Equal(long.Parse(TestBuild.SmallDisk, CultureInfo.InvariantCulture) << 20, new FileInfo(build.Directory.Disk).Length);
        await VhdConverter.ConvertAsync(
            new VhdConversion { SourcePath = build.Directory.Disk, DestinationPath = vhd, Force = true }, build.Reporter, default);
        Assert.Null(new FileInfo(vhd).LinkTarget);
        Assert.Equal("mine", await File.ReadAllTextAsync(victim));
    }

    private static async Task HoldsNoCanaryAsync(string folder)
    {
        var files = Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Where(file => !file.EndsWith(".img", StringComparison.Ordinal));
        foreach (var file in files)
        {
            Assert.True(
                (await File.ReadAllBytesAsync(file)).AsSpan().IndexOf(Encoding.ASCII.GetBytes(Canary)) < 0, $"{file} holds the canary.");
        }
    }
}
