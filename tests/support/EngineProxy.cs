using System.IO.Enumeration;
using System.Net.Sockets;
using System.Text;

namespace ArchAzure.TestSupport;

/// <summary>What <see cref="EngineProxy"/> does wrong on purpose.</summary>
internal enum EngineFault
{
    /// <summary>The request is taken and never answered, nor shown to the engine.</summary>
    Stall,

    /// <summary>The connection ends instead of an answer; the engine has not seen the request.</summary>
    Reset,

    /// <summary>The engine does what was asked, but the connection ends instead of its answer.</summary>
    AnswerLost,

    /// <summary>The engine does what was asked, and its answer arrives two seconds later.</summary>
    LateAnswer,

    /// <summary>Status 500; the engine has not seen the request.</summary>
    ServerError,

    /// <summary>The answer is no JSON; the engine has not seen the request.</summary>
    Garbage,

    /// <summary>All is handed on, but the answer never ends.</summary>
    NeverCloses,
}

/// <summary>
/// Stands between the product and a Docker engine on a unix socket of its own. The client makes a connection for each request; faults
/// are chosen by its first line, e.g. <c>GET /info</c>.
/// </summary>
internal sealed class EngineProxy : IDisposable
{
    private const string Json = "Content-Type: application/json\r\nConnection: close\r\n";

    private readonly TempFolder _folder = new();
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _met = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<(string Pattern, EngineFault Fault, int Times)> _faults = [];
    private readonly string _realSocket;
    private TaskCompletionSource? _frozen;

    /// <param name="realSocket">The engine's socket; null for that of the usual engine.</param>
    public EngineProxy(string? realSocket = null)
    {
        _realSocket = realSocket ?? TestSetup.EngineSocket;
        _listener.Bind(new UnixDomainSocketEndPoint(_folder["engine.sock"]));
        _listener.Listen(64);
        _ = AcceptAsync();
    }

    /// <summary>Its address.</summary>
    public Uri Address => new($"unix://{_folder["engine.sock"]}");

    /// <summary>Ends when the first fault has been met; with a late answer, when the engine has done what was asked.</summary>
    public Task Met => _met.Task;

    /// <summary>Requests whose method and path match go wrong so many times.</summary>
    public EngineProxy With(string pattern, EngineFault fault, int times = 1)
    {
        lock (_faults)
        {
            _faults.Add((pattern, fault, times));
        }

        return this;
    }

    /// <summary>From now on no byte gets through, on no connection, old or new.</summary>
    public void Freeze() => _frozen ??= new TaskCompletionSource();

    /// <summary>Runs something that finds the proxy in DOCKER_HOST; docker's own client, used by the checks, must not.</summary>
    public async Task<T> UseAsync<T>(Func<Task<T>> work)
    {
        using var host = new DockerHostVariable(Address.ToString());
        return await work();
    }

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Dispose();
        _folder.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                _ = ServeAsync(await _listener.AcceptAsync(_stop.Token));
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or SocketException)
            {
                return;
            }
        }
    }

    private async Task ServeAsync(Socket client)
    {
        using var engine = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        using (client)
        {
            try
            {
                var head = await ReadHeadAsync(client);
                var fault = Take(Encoding.ASCII.GetString(head));
                switch (fault)
                {
                    case EngineFault.Stall:
                        await Task.Delay(Timeout.Infinite, _stop.Token);
                        return;
                    case EngineFault.Reset:
                        return;
                    case EngineFault.ServerError:
                        await SendAsync(client, $"HTTP/1.1 500 Fault\r\n{Json}\r\n{{\"message\":\"something went wrong\"}}");
                        return;
                    case EngineFault.Garbage:
                        await SendAsync(client, $"HTTP/1.1 200 OK\r\n{Json}\r\n{{\"half");
                        return;
                }

                await engine.ConnectAsync(new UnixDomainSocketEndPoint(_realSocket), _stop.Token);
                await engine.SendAsync(head, _stop.Token);
                var up = CopyAsync(client, engine);
                if (fault == EngineFault.AnswerLost)
                {
                    await engine.ReceiveAsync(new byte[1], _stop.Token);
                    return;
                }

                if (fault == EngineFault.LateAnswer)
                {
                    await engine.ReceiveAsync(new byte[1], SocketFlags.Peek, _stop.Token);
                    _met.TrySetResult();
                    await Task.Delay(TimeSpan.FromSeconds(2), _stop.Token);
                }

                await CopyAsync(engine, client, close: fault != EngineFault.NeverCloses);
                if (fault == EngineFault.NeverCloses)
                {
                    await Task.Delay(Timeout.Infinite, _stop.Token);
                }

                // The client's half goes on only where the engine reads it (an attached input): it ends with the connection.
                engine.Close();
                client.Close();
                await up;
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or SocketException)
            {
                // One of the two has gone.
            }
        }
    }

    private async Task SendAsync(Socket client, string answer)
    {
        await client.SendAsync(Encoding.ASCII.GetBytes(answer), _stop.Token);
        client.Shutdown(SocketShutdown.Send);

        // To close a socket with something unread in it would reset the connection, and the answer might be lost.
        var buffer = new byte[1 << 16];
        while (await client.ReceiveAsync(buffer, _stop.Token) > 0)
        {
        }
    }

    private async Task CopyAsync(Socket from, Socket to, bool close = true)
    {
        var buffer = new byte[1 << 16];
        while (await from.ReceiveAsync(buffer, _stop.Token) is > 0 and var count)
        {
            await ThawedAsync();
            for (var sent = 0; sent < count;)
            {
                sent += await to.SendAsync(buffer.AsMemory(sent, count - sent), _stop.Token);
            }
        }

        await ThawedAsync();
        if (close)
        {
            to.Shutdown(SocketShutdown.Send);
        }
    }

    private async Task<byte[]> ReadHeadAsync(Socket client)
    {
        // With it may come some of the body; all of it is handed on.
        using var head = new MemoryStream();
        var buffer = new byte[4096];
        while (head.ToArray().AsSpan().IndexOf("\r\n\r\n"u8) < 0)
        {
            var count = await client.ReceiveAsync(buffer, _stop.Token);
            if (count == 0)
            {
                throw new OperationCanceledException();
            }

            head.Write(buffer, 0, count);
        }

        await ThawedAsync();
        return head.ToArray();
    }

    private Task ThawedAsync() => _frozen?.Task.WaitAsync(_stop.Token) ?? Task.CompletedTask;

    private EngineFault? Take(string head)
    {
        var line = string.Join(' ', head.Split("\r\n")[0].Split('?')[0].Split(' ').Take(2));
        lock (_faults)
        {
            for (var i = 0; i < _faults.Count; i++)
            {
                var (pattern, fault, times) = _faults[i];
                if (times > 0 && FileSystemName.MatchesSimpleExpression(pattern, line))
                {
                    _faults[i] = (pattern, fault, times - 1);
                    if (fault != EngineFault.LateAnswer)
                    {
                        _met.TrySetResult();
                    }

                    return fault;
                }
            }

            return null;
        }
    }
}
