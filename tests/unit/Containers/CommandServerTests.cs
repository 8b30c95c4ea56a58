using System.Text;
using ArchAzure.Containers;
using CsCheck;

namespace ArchAzure.UnitTests.Containers;

/// <summary>Commands of a builder with a target, which one process in it runs: here by the host's bash.</summary>
public sealed class CommandServerTests : EngineTest
{
    [Fact]
    public async Task Commands_run_one_after_another_in_one_process()
    {
        var builder = await StartAsync();
        Engine.Requests.Clear();
        for (var status = 0; status < 3; status++)
        {
            var result = await RunAsync(builder, $"echo out {status}; echo error >&2; exit {status}");
            Assert.Equal((status, $"out {status}\n"), (result.ExitCode, result.Output));
            Assert.Equal(["error", $"out {status}"], result.Tail.Order());
        }

        Assert.Empty(Engine.Requests);
    }

    [Fact]
    public async Task Words_are_passed_as_they_are()
    {
        var builder = await StartAsync();
        string[] words = ["", " ", "a\nb", "$(id)", "größer", "-n", "x=1", "\u0001"];
        var result = await builder.RunAsync(["printf", "%s|", .. words], null, default);
        Assert.Equal(string.Concat(words.Select(word => word + "|")), result.Output);
        Assert.Equal("", (await builder.RunAsync(["test", "-d", "/"], null, default)).Output);
    }

    [Fact]
    public async Task Environment_and_input_are_each_commands_own()
    {
        var builder = await StartAsync();
        var environment = new Dictionary<string, string>(StringComparer.Ordinal) { ["WORD"] = "one = two" };
        Assert.Equal("one = two\n", (await RunAsync(builder, "echo \"$WORD\"", new() { Environment = environment })).Output);
        Assert.Equal("none\n", (await RunAsync(builder, "echo \"${WORD:-none}\"")).Output);
        var input = new CommandOptions { Input = (stream, token) => stream.WriteAsync("a\0b\n"u8.ToArray(), token).AsTask() };
        Assert.Equal("a\0b\n", (await RunAsync(builder, "cat", input)).Output);
        Assert.Equal("", (await RunAsync(builder, "cat")).Output);
    }

    [Fact]
    public async Task What_a_command_does_not_read_of_its_input_is_no_command()
    {
        var builder = await StartAsync();
        var request = "ABC 1 0\necho\0"u8.ToArray();
        var input = new CommandOptions
        {
            Input = async (stream, token) =>
            {
                for (var i = 0; i < 20_000; i++)
                {
                    await stream.WriteAsync(request, token);
                }
            },
        };
        Assert.Equal("", (await RunAsync(builder, "exit 0", input)).Output);
        Assert.Equal("next\n", (await RunAsync(builder, "echo next")).Output);
    }

    [Fact]
    public async Task Input_that_is_too_large_for_memory_goes_another_way()
    {
        var builder = await StartAsync();
        var seen = 0;
        Engine.OnCommand = async command =>
        {
            var buffer = new byte[1 << 16];
            while (await command.Input.ReadAsync(buffer) is > 0 and var count)
            {
                seen += count;
            }

            return 0;
        };
        var input = new CommandOptions
        {
            Input = async (stream, token) =>
            {
                for (var i = 0; i < 9; i++)
                {
                    await stream.WriteAsync(new byte[1 << 20], token);
                }
            },
        };
        await builder.RunAsync(["tar", "-x"], input, default);
        Assert.Equal(9 << 20, seen);
        Assert.Equal("next\n", (await RunAsync(builder, "echo next")).Output);
    }

    [Fact]
    public async Task A_link_in_the_way_of_the_input_is_not_followed()
    {
        var builder = await StartAsync();
        await RunAsync(builder, $"ln -s victim '{Folder["programs"]}/command-input'");
        var input = new CommandOptions { Input = (stream, token) => stream.WriteAsync("text"u8.ToArray(), token).AsTask() };
        Assert.Equal("text", (await RunAsync(builder, "cat", input)).Output);
        Assert.False(File.Exists(Path.Combine(Folder["programs"], "victim")));
    }

    [Fact]
    public async Task A_command_left_in_the_middle_leaves_its_output_to_nobody()
    {
        var builder = await StartAsync();
        var options = new CommandOptions { OnLine = (_, _) => throw new FormatException() };
        await Assert.ThrowsAsync<FormatException>(() => RunAsync(builder, "echo one; echo two", options));
        Engine.OnCommand = async command =>
        {
            await command.WriteAsync("by the engine\n");
            return 0;
        };
        Assert.Equal("by the engine\n", (await RunAsync(builder, "echo next")).Output);
    }

    [Fact]
    public async Task A_command_whose_end_the_engine_does_not_pass_on()
    {
        await WarmUpAsync();
        var builder = await StartAsync(await ConnectAsync(Quick with { WatchInterval = TimeSpan.FromMilliseconds(100) }));
        Engine.IsMute = true;
        Engine.OnCommand = async command =>
        {
            Engine.IsMute = false;
            await command.WriteAsync(await File.ReadAllTextAsync(Path.Combine(Folder["programs"], "command-done")));
            Engine.IsMute = true;
            return 0;
        };
        await FailsAsync(() => RunAsync(builder, "exit 0"), "DockerEngineStalled", "the command ended", "docker info");
    }

    [Fact]
    public void Output_ends_at_the_mark_wherever_it_is_cut() =>
        Gen.Select(Gen.OneOf(Gen.Const("x"), Gen.Const("\0"), Gen.Const("\0MARK"), Gen.Const("\0MARK1 0")).Array[0, 12], Gen.Int[1, 9])
            .Sample((pieces, size) =>
            {
                var output = Encoding.ASCII.GetBytes(string.Concat(pieces));
                var seen = new List<byte>();
                var end = new CommandServer.OutputEnd("MARK", bytes => seen.AddRange(bytes.Span));
                foreach (var chunk in output.Concat("\0MARK 17\n"u8.ToArray()).Chunk(size))
                {
                    Assert.Null(end.Status);
                    end.Add(chunk);
                }

                Assert.Equal(17, end.Status);
                Assert.Equal(output, seen);
            });

    private async Task<Builder> StartAsync(DockerEngine? docker = null)
    {
        Engine.ProgramFolder = Directory.CreateDirectory(Folder["programs"]).FullName;
        Engine.AddImage(BuilderImage);
        return await Builder.StartAsync(docker ?? await ConnectAsync(), Spec() with { HasServer = true }, Log, default);
    }

    private static Task<CommandResult> RunAsync(Builder builder, string script, CommandOptions? options = null) =>
        builder.RunAsync(["bash", "-c", script], (options ?? new()) with { AllowFailure = true }, default);
}
