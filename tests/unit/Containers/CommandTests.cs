using System.Text;
using ArchAzure.Containers;

namespace ArchAzure.UnitTests.Containers;

/// <summary>A command in a builder: its input and output, its end, and what the engine may do to it meanwhile.</summary>
public sealed class CommandTests : EngineTest
{
    [Theory]
    [InlineData(1, 41)]
    [InlineData(1, 50)]
    public async Task Output_split_at_odd_places_comes_as_whole_lines(int major, int minor)
    {
        Engine.ApiVersion = new Version(major, minor);
        Engine.OnCommand = async command =>
        {
            foreach (var letter in Encoding.UTF8.GetBytes("größer\r\n10%\r20%\rlast"))
            {
                await command.WriteAsync([letter]);
                await command.WriteAsync([letter == (byte)'\n' ? letter : (byte)'e'], error: true);
            }

            return 0;
        };
        List<string> lines = [];
        var builder = await StartBuilderAsync();
        var result = await builder.RunAsync(
            ["tool"], new CommandOptions { OnLine = (line, error) => lines.Add($"{(error ? "error" : "out")} {line}") }, default);

        Assert.Equal(
            ["out größer", "out 10%", "out 20%", "out last"], lines.Where(line => line.StartsWith("out", StringComparison.Ordinal)));
        Assert.Equal(["error eeeeeeeee", "error eeeeeeeeeeee"], lines.Where(line => line.StartsWith("error", StringComparison.Ordinal)));
        Assert.Equal("größer\r\n10%\r20%\rlast", result.Output);
        Assert.Equal(["> tool", .. lines.Select(line => line[(line.IndexOf(' ') + 1)..])], Logged());
    }

    [Fact]
    public async Task Output_without_end_is_kept_up_to_a_limit()
    {
        Engine.OnCommand = async command =>
        {
            for (var i = 0; i < 20; i++)
            {
                await command.WriteAsync(new string('x', (1 << 16) - 1) + '\n');
            }

            return 0;
        };
        var builder = await StartBuilderAsync();
        var result = await builder.RunAsync(["tool"], new CommandOptions { LogOutput = false }, default);
        Assert.Equal(1 << 20, result.Output.Length);
        Assert.Equal(12, result.Tail.Count);
        Assert.Equal(["> tool"], Logged());
    }

    [Fact]
    public async Task A_command_that_fails_shows_its_last_lines()
    {
        Engine.OnCommand = async command =>
        {
            await command.WriteAsync(string.Concat(Enumerable.Range(1, 20).Select(i => $"line {i}\n\n")));
            await command.WriteAsync(new string('y', 3000), error: true);
            return 3;
        };
        var builder = await StartBuilderAsync();
        var error = (CommandFailedException)await FailsAsync(
            () => builder.RunAsync(["tool", "-x"], null, default),
            "CommandFailed", "'tool -x' in the builder ended with status 3",
            "\n    line 10\n", "\n    line 20\n", $"\n    {new string('y', 1000)}...\n");
        Assert.DoesNotContain("line 9\n", error.Message, StringComparison.Ordinal);
        Assert.Equal(12, error.Result.Tail.Count);

        var result = await builder.RunAsync(["tool", "-x"], new CommandOptions { AllowFailure = true }, default);
        Assert.Equal(3, result.ExitCode);
    }

    [Theory]
    [InlineData(126)]
    [InlineData(127)]
    public async Task A_program_that_the_builder_lacks(int status)
    {
        Engine.OnCommand = _ => Task.FromResult(status);
        var builder = await StartBuilderAsync();
        await FailsAsync(
            () => builder.RunAsync(["tool"], null, default), "CommandFailed", "'tool'", "lacks this program", "New-ArchBootstrap -Force");
    }

