using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.StandIn;

namespace ArchAzure.BuildTests;

/// <summary>The builder that the steps of a run or pipeline share, and what happens where it is not to be had.</summary>
[Collection(Pipeline.Name)]
[Trait("Speed", "slow")]
public sealed class SharedBuilderTests(Pipeline pipeline)
{
    private const string Shared = "of the step before";

    [Fact]
    public async Task Steps_of_a_pipeline_share_it_and_a_step_by_itself_makes_the_same_image()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 2);
        var folder = Pwsh.Quote(build.Directory.Path);
        var result = await Pwsh.RunAsync(
            $"$null = Install-ArchBase {folder} -Force | Install-WaAgent | ConvertTo-AzureVhd -Destination {Vhd("first")}");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.Contains(Shared, Log(build, 4), StringComparison.Ordinal);
        await build.NothingLeftAsync();

        // Each from the snapshots; another path is another input.
        foreach (var step in new[] { "Install-WaAgent", $"ConvertTo-AzureVhd -Destination {Vhd("second")}" })
        {
            result = await Pwsh.RunAsync($"$null = {step} -WorkDirectory {folder} -Force");
            Assert.True(result.ExitCode == 0, result.All);
            Assert.DoesNotContain(Shared, Log(build, step[0] == 'I' ? 4 : 5), StringComparison.Ordinal);
        }

        await Tool.RunAsync("cmp", Path.Combine(build.Directory.Path, "first.vhd"), Path.Combine(build.Directory.Path, "second.vhd"));
        await build.NothingLeftAsync();

        string Vhd(string name) => Pwsh.Quote(Path.Combine(build.Directory.Path, $"{name}.vhd"));
    }

    [Fact]
    public async Task A_builder_removed_between_two_steps_of_a_pipeline_is_replaced()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        build.AddSettings($"DISK_SIZE={TestBuild.SmallDisk}");
        var remove = $"docker ps --quiet --filter label=archazure.build={build.State.Id}";
        var result = await Pwsh.RunAsync(
            $"$null = Install-ArchBase {Pwsh.Quote(build.Directory.Path)} | ForEach-Object {{ docker rm --force ({remove}); $_ }} | "
            + "Where-Object Id | Install-WaAgent");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.DoesNotContain(Shared, Log(build, 4), StringComparison.Ordinal);
        Assert.Equal(4, build.State.LastGoodStep);
        await build.NothingLeftAsync();
    }

    [Fact]
    public async Task A_builder_that_nobody_goes_on_with_ends_with_the_pipeline()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 3);
        var count = $"(docker ps --quiet --filter label=archazure.build={build.State.Id} | Measure-Object).Count";
        var result = await Pwsh.RunAsync(
            $"Install-WaAgent {Pwsh.Quote(build.Directory.Path)} | ForEach-Object {{ {count} }}; {count}; Install-WaAgent "
            + $"{Pwsh.Quote(build.Directory.Path)} -Force | ForEach-Object {{ throw 'enough' }}");
        Assert.Equal(1, result.ExitCode);
        Assert.Equal(["1", "0"], result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains("enough", result.All, StringComparison.Ordinal);
        await build.NothingLeftAsync();
    }

    [Fact]
    public async Task A_target_that_does_not_fit_into_memory_is_made_on_the_engines_disk()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        build.EngineLimits = new EngineLimits { TargetMemory = 100 << 20 };
        await build.RunAsync(3);
        var log = Log(build, 3);
        Assert.Equal(
            log.Contains(TargetChroot.InMemory, StringComparison.Ordinal),
            log.Contains("does not fit into memory", StringComparison.Ordinal));
        await build.NothingLeftAsync();
    }

    [Fact]
    public async Task A_second_build_downloads_no_package_that_the_first_has_and_a_damaged_one_is_replaced()
    {
        using var folder = new TempFolder();
        await using var first = await TestBuild.AfterStepAsync(pipeline, 2);
        first.AddSettings($"PACKAGE_CACHE={folder["packages"]}");
        await first.RunAsync(3);
        Assert.Empty(Directory.EnumerateFiles(first.Directory.PackageCache, "*.pkg.tar*"));
        var damaged = Directory.EnumerateFiles(folder["packages"], "sudo-*.pkg.tar.zst").Single();
        var bytes = await File.ReadAllBytesAsync(damaged);
        await File.WriteAllBytesAsync(damaged, [.. bytes[..^9], .. new byte[9]]);

        await using var second = await TestBuild.AfterStepAsync(pipeline, 2, "second");
        second.AddSettings($"PACKAGE_CACHE={folder["packages"]}");
        await second.RunAsync(3);
        Assert.Equal(bytes, await File.ReadAllBytesAsync(damaged));

        await using var third = await TestBuild.AfterStepAsync(pipeline, 2, "third");
        third.AddSettings($"PACKAGE_CACHE={folder["packages"]}");
        var fault = new MirrorFault("*.pkg.tar.zst", MirrorFaultKind.Unavailable);
        pipeline.Mirror.AddFault(fault);
        try
        {
            await third.RunAsync(3);
        }
        finally
        {
            pipeline.Mirror.ClearFaults();
        }
    }

    private static string Log(TestBuild build, int step) => File.ReadAllText(build.Directory.Log(step));
}
