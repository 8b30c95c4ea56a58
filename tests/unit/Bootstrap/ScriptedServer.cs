using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace ArchAzure.UnitTests.Bootstrap;

/// <summary>One request as it came in.</summary>
internal sealed record Request(string Path, Dictionary<string, string> Headers)
{
    public string? this[string header] => Headers.GetValueOrDefault(header);

    public long RangeStart => this["Range"] is { } range ? long.Parse(range["bytes=".Length..].TrimEnd('-')) : 0;
}

/// <summary>What to answer; a body shorter than its length ends the connection, in order or with a reset, or leaves it silent.</summary>
internal sealed record Answer(int Status, byte[] Body)
{
    public Dictionary<string, string> Headers { get; init; } = [];

    public long? Length { get; init; }

    public bool Reset { get; init; }

    public bool Stall { get; init; }
}

/// <summary>A web server on loopback that does what the test says, wrong answers included: which no proper server would send.</summary>
internal sealed class ScriptedServer : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _end = new();
    private readonly Func<Request, int, Answer> _script;
    private int _count;

    /// <param name="script">Gets the request and its number, from 1.</param>
    public ScriptedServer(Func<Request, int, Answer> script)
    {
        _script = script;
        _listener.Start();
        Address = new Uri($"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}/");
        _ = AcceptAsync();
    }

    public Uri Address { get; }

    public ConcurrentQueue<Request> Requests { get; } = new();

    /// <summary>Serves a file and its ranges as a proper server does.</summary>
    public static Answer Proper(Request request, byte[] file)
    {
        var start = request.RangeStart;
        return start == 0 ? new Answer(200, file)
            : start >= file.Length ? new Answer(416, []) { Headers = { ["Content-Range"] = $"bytes */{file.Length}" } }
            : new Answer(206, file[(int)start..]) { Headers = { ["Content-Range"] = $"bytes {start}-{file.Length - 1}/{file.Length}" } };
    }

    public void Dispose()
    {
        _end.Cancel();
        _listener.Stop();
        _listener.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = ServeAsync(await _listener.AcceptSocketAsync(_end.Token));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        try
        {
            await using var stream = new NetworkStream(socket, ownsSocket: true);
            using var reader = new StreamReader(stream, Encoding.ASCII, leaveOpen: true);
            if (await reader.ReadLineAsync(_end.Token) is not { } first)
            {
                return;
            }

            var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
            while (await reader.ReadLineAsync(_end.Token) is { Length: > 0 } line)
            {
                headers[line[..line.IndexOf(':')]] = line[(line.IndexOf(':') + 1)..].Trim();
            }

            var request = new Request(first.Split(' ')[1], headers);
            Requests.Enqueue(request);
            var answer = _script(request, Interlocked.Increment(ref _count));
            var head = new StringBuilder(
                $"HTTP/1.1 {answer.Status} Scripted\r\nConnection: close\r\nContent-Length: {answer.Length ?? answer.Body.Length}\r\n");
            foreach (var (name, value) in answer.Headers)
            {
                head.Append($"{name}: {value}\r\n");
            }

            await stream.WriteAsync(Encoding.ASCII.GetBytes(head.Append("\r\n").ToString()), _end.Token);
            await stream.WriteAsync(answer.Body, _end.Token);
            await stream.FlushAsync(_end.Token);
            if (answer.Stall)
            {
                await Task.Delay(Timeout.Infinite, _end.Token);
            }

            if (answer.Reset)
            {
                // The bytes are given time to arrive: a reset throws away what the peer has not read.
                await Task.Delay(100, _end.Token);
                socket.LingerState = new LingerOption(true, 0);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or SocketException)
        {
            // The client has gone, or the test is over.
        }
    }
}