    [Fact]
    public async Task What_a_command_gets_as_input_or_environment_is_not_logged()
    {
        FakeCommand? seen = null;
        var input = "";
        Engine.OnCommand = async command =>
        {
            seen = command;
            input = await new StreamReader(command.Input).ReadToEndAsync();
            return 0;
        };
        var builder = await StartBuilderAsync();
        await builder.WriteFileAsync("/etc/secret", "s3cret in the file\n", default);
        Assert.Equal("s3cret in the file\n", input);
        Assert.Equal(["install", "-D", "--mode=0644", "/dev/stdin", "/etc/secret"], seen!.Words);

        var environment = new Dictionary<string, string>(StringComparer.Ordinal) { ["TOKEN"] = "s3cret in a variable" };
        await builder.RunAsync(["tool"], new CommandOptions { Environment = environment }, default);
        Assert.Equal(["TOKEN=s3cret in a variable"], seen.Environment);

        Assert.False(seen.HasInput);
        Assert.Equal(["> install -D --mode=0644 /dev/stdin /etc/secret", "> tool"], Logged());
        Assert.DoesNotContain("s3cret", Reporter.Everything, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(8 << 20)]
    [InlineData(1000)]
    public async Task A_command_that_does_not_read_its_input_tells_by_its_status_why(int length)
    {
        // Without the proxy, which would reset the connection.
        var docker = await DockerEngine.ConnectAsync(Reporter, Engine.Address, Quick, default);
        Engine.OnCommand = async command =>
        {
            await command.WriteAsync("no room\n", error: true);
            return 28;
        };
        var builder = await StartBuilderAsync(docker);
        var options = new CommandOptions { Input = (stream, token) => stream.WriteAsync(new byte[length], token).AsTask() };
        await FailsAsync(() => builder.RunAsync(["tar", "-x"], options, default), "CommandFailed", "'tar -x'", "status 28", "no room");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(137)]
    public async Task A_command_is_not_blamed_for_the_end_of_its_container(int status)
    {
        Engine.OnCommand = command =>
        {
            _ = EndAsync(command.Container);
            return Task.FromResult(status);
        };
        var builder = await StartBuilderAsync();
        await FailsAsync(
            () => builder.RunAsync(["tool"], null, default), "BuilderDied", builder.Name, "was it killed", "Run the step again");

        async Task EndAsync(FakeContainer container)
        {
            // Of a killed command the engine hears before it notices its container's end.
            await Task.Delay(status == 137 ? 200 : 0);
            container.State = "exited";
            container.Ended.TrySetResult();
        }
    }

    [Fact]
    public async Task A_container_removed_in_the_middle_of_a_command()
    {
        Engine.OnCommand = command =>
        {
            Engine.End(command.Container);
            return Task.FromResult(0);
        };
        var builder = await StartBuilderAsync();
        await FailsAsync(
            () => builder.RunAsync(["tool"], null, default), "BuilderDied", builder.Name, "No such exec instance", "Run the step again");
        await FailsAsync(
            () => builder.RunAsync(["tool"], null, default), "BuilderDied", builder.Name, "No such container", "Run the step again");
    }

    [Theory]
    [InlineData("POST */containers/*/exec", "ServerError")]
    [InlineData("POST */containers/*/exec", "AnswerLost")]
    [InlineData("POST */exec/*/start", "ServerError")]
    [InlineData("GET */exec/*/json", "Reset")]
    public async Task A_call_that_may_be_repeated_is(string call, string fault)
    {
        var ran = 0;
        Engine.OnCommand = _ => Task.FromResult(Interlocked.Increment(ref ran) - 1);
        var builder = await StartBuilderAsync();
        Proxy.With(call, Enum.Parse<EngineFault>(fault));
        Assert.Equal(0, (await builder.RunAsync(["tool"], null, default)).ExitCode);
        Assert.Equal(1, ran);
        Assert.Contains(
            "tool: ",
            Assert.Single(Reporter.Details, detail => detail.Contains("attempt 2 of 3", StringComparison.Ordinal)),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("AnswerLost", "BuilderDied")]
    [InlineData("Reset", "BuilderDied")]
    [InlineData("Stall", "DockerEngineStalled")]
    public async Task A_lost_start_of_a_command_is_not_repeated(string fault, string errorId)
    {
        // It may have begun its work.
        await WarmUpAsync();
        var limits = fault == "Stall" ? Quick with { WorkTimeout = TimeSpan.FromSeconds(2) } : Quick;
        var builder = await StartBuilderAsync(await ConnectAsync(limits));
        Proxy.With("POST */exec/*/start", Enum.Parse<EngineFault>(fault));
        await FailsAsync(() => builder.RunAsync(["tool"], null, default), errorId, "un the step again");
        Assert.InRange(Asked("POST /exec/*/start"), 0, 1);
        Assert.DoesNotContain(Reporter.Details, detail => detail.Contains("attempt", StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_engine_that_falls_silent_in_the_middle_of_a_command()
    {
        await WarmUpAsync();
        Engine.OnCommand = async command =>
        {
            await command.WriteAsync("begun\n");
            await Task.Delay(Timeout.Infinite);
            return 0;
        };
        var builder = await StartBuilderAsync(await ConnectAsync(Quick with
        {
            AnswerTimeout = TimeSpan.FromSeconds(2),
            WatchInterval = TimeSpan.FromMilliseconds(50),
            Retries = new(1, TimeSpan.Zero, TimeSpan.Zero),
        }));
        var options = new CommandOptions { OnLine = (_, _) => Proxy.Freeze() };
        await FailsAsync(
            () => builder.RunAsync(["tool"], options, default), "DockerEngineStalled", "tool", "has not answered for", "docker info");
    }

    [Fact]
    public async Task A_silent_command_is_asked_after_and_may_take_its_time()
    {
        Engine.OnCommand = async _ =>
        {
            while (Asked("GET /exec/*/json") < 3)
            {
                await Task.Delay(5);
            }

            return 0;
        };
        var builder = await StartBuilderAsync(await ConnectAsync(Quick with { WatchInterval = TimeSpan.FromMilliseconds(30) }));
        Assert.Equal(0, (await builder.RunAsync(["tool"], null, default)).ExitCode);
    }

    [Fact]
    public async Task A_command_whose_output_never_closes()
    {
        Engine.OnCommand = async command =>
        {
            await command.WriteAsync("done\n");
            return 4;
        };
        var builder = await StartBuilderAsync(await ConnectAsync(Quick with { WatchInterval = TimeSpan.FromMilliseconds(50) }));
        Proxy.With("POST */exec/*/start", EngineFault.NeverCloses);
        await FailsAsync(
            () => builder.RunAsync(["tool"], null, default), "DockerEngineStalled", "tool", "ended with status 4", "docker info");
    }

    [Fact]
    public async Task A_stop_by_the_user_goes_through_at_once()
    {
        using var stop = new CancellationTokenSource();
        Engine.OnCommand = async _ =>
        {
            await stop.CancelAsync();
            await Task.Delay(Timeout.Infinite);
            return 0;
        };
        var builder = await StartBuilderAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => builder.RunAsync(["tool"], null, stop.Token).WaitAsync(TimeSpan.FromSeconds(20)));
        await builder.DisposeAsync();
        Assert.Empty(Engine.Containers);
    }

    /// <summary>The log's lines after that of the builder's start, without their times.</summary>
    private List<string> Logged()
    {
        var lines = LogText().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line[10..]);
        return [.. lines.SkipWhile(line => !line.StartsWith("> start builder", StringComparison.Ordinal)).Skip(1)];
    }
}
