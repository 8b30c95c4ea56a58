using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Headers;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Net.Http.Headers;

namespace ArchAzure.StandIn;

/// <summary>
/// A static file server on loopback, as a mirror is one: listings, ranges, ETag and Last-Modified. Tests host it in
/// their own process and may have it go wrong; without <see cref="AddFault"/> it never does.
/// </summary>
public sealed class MirrorServer : IAsyncDisposable
{
    private const int ChunkBytes = 64 * 1024;
    private readonly string _directory;
    private readonly WebApplication _application;
    private readonly object _lock = new();
    private readonly List<(MirrorFault Fault, int Left)> _faults = [];
    private readonly List<MirrorRequest> _requests = [];

    private MirrorServer(string directory, WebApplication application)
    {
        _directory = directory;
        _application = application;
    }

    /// <summary><c>http://127.0.0.1:PORT</c>, without a slash at its end.</summary>
    public string BaseUrl { get; private set; } = "";

    /// <summary>The requests so far, oldest first.</summary>
    public IReadOnlyList<MirrorRequest> Requests
    {
        get
        {
            lock (_lock)
            {
                return [.. _requests];
            }
        }
    }

    /// <summary>Serves a directory.</summary>
    /// <param name="directory">Of a mirror, or any other.</param>
    /// <param name="port">The port; 0 takes a free one.</param>
    /// <exception cref="StandInException">No such directory, or the port is taken.</exception>
    public static async Task<MirrorServer> StartAsync(string directory, int port = 0)
    {
        if (!Directory.Exists(directory))
        {
            throw new StandInException($"{directory} is no directory: make the mirror first ('make' prints where it is).");
        }

        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddRoutingCore();
        _ = builder.Logging.ClearProviders();
        _ = builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, port, listen => listen.Protocols = HttpProtocols.Http1);
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.AddServerHeader = false;
        });
        WebApplication application = builder.Build();
        MirrorServer server = new(Path.GetFullPath(directory), application);
        application.Run(server.AnswerAsync);
        try
        {
            await application.StartAsync();
        }
        catch (IOException e) when (e.InnerException is Microsoft.AspNetCore.Connections.AddressInUseException or SocketException)
        {
            await application.DisposeAsync();
            throw new PortTakenException(
                $"Port {port} of 127.0.0.1 is taken by another program: end it, or name another port with --port.");
        }

        server.BaseUrl = application.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        return server;
    }

    /// <summary>Serves a directory at the first free port from one on.</summary>
    /// <param name="directory">Of a mirror, or any other.</param>
    /// <param name="port">The first port; 0 takes any that is free.</param>
    /// <exception cref="StandInException">No such directory, or a hundred ports are taken.</exception>
    public static async Task<MirrorServer> StartAtOrAfterAsync(string directory, int port)
    {
        for (int next = port; ; next++)
        {
            try
            {
                return await StartAsync(directory, next);
            }
            catch (PortTakenException) when (next < port + 100)
            {
                // The next one, then.
            }
        }
    }

    /// <summary>From now on requests go wrong as the fault says; faults are looked at in the order they were added.</summary>
    public void AddFault(MirrorFault fault)
    {
        lock (_lock)
        {
            _faults.Add((fault, fault.Times));
        }
    }

    /// <summary>From now on all goes right.</summary>
    public void ClearFaults()
    {
        lock (_lock)
        {
            _faults.Clear();
        }
    }

    /// <summary>Forgets the requests so far.</summary>
    public void ClearRequests()
    {
        lock (_lock)
        {
            _requests.Clear();
        }
    }

    /// <summary>Ends the server and every connection, stalled ones too.</summary>
    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource now = new();
        await now.CancelAsync();
        await _application.StopAsync(now.Token);
        await _application.DisposeAsync();
    }

    private async Task AnswerAsync(HttpContext context)
    {
        string path = context.Request.Path.Value ?? "/";
        string? range = context.Request.Headers.Range;
        MirrorFault? fault = TakeFault(path);
        int index;
        lock (_lock)
        {
            index = _requests.Count;
            _requests.Add(new MirrorRequest(context.Request.Method, path, range, 0, 0, fault?.Kind));
        }

        long sent = 0;
        try
        {
            await AnswerAsync(context, path, fault, bytes => sent += bytes);
        }
        catch (OperationCanceledException)
        {
            // The client left; what it got stands in the record.
        }
        finally
        {
            lock (_lock)
            {
                if (index < _requests.Count && _requests[index].Path == path)
                {
                    _requests[index] = _requests[index] with { Status = context.Response.StatusCode, BytesSent = sent };
                }
            }
        }
    }

    private async Task AnswerAsync(HttpContext context, string path, MirrorFault? fault, Action<int> sent)
    {
        HttpResponse response = context.Response;
        string file = Path.GetFullPath(Path.Combine(_directory, path.TrimStart('/')));
        bool inside = file == _directory || file.StartsWith(_directory + "/", StringComparison.Ordinal);
        switch (fault?.Kind)
        {
            case MirrorFaultKind.Unavailable:
                response.StatusCode = StatusCodes.Status503ServiceUnavailable;
                return;
            case MirrorFaultKind.NotFound:
                response.StatusCode = StatusCodes.Status404NotFound;
                return;
            default:
                break;
        }

        if (!HttpMethods.IsGet(context.Request.Method) && !HttpMethods.IsHead(context.Request.Method))
        {
            response.StatusCode = StatusCodes.Status405MethodNotAllowed;
        }
        else if (inside && Directory.Exists(file))
        {
            await ListAsync(context, path, file, sent);
        }
        else if (inside && File.Exists(file))
        {
            await SendAsync(context, file, fault, sent);
        }
        else
        {
            response.StatusCode = StatusCodes.Status404NotFound;
        }
    }

    /// <summary>A listing in nginx' form, which Arch's mirrors show.</summary>
    private static async Task ListAsync(HttpContext context, string path, string directory, Action<int> sent)
    {
        if (!path.EndsWith('/'))
        {
            context.Response.Redirect(path + "/", permanent: true);
            return;
        }

        StringBuilder html = new();
        html.Append(
            CultureInfo.InvariantCulture,
            $"<html>\r\n<head><title>Index of {WebUtility.HtmlEncode(path)}</title></head>\r\n<body>\r\n<h1>Index of "
            + $"{WebUtility.HtmlEncode(path)}</h1><hr><pre><a href=\"../\">../</a>\r\n");
        var items = new DirectoryInfo(directory)
            .EnumerateFileSystemInfos()
            .OrderBy(i => !Directory.Exists(i.FullName))
            .ThenBy(i => i.Name, StringComparer.Ordinal);
        foreach (FileSystemInfo item in items)
        {
            bool folder = Directory.Exists(item.FullName);
            string name = folder ? item.Name + "/" : item.Name;
            if (name.StartsWith('.'))
            {
                continue;
            }

            FileSystemInfo target = item.ResolveLinkTarget(returnFinalTarget: true) ?? item;
            string size = folder ? "-" : ((FileInfo)target).Length.ToString(CultureInfo.InvariantCulture);
            string shown = name.Length > 50 ? name[..47] + "..>" : name;
            html.Append("<a href=\"")
                .Append(Uri.EscapeDataString(item.Name))
                .Append(folder ? "/" : "")
                .Append("\">")
                .Append(WebUtility.HtmlEncode(shown))
                .Append("</a>")
                .Append(' ', 51 - shown.Length);
            html.Append(CultureInfo.InvariantCulture, $"{target.LastWriteTimeUtc:dd-MMM-yyyy HH:mm}{size,20}\r\n");
        }

        byte[] body = Encoding.UTF8.GetBytes(html.Append("</pre><hr></body>\r\n</html>\r\n").ToString());
        context.Response.ContentType = "text/html";
        context.Response.ContentLength = body.Length;
        if (HttpMethods.IsGet(context.Request.Method))
        {
            await context.Response.Body.WriteAsync(body, context.RequestAborted);
            sent(body.Length);
        }
    }

    private static async Task SendAsync(HttpContext context, string file, MirrorFault? fault, Action<int> sent)
    {
        await using FileStream stream = new(
            file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, ChunkBytes, FileOptions.Asynchronous);
        DateTimeOffset modified = DateTimeOffset.FromUnixTimeSeconds(
            new DateTimeOffset(File.GetLastWriteTimeUtc(stream.SafeFileHandle)).ToUnixTimeSeconds());
        EntityTagHeaderValue tag = new($"\"{modified.ToUnixTimeSeconds():x}-{stream.Length:x}\"");
        ResponseHeaders headers = context.Response.GetTypedHeaders();
        headers.LastModified = modified;
        headers.ETag = tag;
        context.Response.Headers.AcceptRanges = "bytes";
        context.Response.ContentType = file.EndsWith(".txt", StringComparison.Ordinal) ? "text/plain" : "application/octet-stream";

        RequestHeaders asked = context.Request.GetTypedHeaders();
        bool unchanged = asked.IfNoneMatch.Count > 0
            ? asked.IfNoneMatch.Any(t => t.Compare(tag, useStrongComparison: false) || t.Equals(EntityTagHeaderValue.Any))
            : asked.IfModifiedSince >= modified;
        if (unchanged)
        {
            context.Response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }

        (long from, long to) = (0, stream.Length - 1);
        bool rangeHolds = asked.IfRange is not { } condition
            || (condition.EntityTag is { } same ? same.Compare(tag, useStrongComparison: true) : condition.LastModified == modified);
        if (rangeHolds && asked.Range is { Unit.Value: "bytes", Ranges.Count: 1 } range)
        {
            RangeItemHeaderValue part = range.Ranges.Single();
            from = part.From ?? Math.Max(0, stream.Length - part.To!.Value);
            to = part.From is null ? to : Math.Min(part.To ?? to, to);
            if (from > to)
            {
                context.Response.StatusCode = StatusCodes.Status416RangeNotSatisfiable;
                headers.ContentRange = new ContentRangeHeaderValue(stream.Length);
                return;
            }

            context.Response.StatusCode = StatusCodes.Status206PartialContent;
            headers.ContentRange = new ContentRangeHeaderValue(from, to, stream.Length);
        }

        context.Response.ContentLength = to - from + 1;
        if (HttpMethods.IsHead(context.Request.Method))
        {
            return;
        }

        stream.Position = from;
        byte[] buffer = new byte[ChunkBytes];
        long position = from;
        bool breaks = fault?.Kind is MirrorFaultKind.Stall or MirrorFaultKind.Reset or MirrorFaultKind.Truncated;
        long end = breaks ? Math.Clamp(fault!.AfterBytes, from, to + 1) : to + 1;
        await context.Response.StartAsync(context.RequestAborted);
        while (position < end)
        {
            int read = await stream.ReadAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, end - position)), context.RequestAborted);
            if (read == 0)
            {
                throw new IOException($"{file} became shorter while it was served.");
            }

            if (fault?.Kind == MirrorFaultKind.Corrupt)
            {
                for (int i = (int)Math.Clamp(fault.AfterBytes - position, 0, read); i < read; i++)
                {
                    buffer[i] = (byte)~buffer[i];
                }
            }

            await context.Response.Body.WriteAsync(buffer.AsMemory(0, read), context.RequestAborted);
            position += read;
            sent(read);
        }

        await context.Response.Body.FlushAsync(context.RequestAborted);
        if (breaks && position <= to)
        {
            await BreakAsync(context, fault!.Kind);
        }
    }

    private static async Task BreakAsync(HttpContext context, MirrorFaultKind kind)
    {
        if (kind == MirrorFaultKind.Stall)
        {
            await Task.Delay(Timeout.Infinite, context.RequestAborted);
        }

        Socket? socket = context.Features.Get<IConnectionSocketFeature>()?.Socket;
        if (kind == MirrorFaultKind.Reset)
        {
            // Closing with no time to linger sends RST, also past what the client has not read yet.
            socket?.Close(0);
        }
        else
        {
            // FIN after all that was written.
            socket?.Shutdown(SocketShutdown.Send);
        }

        context.Abort();
    }

    private MirrorFault? TakeFault(string path)
    {
        lock (_lock)
        {
            for (int i = 0; i < _faults.Count; i++)
            {
                (MirrorFault fault, int left) = _faults[i];
                if (left > 0 && Recipe.Matches(fault.PathPattern, path))
                {
                    _faults[i] = (fault, left - 1);
                    return fault;
                }
            }

            return null;
        }
    }
}
