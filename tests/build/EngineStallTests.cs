using System.Diagnostics;
using System.Formats.Tar;
using ArchAzure.Builds;
using ArchAzure.Containers;

namespace ArchAzure.BuildTests;

/// <summary>
/// A Docker engine that stalls, breaks off or answers nonsense for a moment costs a pause; one that stays so ends the step with a clear
/// error.
/// </summary>
[Collection(Pipeline.Name)]
public sealed class EngineStallTests(Pipeline pipeline)
{
    /// <summary>Another run of the tests may use the same engine.</summary>
    private static readonly string s_image = $"archazure/stall-test:{Environment.ProcessId}";

    /// <summary>The product's own limits would make these tests wait for minutes; shorter ones would be met on a busy machine.</summary>
    private static readonly EngineLimits s_short = new()
    {
        AnswerTimeout = TimeSpan.FromSeconds(3),
        WorkTimeout = TimeSpan.FromSeconds(4),
        CommitTimeout = TimeSpan.FromSeconds(4),
        ImportSilence = TimeSpan.FromSeconds(3),
        WatchInterval = TimeSpan.FromSeconds(1),
        CleanUpTimeout = TimeSpan.FromSeconds(4),
        Retries = new(3, TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(1)),
    };

    [Theory]
    [InlineData("GET */info", EngineFault.Stall)]
    [InlineData("GET */info", EngineFault.Reset)]
    [InlineData("GET */containers/json", EngineFault.ServerError)]
    [InlineData("POST */containers/create", EngineFault.Stall)]
    [InlineData("POST */containers/create", EngineFault.AnswerLost)]
    [InlineData("POST */attach", EngineFault.Reset)]
    [InlineData("POST */containers/*/start", EngineFault.AnswerLost)]
    [InlineData("POST */containers/*/start", EngineFault.ServerError)]
    [InlineData("POST */containers/*/exec", EngineFault.Stall)]
    [InlineData("POST */exec/*/start", EngineFault.ServerError)]
    [InlineData("GET */exec/*/json", EngineFault.AnswerLost)]
    [InlineData("DELETE */containers/*", EngineFault.Stall)]
    [InlineData("DELETE */containers/*", EngineFault.AnswerLost)]
    internal async Task A_call_that_goes_wrong_once_is_repeated_and_the_step_ends_right(string call, EngineFault fault)
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 1);
        build.AddSettings($"DISK_SIZE={TestBuild.SmallDisk}");
        build.EngineLimits = s_short;
        using var proxy = new EngineProxy().With(call, fault);
        await proxy.UseAsync(() => build.RunAsync(2));
        Assert.True(proxy.Met.IsCompleted, $"No call was {call}.");
        Assert.Equal(2, build.State.LastGoodStep);
        await build.NothingLeftAsync();
        Assert.Single(
            build.Reporter.Details,
            detail =>
                detail.StartsWith("Docker engine, ", StringComparison.Ordinal)
                    && detail.Contains("; attempt 2 of 3 in 0.", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("GET */info", EngineFault.Stall, "DockerEngineStalled", "docker info")]
    [InlineData("GET */info", EngineFault.Reset, "DockerConnectionLost", "engine's log")]
    [InlineData("POST */containers/create", EngineFault.Stall, "DockerEngineStalled", "docker info")]
    [InlineData("POST */exec/*/start", EngineFault.Stall, "DockerEngineStalled", "docker info")]
    [InlineData("POST */exec/*/start", EngineFault.Reset, "BuilderDied", "Run the step again")]
    internal async Task A_call_that_always_goes_wrong_ends_the_step_with_a_clear_error(
        string call, EngineFault fault, string errorId, string remedy)
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 1);
        build.EngineLimits = s_short;
        using var proxy = new EngineProxy().With(call, fault, int.MaxValue);
        var clock = Stopwatch.StartNew();
        var error = await proxy.UseAsync(() => Assert.ThrowsAnyAsync<ArchAzureException>(() => build.RunAsync(2)));
        Assert.True(errorId == error.ErrorId, $"Expected {errorId}, got {error.ErrorId}: {error.Message}");
        Assert.Contains(remedy, error.Message, StringComparison.Ordinal);
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(60), $"It took {clock.Elapsed}.");
        await build.NothingLeftAsync();
    }

    [Fact]
    public async Task A_lost_start_of_a_command_is_not_repeated()
    {
        // It may have begun its work.
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 1);
        build.EngineLimits = s_short;
        using var proxy = new EngineProxy().With("POST */exec/*/start", EngineFault.AnswerLost);
        var error = await proxy.UseAsync(() => Assert.ThrowsAnyAsync<ArchAzureException>(() => build.RunAsync(2)));
        Assert.Equal("BuilderDied", error.ErrorId);
        Assert.DoesNotContain(build.Reporter.Details, detail => detail.Contains("attempt", StringComparison.Ordinal));
        await build.NothingLeftAsync();
    }

    [Fact]
    public async Task An_engine_that_falls_silent_in_the_middle_of_a_command_ends_the_step()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        build.EngineLimits = s_short;
        using (var proxy = new EngineProxy())
        {
            var clock = new Stopwatch();
            build.Reporter.Watch = status =>
            {
                if (status.StartsWith("installing ", StringComparison.Ordinal) && !status.Contains("packages", StringComparison.Ordinal))
                {
                    clock.Start();
                    proxy.Freeze();
                }
            };
            var error = await proxy.UseAsync(() => Assert.ThrowsAnyAsync<ArchAzureException>(() => build.RunAsync(3)));
            build.Reporter.Watch = null;
            Assert.True(error.ErrorId == "DockerEngineStalled", $"{error.ErrorId}: {error.Message}");
            Assert.Contains("has not answered for", error.Message, StringComparison.Ordinal);
            Assert.Contains("restart it", error.Message, StringComparison.Ordinal);
            Assert.Contains(build.Directory.Log(3), error.Message, StringComparison.Ordinal);
            Assert.True(clock.Elapsed < TimeSpan.FromSeconds(60), $"It took {clock.Elapsed}.");
        }

        // The next command finds an engine that works.
        build.EngineLimits = null;
        build.AddSettings($"DISK_SIZE={TestBuild.SmallDisk}");
        await build.RunAsync(2);
        await build.NothingLeftAsync();
        Assert.Equal(2, build.State.LastGoodStep);
        Assert.False(File.Exists(build.Directory.Snapshot(3)));
    }

    [Fact]
    public async Task A_command_whose_output_never_closes_ends_the_step()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 1);
        build.EngineLimits = s_short;
        using var proxy = new EngineProxy().With("POST */exec/*/start", EngineFault.NeverCloses);
        var error = await proxy.UseAsync(() => Assert.ThrowsAnyAsync<ArchAzureException>(() => build.RunAsync(2)));
        Assert.True(error.ErrorId == "DockerEngineStalled", $"{error.ErrorId}: {error.Message}");
        Assert.Contains("ended with status 0", error.Message, StringComparison.Ordinal);
        await build.NothingLeftAsync();
    }

    [Theory]
    [InlineData("GET */info", EngineFault.Stall)]
    [InlineData("GET */containers/json", EngineFault.Stall)]
    [InlineData("POST */containers/create", EngineFault.Stall)]
    [InlineData("POST */containers/create", EngineFault.LateAnswer)]
    [InlineData("POST */containers/*/start", EngineFault.LateAnswer)]
    [InlineData("POST */exec/*/start", EngineFault.Stall)]
    internal async Task Control_C_during_a_call_goes_through_at_once_and_leaves_no_container(string call, EngineFault fault)
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 1);
        using var proxy = new EngineProxy().With(call, fault, int.MaxValue);
        using var stop = new CancellationTokenSource();
        var clock = new Stopwatch();
        await proxy.UseAsync(async () =>
        {
            var running = build.RunAsync(2, cancellationToken: stop.Token);
            Assert.Same(proxy.Met, await Task.WhenAny(proxy.Met, running));
            clock.Start();
            await stop.CancelAsync();
            return await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        });
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(10), $"It took {clock.Elapsed}.");
        await build.NothingLeftAsync();
    }

    [Theory]
    [InlineData(EngineFault.Stall, 1, true)]
    [InlineData(EngineFault.Reset, 1, true)]
    [InlineData(EngineFault.ServerError, 1, true)]
    [InlineData(EngineFault.Stall, int.MaxValue, false)]
    [InlineData(EngineFault.Reset, int.MaxValue, false)]
    internal async Task Commit(EngineFault fault, int times, bool heals)
    {
        using var proxy = new EngineProxy().With("POST */commit", fault, times);
        await CheckAsync(proxy, heals ? null : fault == EngineFault.Stall ? "DockerEngineStalled" : "ImageNotSaved", async docker =>
        {
            using var folder = new TempFolder();
            using var log = new StepLog(folder["log"], new RecordingReporter());
            await using var builder = await Builder.StartAsync(
                docker, new BuilderSpec
                {
                    Image = pipeline.ImageBuild.Bootstrap!.BuilderImage, BuildId = Guid.NewGuid(), Purpose = "stall-test",
                }, log, default);
            await builder.CommitAsync(s_image, new Dictionary<string, string>(StringComparer.Ordinal), default);
        });
    }

    [Theory]
    [InlineData(EngineFault.Reset, 1, null)]
    [InlineData(EngineFault.ServerError, 1, null)]
    [InlineData(EngineFault.Stall, int.MaxValue, "DockerEngineStalled")]
    [InlineData(EngineFault.Reset, int.MaxValue, "ImageImportFailed")]
    internal async Task Import(EngineFault fault, int times, string? errorId)
    {
        using var proxy = new EngineProxy().With("POST */images/create", fault, times);
        await CheckAsync(
            proxy,
            errorId,
            docker => docker.ImportImageAsync(s_image, WriteTarAsync, new Dictionary<string, string>(StringComparer.Ordinal), default));
    }

    private static async Task WriteTarAsync(Stream stream, CancellationToken cancellationToken)
    {
        // More than the buffers on the way hold: an engine that takes nothing stalls the writer.
        await using var tar = new TarWriter(stream);
        for (var i = 0; i < 16; i++)
        {
            await tar.WriteEntryAsync(
                new PaxTarEntry(TarEntryType.RegularFile, $"file{i}") { DataStream = new MemoryStream(new byte[1 << 20]) },
                cancellationToken);
        }
    }

    /// <summary>Runs a work on the engine that makes <see cref="s_image"/>, and checks how it ends.</summary>
    private static async Task CheckAsync(EngineProxy proxy, string? errorId, Func<DockerEngine, Task> work)
    {
        var reporter = new RecordingReporter();
        try
        {
            await proxy.UseAsync(async () =>
            {
                using var docker = await DockerEngine.ConnectAsync(reporter, default, s_short);
                if (errorId is null)
                {
                    await work(docker);
                    Assert.Single(reporter.Details, detail => detail.Contains("; attempt 2 of 3 in 0.", StringComparison.Ordinal));
                }
                else
                {
                    var error = await Assert.ThrowsAnyAsync<ArchAzureException>(() => work(docker));
                    Assert.True(errorId == error.ErrorId, $"Expected {errorId}, got {error.ErrorId}: {error.Message}");
                }

                return true;
            });
            Assert.Equal(errorId is null, (await Tool.RunAsync("docker", "image", "ls", "--quiet", s_image)).Length > 0);
        }
        finally
        {
            await Tool.TryAsync("docker", ["image", "rm", s_image]);
        }
    }
}
