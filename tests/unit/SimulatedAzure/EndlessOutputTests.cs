using System.Text;
using ArchAzure.SimulatedAzure;

namespace ArchAzure.UnitTests.SimulatedAzure;

/// <summary>What a guest or a program writes without end takes no memory and no disk.</summary>
public sealed class EndlessOutputTests
{
    private const int MiB = 1 << 20;

    [Fact]
    public async Task Of_a_programs_output_the_beginning_is_kept()
    {
        using var launcher = new HostQemuLauncher();
        await using var host = await launcher.PrepareAsync("/unused.vhd", CancellationToken.None);
        string[] endless = ["-c", "head -c 50000000 /dev/zero | tr '\\0' x; head -c 50000000 /dev/zero | tr '\\0' x >&2; exit 3"];

        var (code, output) = await host.RunAsync("/bin/sh", endless, CancellationToken.None);
        await using var process = host.Start("/bin/sh", endless);

        Assert.Equal((3, 16 << 10), (code, output.Length));
        Assert.Equal(3, await process.Exited.WaitAsync(TimeSpan.FromSeconds(60)));
        Assert.Equal(16 << 10, process.ErrorOutput.Length);
    }

    [Fact]
    public async Task A_monitor_whose_line_never_ends_is_none()
    {
        using var stream = new Endless(256 * MiB, "x"u8.ToArray());
        var before = GC.GetAllocatedBytesForCurrentThread();

        // The stream never makes anyone wait, so all of it happens on this thread.
        var connecting = QmpClient.ConnectAsync(stream, CancellationToken.None);

        Assert.True(connecting.IsCompleted);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 64 * MiB);
        Assert.Contains(
            "did not greet", (await Assert.ThrowsAsync<ArchAzureException>(() => connecting)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Of_what_a_command_of_the_guest_writes_1_MiB_is_kept()
    {
        using var stream = new Endless(64 * MiB, "x"u8.ToArray());
        Assert.Equal(MiB, (await SshProbe.ReadTextAsync(stream, CancellationToken.None)).Length);
        using var few = new MemoryStream("é\n"u8.ToArray());
        Assert.Equal("é\n", await SshProbe.ReadTextAsync(few, CancellationToken.None));
    }

    [Fact]
    public async Task The_serial_log_ends_and_the_last_lines_go_on()
    {
        using var port = new Endless(65 * MiB, Encoding.ASCII.GetBytes(new string('x', 1023) + "\n"), "the last line\n"u8.ToArray());
        using var log = new MemoryStream();
        var console = new SerialConsole();

        await console.ReadAsync(port, log, CancellationToken.None);

        Assert.EndsWith(
            "\n[the log ends here, after 64 MiB]\n", Encoding.ASCII.GetString(log.ToArray().AsSpan((int)log.Length - 100)),
            StringComparison.Ordinal);
        Assert.InRange(log.Length, 64 * MiB, (64 * MiB) + 100);
        Assert.Equal("the last line", console.LastLines(1).Single());
    }

    [Fact]
    public async Task Fields_behind_a_chunked_body_end()
    {
        using var connection = new Connection("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "a: b\r\n"u8.ToArray(), 8 * MiB);
        await new HttpServer((_, _) => Task.FromResult(new HttpResponse(200))).ServeAsync(connection, CancellationToken.None);
        Assert.StartsWith("HTTP/1.1 431 ", connection.Answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bodies_of_many_connections_are_bounded_together()
    {
        var goOn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var server = new HttpServer(async (_, _) =>
        {
            await goOn.Task;
            return new HttpResponse(200);
        });
        Connection Body() => new($"PUT / HTTP/1.1\r\nContent-Length: {60 * MiB}\r\nConnection: close\r\n\r\n", "x"u8.ToArray(), 60 * MiB);
        using var first = Body();
        using var second = Body();
        using var third = Body();

        var serving = server.ServeAsync(first, CancellationToken.None);
        await server.ServeAsync(second, CancellationToken.None);
        Assert.StartsWith("HTTP/1.1 503 ", second.Answer, StringComparison.Ordinal);

        // Once the first is answered there is room again.
        goOn.SetResult();
        await serving;
        Assert.StartsWith("HTTP/1.1 200 ", first.Answer, StringComparison.Ordinal);
        await server.ServeAsync(third, CancellationToken.None);
        Assert.StartsWith("HTTP/1.1 200 ", third.Answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_guest_tells_the_platform_is_kept_in_bounds()
    {
        using var platform = new SimulatedPlatform(new OvfEnvironment("host", "user"));
        var requests = string.Concat(Enumerable.Range(0, 6000).Select(i => $"GET /{i}{new string('x', 2000)} HTTP/1.1\r\n\r\n"));
        using var connection = new Duplex(new MemoryStream(Encoding.ASCII.GetBytes(requests)), Stream.Null);

        await platform.WireServer.Http.ServeAsync(connection, CancellationToken.None);

        Assert.Equal(5000, platform.Requests.Count);
        Assert.StartsWith("/5999x", platform.Requests[^1].Target, StringComparison.Ordinal);
        Assert.All(platform.Requests, request => Assert.InRange(request.Target.Length, 1000, 1100));
    }

    /// <summary>A connection: a text and then the same bytes over and over come in, and what goes out is kept.</summary>
    private sealed class Connection(string text, byte[] pattern, long length)
        : Duplex(new Endless(length, pattern, first: Encoding.ASCII.GetBytes(text)), new MemoryStream())
    {
        public string Answer => Encoding.ASCII.GetString(((MemoryStream)Output).ToArray());
    }

    /// <summary>The same bytes over and over, and perhaps others first and last; it can be written to, and forgets that.</summary>
    private sealed class Endless(long length, byte[] pattern, byte[]? last = null, byte[]? first = null) : Duplex(Null, Null)
    {
        private readonly byte[] _first = first ?? [];
        private readonly byte[] _last = last ?? [];
        private long _position;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            new(Read(buffer.Span));

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override int Read(Span<byte> buffer)
        {
            var (count, lastAt) = (0, _first.Length + length);
            for (; count < buffer.Length && _position < lastAt + _last.Length; count++, _position++)
            {
                buffer[count] = _position < _first.Length ? _first[_position]
                    : _position < lastAt ? pattern[(_position - _first.Length) % pattern.Length] : _last[_position - lastAt];
            }

            return count;
        }
    }
}
