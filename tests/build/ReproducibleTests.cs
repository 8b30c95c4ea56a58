using System.Globalization;
using ArchAzure.Builds;
using ArchAzure.BuildTests.Faults;
using ArchAzure.Vhd;

namespace ArchAzure.BuildTests;

/// <summary>Same in, same out; and nothing of what is around a build goes into it.</summary>
[Collection(Pipeline.Name)]
public sealed class ReproducibleTests(Pipeline pipeline)
{
    private const string Canary = "CANARY-5f0d9a";

    private static readonly DateTimeOffset s_epoch = new(2026, 11, 15, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    [Trait("Speed", "slow")]
    public async Task Two_builds_of_the_same_settings_are_equal_to_the_byte_and_hold_nothing_of_their_surroundings()
    {
        var one = await pipeline.SmallBuildAsync();
        await using var other = TestBuild.WithSettingsOf(one, "another folder");
        var first = one.State;

        // Another process, umask, time zone and language, and secrets all around.
        var result = await HostProcess.RunAsync(
            $"Invoke-ArchBuild {HostProcess.Quote(other.Directory.Path)} -Verbose",
            "env", "TZ=Asia/Tokyo", "LANG=de_DE.UTF-8", $"AZURE_CLIENT_SECRET={Canary}", $"SSH_PRIVATE_KEY=-----BEGIN OPENSSH PRIVATE KEY----- {Canary}", $"SOURCE_DATE_EPOCH={Canary}",
            "bash", "-c", "umask 077; exec \"$0\" \"$@\"");
        Assert.True(result.ExitCode == 0, result.All);
        var second = other.State;

        // Names the files, where there are any.
        Assert.Empty(await ImageComparison.BytesAsync(ComparedImage.Of(first), ComparedImage.Of(second)));
        Assert.NotEqual(first.Id, second.Id);
        Assert.Equal(await SumsAsync(one), await SumsAsync(other));
        Assert.Equal(s_epoch, FixedVhd.ReadFooter(second.VhdPath!).Timestamp);

        Assert.DoesNotContain(Canary, result.All, StringComparison.Ordinal);
        await NothingHoldsAsync(Canary, other);
        await TellsNoTimeAsync(second);
        var ready = await HostProcess.RunAsync($"Test-AzureVhd {HostProcess.Quote(second.VhdPath!)} -Quiet");
        Assert.Equal("True", ready.Output.Trim());
        await other.NothingLeftAsync();
    }

    [Fact]
    public async Task A_day_that_the_archive_does_not_have_is_told_before_anything_is_downloaded()
    {
        await using var build = TestBuild.Empty(pipeline, "SNAPSHOT=2026.11.14");
        await build.FailsAsync(1, "SnapshotNotFound", ["2026.11.14", "archive/repos/2026/11/14/core/os/x86_64/core.db", "-Snapshot"]);
        Assert.False(Directory.Exists(build.Directory.DownloadFolder));
    }

    private static async Task<string> SumsAsync(TestBuild build) => await File.ReadAllTextAsync(Path.Combine(build.Directory.Path, "SHA256SUMS"));

    /// <summary>All that a build leaves: its files, what is packed in them, and the image that others may run.</summary>
    private static async Task NothingHoldsAsync(string text, TestBuild build)
    {
        var files = Directory.GetFiles(build.Directory.Path, "*", SearchOption.AllDirectories).Where(file => Path.GetDirectoryName(file) != build.Directory.PackageCache).ToList();
        Assert.Contains(build.State.VhdPath, files);
        Assert.Contains(build.Directory.Log(5), files);
        foreach (var file in files)
        {
            await LacksAsync(file.EndsWith(".zst", StringComparison.Ordinal) ? "zstd --decompress --long=31 --stdout -- \"$2\"" : "cat -- \"$2\"", file);
        }

        await LacksAsync("docker save -- \"$2\"", build.State.Bootstrap!.BuilderImage);

        async Task LacksAsync(string read, string what)
        {
            var found = await Tool.TryAsync("bash", ["-o", "pipefail", "-c", $"{read} | {{ ! grep --text --quiet --fixed-strings -- \"$1\" && cat > /dev/null; }}", "bash", text, what]);
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
        Assert.All(shadow, line => Assert.InRange(int.Parse(line.Split(':')[2], CultureInfo.InvariantCulture), 0, (s_epoch - DateTimeOffset.UnixEpoch).Days));

        var today = new[] { "yyyy-MM-dd", "yyyyMMdd", "dd MMM yyyy", "MMM dd yyyy" }.SelectMany(format => new[] { "-e", DateTime.UtcNow.ToString(format, CultureInfo.InvariantCulture) });
        var holding = await Tool.TryAsync("grep", ["--recursive", "--text", "--files-with-matches", "--fixed-strings", .. today, root.Path]);
        Assert.True(holding.ExitCode == 1, $"These tell of today: {holding.All}");
    }
}
