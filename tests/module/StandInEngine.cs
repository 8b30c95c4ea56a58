using System.Net;
using System.Net.Sockets;
using System.Text;

namespace ArchAzure.ModuleTests;

/// <summary>
/// Stands for a Docker engine without images and containers, so that what comes before and after asking for one can be tested on any
/// machine; or, silent, for one that takes a request and never answers.
/// </summary>
internal sealed class StandInEngine : IDisposable
{
    private readonly HttpListener _listener = new();
    private readonly TaskCompletionSource _asked = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly bool _silent;

    public StandInEngine(bool silent = false)
    {
        _silent = silent;
        var port = FreePort();
        _listener.Prefixes.Add($"http://127.0.0.1:{port}/");
        _listener.Start();
        Address = $"tcp://127.0.0.1:{port}";
        _ = ServeAsync();
    }

    /// <summary>What DOCKER_HOST is to be.</summary>
    public string Address { get; }

    /// <summary>Ends when the first request has come.</summary>
    public Task Asked => _asked.Task;

    /// <summary>A port of loopback where nobody listens.</summary>
    public static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    public void Dispose() => _listener.Close();

    private async Task ServeAsync()
    {
        try
        {
            while (true)
            {
                var context = await _listener.GetContextAsync();
                _asked.TrySetResult();
                if (_silent)
                {
                    continue;
                }

                var path = context.Request.Url!.AbsolutePath;
                var (status, text) = path switch
                {
                    _ when path.EndsWith("/_ping", StringComparison.Ordinal) => (200, "OK"),
                    _ when path.EndsWith("/info", StringComparison.Ordinal) => (200, """{"ServerVersion":"20.10.0","OSType":"linux","SecurityOptions":[]}"""),
                    _ when path.EndsWith("/version", StringComparison.Ordinal) => (200, """{"Version":"20.10.0","ApiVersion":"1.41","MinAPIVersion":"1.12"}"""),
                    _ when path.EndsWith("/containers/json", StringComparison.Ordinal) => (200, "[]"),
                    _ => (404, """{"message":"there is nothing here"}"""),
                };
                context.Response.StatusCode = status;
                context.Response.Headers["Api-Version"] = "1.41";
                context.Response.ContentType = path.EndsWith("/_ping", StringComparison.Ordinal) ? "text/plain" : "application/json";
                context.Response.Close(Encoding.UTF8.GetBytes(text), willBlock: false);
            }
        }
        catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
        {
            // Closed.
        }
    }
}
