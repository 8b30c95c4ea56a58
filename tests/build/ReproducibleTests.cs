using System.Globalization;
using ArchAzure.BuildTests.Faults;
using ArchAzure.Builds;
using ArchAzure.Vhd;

namespace ArchAzure.BuildTests;

/// <summary>Same in, same out, whoever builds without being root; and nothing of what is around a build goes into it.</summary>
[Collection(Pipeline.Name)]
public sealed class ReproducibleTests(Pipeline pipeline)
{
    private const string Canary = "CANARY-5f0d9a";

    // A member of the Docker socket's group, and else nobody.
    private const int User = 47012;

    private static readonly DateTimeOffset s_epoch = new(2026, 11, 15, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    [Trait("Speed", "slow")]
    public async Task A_second_build_by_an_ordinary_user_is_equal_to_the_byte_is_all_that_users_and_holds_nothing_of_its_surroundings()
    {
        var first = (await pipeline.SmallBuildAsync()).State;
        await using var user = await OtherUserHost.CreateAsync(pipeline, User, mayUseDocker: true);

        // Another user, process, umask, time zone and language, and secrets all around.
        var result = await user.RunAsync(
            $"(Invoke-ArchBuild {Pwsh.Quote(user.WorkDirectory)} -Verbose).Status",
            "env", "TZ=Asia/Tokyo", "LANG=de_DE.UTF-8", $"AZURE_CLIENT_SECRET={Canary}", "SSH_PRIVATE_KEY=-----BEGIN OPENSSH PRIVATE "
            + $"KEY----- {Canary}", $"SOURCE_DATE_EPOCH={Canary}",
            "bash", "-c", "umask 077; exec \"$0\" \"$@\"");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.Contains("done", result.Output, StringComparison.Ordinal);
        var directory = new WorkDirectory(user.WorkDirectory);
        var second = BuildStore.Load(directory);

        // Names the files, where there are any.
        Assert.Empty(await ImageComparison.BytesAsync(ComparedImage.Of(first), ComparedImage.Of(second)));
        Assert.NotEqual(first.Id, second.Id);
        Assert.Equal(await SumsAsync(first), await SumsAsync(second));
        Assert.Equal(s_epoch, FixedVhd.ReadFooter(second.VhdPath!).Timestamp);

        Assert.DoesNotContain(Canary, result.All, StringComparison.Ordinal);
        await NothingHoldsAsync(Canary, directory, second);
        await TellsNoTimeAsync(second);
        var ready = await user.RunAsync($"Test-AzureVhd {Pwsh.Quote(second.VhdPath!)} -Quiet");
        Assert.Equal("True", ready.Output.Trim());
        Assert.Empty(await Tool.RunAsync("docker", "ps", "--all", "--quiet", "--filter", $"label=archazure.build={second.Id}"));

        await BootsInAContainerAsync(user);
        await BelongsToItsUserAsync(user);

        // Clearing up takes no root either; the images are the other tests' too.
        var removed = await user.RunAsync($"Remove-ArchBuild {Pwsh.Quote(user.WorkDirectory)} -IncludeVhd -KeepImage -Confirm:$false");
        Assert.True(removed.ExitCode == 0, removed.All);
        Assert.Equal(
            ["gen1.screen.png", "gen1.serial.log", "hangs.vhd", "settings.env"],
            Directory.EnumerateFileSystemEntries(user.WorkDirectory).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_day_that_the_archive_does_not_have_is_told_before_anything_is_downloaded()
    {
        await using var build = TestBuild.Empty(pipeline, "SNAPSHOT=2026.11.14");
        await build.FailsAsync(1, "SnapshotNotFound", ["2026.11.14", "archive/repos/2026/11/14/core/os/x86_64/core.db", "-Snapshot"]);
        Assert.False(Directory.Exists(build.Directory.DownloadFolder));
    }

    private static async Task<string> SumsAsync(ArchBuild build) =>
        await File.ReadAllTextAsync(Path.Combine(Path.GetDirectoryName(build.VhdPath)!, "SHA256SUMS"))
            + await File.ReadAllTextAsync(Path.Combine(Path.GetDirectoryName(build.VhdPath)!, "FSVERITYSUMS"));

    /// <summary>A machine in a container, too, has the user's rights and no more.</summary>
    private static async Task BootsInAContainerAsync(OtherUserHost user)
    {
        var vhd = HangingVhd.Create(Path.Combine(user.WorkDirectory, "hangs.vhd"));
        await Tool.RunAsync("chown", $"{User}:{User}", vhd);
        await Tool.RunAsync("chmod", "0600", vhd);
        var boot = await user.RunAsync(
            $"Test-AzureVhd {Pwsh.Quote(vhd)} -Boot -Qemu Builder -Generation 1 -Timeout 20 -Quiet -KeepLog "
            + $"{Pwsh.Quote(user.WorkDirectory)}");
        Assert.True(boot.Output.TrimEnd().Split('\n')[^1] == "False", boot.All);
        Assert.Contains(
            HangingVhd.LastWords,
            await File.ReadAllTextAsync(Path.Combine(user.WorkDirectory, "gen1.serial.log")),
            StringComparison.Ordinal);
    }

    private static async Task BelongsToItsUserAsync(OtherUserHost user)
    {
        var files = (await Tool.RunAsync(
            "find", user.WorkDirectory, Path.Combine(user.Home, ".cache/archazure"), "-printf", "%U:%G %m %p\\n"))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains(files, line => line.EndsWith(".vhd", StringComparison.Ordinal));
        Assert.Contains(files, line => line.Contains(".pkg.tar.", StringComparison.Ordinal));
        Assert.DoesNotContain(files, line => line.EndsWith(".part", StringComparison.Ordinal));
        var id = User.ToString(CultureInfo.InvariantCulture);
        Assert.All(files, line => Assert.StartsWith($"{id}:{id} ", line, StringComparison.Ordinal));
        Assert.All(files, line => Assert.Equal(0, Convert.ToInt32(line.Split(' ')[1], 8) & 2));
    }

    /// <summary>All that a build leaves: its files, what is packed in them, and the image that others may run.</summary>
    private static async Task NothingHoldsAsync(string text, WorkDirectory directory, ArchBuild build)
    {
        var files = Directory.GetFiles(directory.Path, "*", SearchOption.AllDirectories)
            .Where(file => Path.GetDirectoryName(file) != directory.PackageCache)
            .ToList();
        Assert.Contains(build.VhdPath, files);
        Assert.Contains(directory.Log(5), files);
        foreach (var file in files)
        {
            await LacksAsync(
                file.EndsWith(".zst", StringComparison.Ordinal) ? "zstd --decompress --long=31 --stdout -- \"$2\"" : "cat -- \"$2\"", file);
        }

        await LacksAsync("docker save -- \"$2\"", build.Bootstrap!.BuilderImage);

        async Task LacksAsync(string read, string what)
        {
            var found = await Tool.TryAsync(
                "bash",
                [
                    "-o", "pipefail", "-c", $"{read} | {{ ! grep --text --quiet --fixed-strings -- \"$1\" && cat > /dev/null; }}", "bash",
                    text, what,
                ]);
            Assert.True(found.ExitCode == 0, $"'{what}' holds '{text}', or cannot be read. {found.All}");
        }
    }

    /// <summary>No inode is younger than the snapshot, and no file says on which day it was made.</summary>
    private static async Task TellsNoTimeAsync(ArchBuild build)
    {
        await using var root = await MountedRoot.MountAsync(ComparedImage.Of(build));
        var epoch = $"@{s_epoch.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture)}";
        Assert.Equal("", await Tool.RunAsync("find", root.Path, "-newermt", epoch, "-o", "-newerct", epoch, "-o", "-newerat", epoch));
        var shadow = await File.ReadAllLinesAsync(Path.Combine(root.Path, "etc/shadow"));
        Assert.NotEmpty(shadow);
        Assert.All(
            shadow,
            line =>
                Assert.InRange(int.Parse(line.Split(':')[2], CultureInfo.InvariantCulture), 0, (s_epoch - DateTimeOffset.UnixEpoch).Days));

        var today = new[]
        {
            "yyyy-MM-dd", "yyyyMMdd", "dd MMM yyyy", "MMM dd yyyy",
        }.SelectMany(format => new[] { "-e", DateTime.UtcNow.ToString(format, CultureInfo.InvariantCulture) });
        var holding = await Tool.TryAsync(
            "grep", ["--recursive", "--text", "--files-with-matches", "--fixed-strings", .. today, root.Path]);
        Assert.True(holding.ExitCode == 1, $"These tell of today: {holding.All}");
    }
}
