using System.Globalization;

namespace ArchAzure.BuildTests;

/// <summary>A member of the Docker socket's group builds without being root, and all that is left belongs to that user.</summary>
[Collection(Pipeline.Name)]
public sealed class OrdinaryUserTests(Pipeline pipeline)
{
    private const int User = 47012;

    [Fact]
    [Trait("Speed", "slow")]
    public async Task A_whole_build_belongs_to_its_user()
    {
        await using var user = await OtherUserHost.CreateAsync(pipeline, User, mayUseDocker: true);
        var result = await user.RunAsync($"(Invoke-ArchBuild {HostProcess.Quote(user.WorkDirectory)}).Status");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.Contains("done", result.Output, StringComparison.Ordinal);

        // A machine in a container, too: with the user's rights and no more.
        var vhd = HangingVhd.Create(Path.Combine(user.WorkDirectory, "hangs.vhd"));
        await Tool.RunAsync("chown", $"{User}:{User}", vhd);
        await Tool.RunAsync("chmod", "0600", vhd);
        var boot = await user.RunAsync($"Test-AzureVhd {HostProcess.Quote(vhd)} -Boot -Qemu Builder -Generation 1 -Timeout 20 -Quiet -KeepLog {HostProcess.Quote(user.WorkDirectory)}");
        Assert.True(boot.Output.TrimEnd().Split('\n')[^1] == "False", boot.All);
        Assert.Contains(HangingVhd.LastWords, await File.ReadAllTextAsync(Path.Combine(user.WorkDirectory, "gen1.serial.log")), StringComparison.Ordinal);

        var files = (await Tool.RunAsync("find", user.WorkDirectory, "-printf", "%U:%G %m %p\\n")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains(files, line => line.EndsWith(".vhd", StringComparison.Ordinal));
        Assert.Contains(files, line => line.EndsWith(".pkg.tar.zst", StringComparison.Ordinal) || line.Contains(".pkg.tar.", StringComparison.Ordinal));
        var id = User.ToString(CultureInfo.InvariantCulture);
        Assert.All(files, line => Assert.StartsWith($"{id}:{id} ", line, StringComparison.Ordinal));
        Assert.All(files, line => Assert.Equal(0, Convert.ToInt32(line.Split(' ')[1], 8) & 2));

        // Clearing up takes no root either; the images are the other tests' too.
        var removed = await user.RunAsync($"Remove-ArchBuild {HostProcess.Quote(user.WorkDirectory)} -IncludeVhd -KeepImage -Confirm:$false");
        Assert.True(removed.ExitCode == 0, removed.All);
        Assert.Equal(["gen1.screen.png", "gen1.serial.log", "hangs.vhd", "settings.env"], Directory.EnumerateFileSystemEntries(user.WorkDirectory).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }
}
