using ArchAzure.Builds;
using ArchAzure.Containers;

namespace ArchAzure.BuildTests.Faults;

/// <summary>The builder killed, the engine stopped or killed and started again, and its disk full, in the middle of each step.</summary>
[Collection(Pipeline.Name)]
public sealed class EngineFaultTests(Pipeline pipeline, PrivateEngine engine) : IClassFixture<PrivateEngine>
{
    // A command that each step is in when the fault comes; step 2 has none.
    private static readonly string[] s_commands = ["pacman -Su", "", "pacman --root", "tar --extract --file /work", "mke2fs"];

    // InterruptionTests kill one in every run.
    [Theory]
    [Trait("Speed", "long")]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public Task Builder_killed(int step) => BuilderKilledAsync(step);

    [Theory]
    [InlineData(5, "KILL")]
    public Task Engine_stopped_and_started(int step, string signal) => EngineStoppedAsync(step, signal);

    [Theory]
    [Trait("Speed", "long")]
    [InlineData(1, "TERM")]
    [InlineData(1, "KILL")]
    [InlineData(3, "TERM")]
    [InlineData(3, "KILL")]
    [InlineData(4, "TERM")]
    [InlineData(4, "KILL")]
    [InlineData(5, "TERM")]
    public Task Engine_stopped_and_started_of_the_long_matrix(int step, string signal) => EngineStoppedAsync(step, signal);

    [Theory]
    [InlineData(5, 60)]
    public Task Engine_without_room(int step, int freeMiB) => EngineWithoutRoomAsync(step, freeMiB);

    [Theory]
    [Trait("Speed", "long")]
    [InlineData(1, 60)]
    [InlineData(3, 20)]
    [InlineData(3, 150)]
    [InlineData(4, 60)]
    public Task Engine_without_room_of_the_long_matrix(int step, int freeMiB) => EngineWithoutRoomAsync(step, freeMiB);

    private async Task BuilderKilledAsync(int step)
    {
        await using var run = await FaultRun.PrepareAsync(pipeline, step);
        using var process = run.Start();
        var end = await FaultRun.EndAsync(process, async () =>
        {
            await run.CommandAsync(process, s_commands[step - 1]);
            await Tool.RunAsync("docker", "kill", Assert.Single(await run.Build.ContainersAsync()));
        });
        Assert.Equal(1, end.ExitCode);
        Assert.True(
            end.Text.ReplaceLineEndings(" ").Contains("ended in the middle of the work", StringComparison.Ordinal),
            $"The error does not tell that the builder has gone: {end.Text}");
        await run.Build.NothingLeftAsync();
        await run.StateIsGoodAsync(step - 1);
        await run.EndsRightAsync();
    }

    private async Task EngineStoppedAsync(int step, string signal)
    {
        await HaveBuilderAsync(step);
        await using var run = await FaultRun.PrepareAsync(pipeline, step, engine);
        using var process = run.Start();
        FaultEnd end;
        try
        {
            end = await FaultRun.EndAsync(process, async () =>
            {
                await run.CommandAsync(process, s_commands[step - 1]);
                await engine.StopAsync(signal);
            });
        }
        finally
        {
            await engine.StopAsync("KILL");
            await engine.StartAsync();
        }

        Assert.Equal(1, end.ExitCode);
        Assert.True(
            end.Text.ReplaceLineEndings(" ").Contains("was the Docker engine stopped", StringComparison.Ordinal),
            $"The error does not tell that the engine may have been stopped: {end.Text}");
        await run.StateIsGoodAsync(step - 1);
        await run.EndsRightAsync();
    }

    private async Task EngineWithoutRoomAsync(int step, int freeMiB)
    {
        await HaveBuilderAsync(step);
        await using var run = await FaultRun.PrepareAsync(pipeline, step, engine);

        // In memory a target needs no room there.
        run.Build.EngineLimits = new EngineLimits { TargetMemory = 0 };
        ArchAzureException error;
        try
        {
            await engine.Data.LeaveAsync(freeMiB);
            using var host = new DockerHostVariable(engine.Host);
            error = await Assert.ThrowsAnyAsync<ArchAzureException>(() => run.Build.RunAsync(step));
        }
        finally
        {
            await engine.Data.GrowAsync();
        }

        Assert.Contains("space", error.Message, StringComparison.OrdinalIgnoreCase);
        await run.Build.NothingLeftAsync();
        await run.StateIsGoodAsync(step - 1);
        await run.EndsRightAsync();
    }

    /// <summary>Steps from 2 on need the builder of the undisturbed build; step 1 makes one.</summary>
    private async Task HaveBuilderAsync(int step)
    {
        var image = (await pipeline.SmallBuildAsync()).State.Bootstrap!.BuilderImage;
        if (step > 1 && (await Tool.TryAsync("docker", ["--host", engine.Host, "image", "inspect", image])).ExitCode != 0)
        {
            await engine.CopyImageAsync(image);
        }
    }
}
