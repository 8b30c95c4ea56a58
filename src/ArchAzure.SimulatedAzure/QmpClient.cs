using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ArchAzure.SimulatedAzure;

/// <summary>QEMU's machine protocol (docs/interop/qmp-spec): JSON commands over a stream, one at a line.</summary>
internal sealed class QmpClient : IAsyncDisposable
{
    // Answers to the commands used here have less than 1 KiB.
    private const int LongestMessage = 1 << 20;

    private readonly Stream _stream;
    private readonly byte[] _buffer = new byte[8192];
    private readonly LineCutter _cutter = new(LongestMessage);
    private readonly Queue<string> _lines = new();
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<string, TaskCompletionSource<JsonElement>> _pending = new(StringComparer.Ordinal);
    private Task _reading = Task.CompletedTask;
    private int _lastId;
    private volatile bool _ended;

    private QmpClient(Stream stream) => _stream = stream;

    /// <summary>QEMU told of an event, e.g. <c>RESET</c>.</summary>
    public Action<string>? EventReceived { get; set; }

    /// <summary>Takes QEMU's greeting and ends the negotiation.</summary>
    /// <exception cref="ArchAzureException">It is not QMP that answers.</exception>
    public static async Task<QmpClient> ConnectAsync(Stream stream, CancellationToken cancellationToken)
    {
        var client = new QmpClient(stream);
        var greeting = await client.ReadLineAsync(cancellationToken);
        if (greeting is null || !TryParse(greeting, out var message) || !message.TryGetProperty("QMP", out _))
        {
            throw new ArchAzureException("QmpFailed", ErrorKind.ConnectionError,
                $"QEMU's monitor did not greet with QMP but with '{(greeting?.Length > 200 ? greeting[..200] + "..." : greeting)}'. "
                + "Its error output tells why it ended.");
        }

        client._reading = client.ReadAsync();
        await client.ExecuteAsync("qmp_capabilities", null, cancellationToken);
        return client;
    }

    /// <summary>Runs a command.</summary>
    /// <returns>What it returned.</returns>
    /// <exception cref="ArchAzureException">QEMU refused it, or ended.</exception>
    public async Task<JsonElement> ExecuteAsync(string command, JsonObject? arguments, CancellationToken cancellationToken)
    {
        var id = Interlocked.Increment(ref _lastId).ToString(CultureInfo.InvariantCulture);
        var answer = new TaskCompletionSource<JsonElement>(TaskCreationOptions.RunContinuationsAsynchronously);
        _pending[id] = answer;
        try
        {
            var message = new JsonObject { ["execute"] = command, ["id"] = id };
            if (arguments is not null)
            {
                message["arguments"] = arguments;
            }

            await _writing.WaitAsync(cancellationToken);
            try
            {
                await _stream.WriteAsync(Encoding.UTF8.GetBytes(message.ToJsonString() + "\n"), cancellationToken);
                await _stream.FlushAsync(cancellationToken);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                throw Ended(command, e);
            }
            finally
            {
                _writing.Release();
            }

            if (_ended)
            {
                throw Ended(command, null);
            }

            var response = await answer.Task.WaitAsync(cancellationToken);
            if (response.TryGetProperty("error", out var error))
            {
                var reason = (error.ValueKind == JsonValueKind.Object ? Text(error, "desc") : null) ?? error.GetRawText();
                throw new ArchAzureException(
                    "QmpFailed", ErrorKind.CommandFailed, $"QEMU refused the monitor command '{command}': {reason}", command);
            }

            return response.TryGetProperty("return", out var result) ? result
                : throw new ArchAzureException(
                    "QmpFailed", ErrorKind.InvalidData,
                    $"QEMU answered the monitor command '{command}' with '{response}', which is no answer of QMP.", command);
        }
        finally
        {
            _pending.TryRemove(id, out _);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _reading;
        await _stream.DisposeAsync();
        _stop.Dispose();
        _writing.Dispose();
    }

    /// <summary>The next line, or null at the end. One that is too long comes cut, and is no message any more.</summary>
    private async Task<string?> ReadLineAsync(CancellationToken cancellationToken)
    {
        while (_lines.Count == 0)
        {
            var count = await _stream.ReadAsync(_buffer, cancellationToken);
            if (count == 0)
            {
                _cutter.Flush(_lines.Enqueue);
                return _lines.TryDequeue(out var last) ? last : null;
            }

            _cutter.Add(_buffer.AsSpan(0, count), _lines.Enqueue);
        }

        return _lines.Dequeue();
    }

    private async Task ReadAsync()
    {
        try
        {
            while (await ReadLineAsync(_stop.Token) is { } line)
            {
                if (!TryParse(line, out var message))
                {
                    continue;
                }

                if (Text(message, "event") is { } name)
                {
                    EventReceived?.Invoke(name);
                }
                else if (Text(message, "id") is { } key && _pending.TryGetValue(key, out var answer))
                {
                    answer.TrySetResult(message);
                }
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
        {
            // QEMU has ended, or we let go of it; those who wait are told below.
        }

        _ended = true;
        foreach (var answer in _pending.Values)
        {
            answer.TrySetException(Ended("", null));
        }
    }

    /// <summary>A member that is a text; null for all else, also for a text of half characters.</summary>
    private static string? Text(JsonElement element, string name)
    {
        try
        {
            return element.TryGetProperty(name, out var value) ? value.GetString() : null;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    private static bool TryParse(string line, out JsonElement message)
    {
        try
        {
            using var document = JsonDocument.Parse(line);
            message = document.RootElement.Clone();
            return message.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException)
        {
            message = default;
            return false;
        }
    }

    private static ArchAzureException Ended(string command, Exception? inner) => new("QmpFailed", ErrorKind.ConnectionError,
        $"QEMU ended before it answered the monitor command '{command}'.", command, inner);
}
