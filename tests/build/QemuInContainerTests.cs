using ArchAzure.Bootstrap;
using ArchAzure.Builds;
using ArchAzure.Machines;
using ArchAzure.SimulatedAzure;
using ArchAzure.StandIn;

namespace ArchAzure.BuildTests;

/// <summary>
/// QEMU from the builder image: made once, and nothing of a machine is left, however its test ends. It is the small build's image, since a
/// boot test may be using the other one.
/// </summary>
[Collection(Pipeline.Name)]
public sealed class QemuInContainerTests(Pipeline pipeline) : IDisposable
{
    public void Dispose() => pipeline.Mirror.ClearFaults();

    [Fact]
    public async Task Its_image_is_made_once()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 1);
        var image = QemuRecipe.Image(build.State.Bootstrap!.BuilderImage);
        await Tool.TryAsync("docker", ["image", "rm", image]);

        pipeline.Mirror.AddFault(new MirrorFault("*/qemu-img-*", MirrorFaultKind.Unavailable));
        var error = await Assert.ThrowsAnyAsync<ArchAzureException>(() => CreateAsync(build));
        Assert.Equal("PackageDownloadFailed", error.ErrorId);
        Assert.All(["qemu-img", "MIRROR", "qemu.log"], text => Assert.Contains(text, error.Message, StringComparison.Ordinal));
        await build.NothingLeftAsync();
        pipeline.Mirror.ClearFaults();

        using (var stop = new CancellationTokenSource())
        {
            build.Reporter.Watch = status =>
            {
                if (status.Contains("installing", StringComparison.Ordinal))
                {
                    stop.Cancel();
                }
            };
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => CreateAsync(build, stop.Token));
            build.Reporter.Watch = null;
        }

        await build.NothingLeftAsync();
        Assert.NotEqual(0, (await Tool.TryAsync("docker", ["image", "inspect", image])).ExitCode);

        // Another run of the build is not disturbed.
        using (BuildLock.Take(build.Directory))
        {
            Assert.Equal("WorkDirectoryInUse", (await Assert.ThrowsAnyAsync<ArchAzureException>(() => CreateAsync(build))).ErrorId);
        }

        await CreateAsync(build);
        Assert.Equal(
            build.State.Id.ToString(),
            (await Tool.RunAsync("docker", "image", "inspect", "--format", "{{index .Config.Labels \"archazure.build\"}}", image)).Trim());
        await build.NothingLeftAsync();

        pipeline.Mirror.ClearRequests();
        using (BuildLock.Take(build.Directory))
        {
            await CreateAsync(build);
        }

        Assert.Empty(pipeline.Mirror.Requests);
    }

    [Fact]
    public async Task A_step_does_not_take_a_running_machine_for_a_leftover_and_a_removed_build_ends_it()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 1);
        using var folder = new TempFolder();
        using var launcher = await ContainerQemuLauncher.CreateAsync(build.State, build.Reporter, CancellationToken.None);
        var options = new BootTestOptions(HangingVhd.Create(folder), 1) { LogDirectory = folder["log"], Timeout = TimeSpan.FromMinutes(5) };
        var booting = new BootTest(launcher, options, build.Reporter).RunAsync(CancellationToken.None);
        await SaysAsync(folder["log/gen1.serial.log"], booting);
        var machine = Assert.Single(await build.ContainersAsync());

        await build.RunAsync(2);
        Assert.Equal([machine], await build.ContainersAsync());
        Assert.False(booting.IsCompleted);

        await BuildRemoval.RunAsync(build.Directory, includeVhd: false, keepImages: true, build.Reporter, CancellationToken.None);
        Assert.Empty(await build.ContainersAsync());
        Assert.Equal("QemuEnded", (await booting).ErrorId);
    }

    [Theory]
    [InlineData("KILL", 137)]
    [InlineData("INT", 0)]
    public async Task A_machine_ends_with_its_owner(string signal, int exitCode)
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 1);
        using var folder = new TempFolder();
        var vhd = HangingVhd.Create(Path.Combine(build.Directory.Path, "hangs.vhd"));
        using var process = Pwsh.Start(
            $"Test-AzureVhd {Pwsh.Quote(vhd)} -Boot -Qemu Builder -Generation 1 -KeepLog {Pwsh.Quote(folder["log"])}", folder);
        var output = Task.WhenAll(process.StandardError.ReadToEndAsync(), process.StandardOutput.ReadToEndAsync());
        await SaysAsync(folder["log/gen1.serial.log"], process.WaitForExitAsync());
        Assert.Single(await build.ContainersAsync());

        await Tool.RunAsync("kill", $"-{signal}", $"{process.Id}");
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        await process.WaitForExitAsync(limit.Token);
        Assert.True(process.ExitCode == exitCode, $"It ended with {process.ExitCode}: {string.Concat(await output)}");
        while ((await build.ContainersAsync()).Count > 0)
        {
            await Task.Delay(100, limit.Token);
        }

        await build.NothingLeftAsync();
    }

    private static async Task CreateAsync(TestBuild build, CancellationToken cancellationToken = default)
    {
        using var launcher = await ContainerQemuLauncher.CreateAsync(build.State, build.Reporter, cancellationToken);
        Assert.NotNull((await launcher.FindToolsAsync(cancellationToken)).Firmware);
    }

    /// <summary>Waits for the machine's last words.</summary>
    private static async Task SaysAsync(string serialLog, Task running)
    {
        while (!File.Exists(serialLog)
            || !(await File.ReadAllTextAsync(serialLog)).Contains(HangingVhd.LastWords, StringComparison.Ordinal))
        {
            Assert.False(running.IsCompleted, "The machine ended before it said anything.");
            await Task.Delay(50);
        }
    }
}
