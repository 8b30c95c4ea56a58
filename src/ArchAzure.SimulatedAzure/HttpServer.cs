using System.Globalization;
using System.Text;

namespace ArchAzure.SimulatedAzure;

/// <summary>A request as it came over the wire.</summary>
/// <param name="Method">In capitals, e.g. <c>GET</c>.</param>
/// <param name="Target">Path and query, e.g. <c>/machine/?comp=goalstate</c>.</param>
/// <param name="Headers">By name, whatever its case; of a header that came twice the values are joined by commas.</param>
/// <param name="Body">The body's bytes, empty where there is none.</param>
internal sealed record HttpRequest(string Method, string Target, IReadOnlyDictionary<string, string> Headers, ReadOnlyMemory<byte> Body)
{
    /// <summary>The target without its query, and without a slash at its end.</summary>
    public string Path => Target.Split('?', 2)[0].TrimEnd('/') is { Length: > 0 } path ? path : "/";

    /// <summary>The query's parameters, decoded; the first of a name rules.</summary>
    public IReadOnlyDictionary<string, string> Query => _query ??= ParseQuery(Target);

    private IReadOnlyDictionary<string, string>? _query;

    /// <summary>A header's value, or null.</summary>
    public string? Header(string name) => Headers.TryGetValue(name, out var value) ? value : null;

    private static Dictionary<string, string> ParseQuery(string target)
    {
        var query = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var pair in target.Split('?', 2).Skip(1).SelectMany(q => q.Split('&', StringSplitOptions.RemoveEmptyEntries)))
        {
            var parts = pair.Split('=', 2);
            query.TryAdd(Uri.UnescapeDataString(parts[0]), parts.Length > 1 ? Uri.UnescapeDataString(parts[1]) : "");
        }

        return query;
    }
}

/// <summary>An answer.</summary>
/// <param name="Status">The HTTP status.</param>
/// <param name="ContentType">The body's type, or null where there is no body.</param>
/// <param name="Body">The body.</param>
internal sealed record HttpResponse(int Status, string? ContentType = null, ReadOnlyMemory<byte> Body = default)
{
    /// <summary>More headers.</summary>
    public IReadOnlyList<(string Name, string Value)> Headers { get; init; } = [];

    /// <summary>A text in UTF-8.</summary>
    public static HttpResponse Text(int status, string contentType, string text) => new(status, contentType, Encoding.UTF8.GetBytes(text));
}

/// <summary>
/// HTTP/1.1 over any stream: what the platform's services need (RFC 9112), with limits on what it reads.
/// </summary>
/// <remarks>
/// Why our own: the connections are streams of the simulated network, not sockets; besides, HttpListener on Linux
/// answers only requests whose Host header is the address it listens at, and the guest says 168.63.129.16.
/// ASP.NET Core is not there in a PowerShell session.
/// </remarks>
internal sealed class HttpServer
{
    private const int MaximumHead = 64 * 1024;
    private const int MaximumBody = 64 * 1024 * 1024;

    // Of all connections together, since a guest may open many: one long body, and the usual short ones.
    private const long MaximumBodies = MaximumBody + (16 << 20);

    private readonly Func<HttpRequest, CancellationToken, Task<HttpResponse>> _handle;
    private readonly Action<HttpResponse, string>? _refused;
    private long _bodies;

    /// <summary>Creates the server.</summary>
    /// <param name="handle">Answers a request.</param>
    /// <param name="refused">Told of what was not HTTP, with the answer given and the first line that came.</param>
    public HttpServer(Func<HttpRequest, CancellationToken, Task<HttpResponse>> handle, Action<HttpResponse, string>? refused = null)
    {
        _handle = handle;
        _refused = refused;
    }

    /// <summary>Answers requests on one connection until it ends.</summary>
    public async Task ServeAsync(Stream connection, CancellationToken cancellationToken)
    {
        var reader = new Reader(connection, this);
        try
        {
            await ServeAsync(connection, reader, cancellationToken);
        }
        finally
        {
            reader.LetGoOfBody();
        }
    }

    private async Task ServeAsync(Stream connection, Reader reader, CancellationToken cancellationToken)
    {
        while (true)
        {
            reader.LetGoOfBody();
            HttpRequest? request;
            var firstLine = "";
            try
            {
                var head = await reader.ReadHeadAsync(cancellationToken);
                if (head is null)
                {
                    return;
                }

                firstLine = head.Split("\r\n", 2)[0];
                request = await ReadRequestAsync(head, reader, connection, cancellationToken);
            }
            catch (BadRequestException e)
            {
                var response = HttpResponse.Text(e.Status, "text/plain", e.Message);
                _refused?.Invoke(response, firstLine);
                await WriteAsync(connection, response, withBody: true, close: true, cancellationToken);
                return;
            }

            HttpResponse answer;
            try
            {
                answer = await _handle(request, cancellationToken);
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // A fault of ours must show in the guest's log as the server's, not as a silent end of the connection.
                answer = HttpResponse.Text(500, "text/plain", e.Message);
                _refused?.Invoke(answer, firstLine);
            }

            var close = string.Equals(request.Header("connection"), "close", StringComparison.OrdinalIgnoreCase);
            await WriteAsync(connection, answer, withBody: request.Method != "HEAD", close, cancellationToken);
            if (close)
            {
                return;
            }
        }
    }

    private static async Task<HttpRequest> ReadRequestAsync(
        string head, Reader reader, Stream connection, CancellationToken cancellationToken)
    {
        var lines = head.Split("\r\n");
        var start = lines[0].Split(' ');
        if (start.Length != 3 || !start[2].StartsWith("HTTP/1.", StringComparison.Ordinal) || start[0].Length == 0
            || !start[0].All(char.IsAsciiLetterUpper))
        {
            throw new BadRequestException(400, "The request line is not one of HTTP/1.");
        }

        var target = start[1];
        if (target.StartsWith("http://", StringComparison.OrdinalIgnoreCase))
        {
            target = Uri.TryCreate(target, UriKind.Absolute, out var uri) ? uri.PathAndQuery : "";
        }

        if (!target.StartsWith('/'))
        {
            throw new BadRequestException(400, "The request's target is not a path.");
        }

        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var line in lines.Skip(1))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon <= 0 || line[..colon].Any(c => c is <= ' ' or >= (char)127))
            {
                throw new BadRequestException(400, "A header line has no name.");
            }

            var (name, value) = (line[..colon], line[(colon + 1)..].Trim(' ', '\t'));
            headers[name] = headers.TryGetValue(name, out var before) ? before + "," + value : value;
        }

        if (string.Equals(headers.GetValueOrDefault("expect"), "100-continue", StringComparison.OrdinalIgnoreCase))
        {
            await connection.WriteAsync("HTTP/1.1 100 Continue\r\n\r\n"u8.ToArray(), cancellationToken);
        }

        byte[] body = [];
        if (headers.TryGetValue("transfer-encoding", out var encoding))
        {
            if (!string.Equals(encoding, "chunked", StringComparison.OrdinalIgnoreCase) || headers.ContainsKey("content-length"))
            {
                throw new BadRequestException(400, "The body's length is not told in one way that HTTP/1.1 knows.");
            }

            body = await ReadChunksAsync(reader, cancellationToken);
        }
        else if (headers.TryGetValue("content-length", out var text))
        {
            if (!long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var length))
            {
                throw new BadRequestException(400, "Content-Length is not a number.");
            }

            body = length <= MaximumBody ? await reader.ReadExactlyAsync((int)length, cancellationToken)
                : throw new BadRequestException(413, $"The body is longer than {MaximumBody} bytes.");
        }

        return new HttpRequest(start[0], target, headers, body);
    }

    private static async Task<byte[]> ReadChunksAsync(Reader reader, CancellationToken cancellationToken)
    {
        using var body = new MemoryStream();
        while (true)
        {
            var line = (await reader.ReadLineAsync(cancellationToken)).Split(';')[0].Trim();
            if (!int.TryParse(line, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var size) || size < 0)
            {
                throw new BadRequestException(400, "A chunk's size is not a hexadecimal number.");
            }

            if (body.Length + size > MaximumBody)
            {
                throw new BadRequestException(413, $"The body is longer than {MaximumBody} bytes.");
            }

            if (size == 0)
            {
                // Trailer fields say nothing here.
                _ = await reader.ReadHeadAsync(cancellationToken, mayBeEmpty: true);
                return body.ToArray();
            }

            body.Write(await reader.ReadExactlyAsync(size, cancellationToken));
            if ((await reader.ReadLineAsync(cancellationToken)).Length > 0)
            {
                throw new BadRequestException(400, "A chunk is longer than its size says.");
            }
        }
    }

    private static async Task WriteAsync(
        Stream connection, HttpResponse response, bool withBody, bool close, CancellationToken cancellationToken)
    {
        var head = new StringBuilder();
        head.Append(CultureInfo.InvariantCulture, $"HTTP/1.1 {response.Status} {Reason(response.Status)}\r\n");
        head.Append("Server: ArchAzure-SimulatedAzure\r\n");
        head.Append(CultureInfo.InvariantCulture, $"Date: {DateTimeOffset.UtcNow:R}\r\n");
        if (response.ContentType is not null)
        {
            head.Append(CultureInfo.InvariantCulture, $"Content-Type: {response.ContentType}\r\n");
        }

        foreach (var (name, value) in response.Headers)
        {
            head.Append(CultureInfo.InvariantCulture, $"{name}: {value}\r\n");
        }

        if (response.Status is not 204 and not 304)
        {
            head.Append(CultureInfo.InvariantCulture, $"Content-Length: {response.Body.Length}\r\n");
        }

        head.Append(close ? "Connection: close\r\n\r\n" : "\r\n");
        byte[] message = withBody
            ? [.. Encoding.ASCII.GetBytes(head.ToString()), .. response.Body.Span] : Encoding.ASCII.GetBytes(head.ToString());
        await connection.WriteAsync(message, cancellationToken);
        await connection.FlushAsync(cancellationToken);
    }

    private static string Reason(int status) => status switch
    {
        200 => "OK",
        201 => "Created",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    };

    private sealed class BadRequestException(int status, string message) : Exception(message)
    {
        public int Status { get; } = status;
    }

    private sealed class Reader(Stream stream, HttpServer server)
    {
        private readonly byte[] _buffer = new byte[8192];
        private int _start;
        private int _end;
        private long _body;

        /// <summary>The request is answered: its body takes no memory any more.</summary>
        public void LetGoOfBody()
        {
            Interlocked.Add(ref server._bodies, -_body);
            _body = 0;
        }

        /// <summary>
        /// Request line and headers, or null where the connection ended before them; or the fields behind a body, which may be none.
        /// </summary>
        public async Task<string?> ReadHeadAsync(CancellationToken cancellationToken, bool mayBeEmpty = false)
        {
            var head = new StringBuilder();
            while (true)
            {
                var line = await TryReadLineAsync(cancellationToken);
                if (line is null)
                {
                    return head.Length == 0 && !mayBeEmpty ? null : throw new BadRequestException(400, "The request ends in its head.");
                }

                if (line.Length == 0)
                {
                    if (head.Length == 0 && !mayBeEmpty)
                    {
                        // RFC 9112, 2.2: an empty line before a request is passed over.
                        continue;
                    }

                    return head.ToString();
                }

                if (head.Length > 0)
                {
                    head.Append("\r\n");
                }

                head.Append(line);
                if (head.Length > MaximumHead)
                {
                    throw new BadRequestException(431, $"The request's head is longer than {MaximumHead} bytes.");
                }
            }
        }

        public async Task<string> ReadLineAsync(CancellationToken cancellationToken) =>
            await TryReadLineAsync(cancellationToken) ?? throw new BadRequestException(400, "The request ends in its body.");

        public async Task<byte[]> ReadExactlyAsync(int length, CancellationToken cancellationToken)
        {
            // It grows with what comes: what is announced may never do.
            using var bytes = new MemoryStream();
            while (bytes.Length < length)
            {
                if (_start == _end && !await FillAsync(cancellationToken))
                {
                    throw new BadRequestException(400, $"The body ends after {bytes.Length} of {length} bytes.");
                }

                var count = Math.Min(length - (int)bytes.Length, _end - _start);
                bytes.Write(_buffer, _start, count);
                _start += count;
                _body += count;
                if (Interlocked.Add(ref server._bodies, count) > MaximumBodies)
                {
                    throw new BadRequestException(503, $"The bodies of all requests together are longer than {MaximumBodies} bytes.");
                }
            }

            return bytes.ToArray();
        }

        private async Task<string?> TryReadLineAsync(CancellationToken cancellationToken)
        {
            var line = new List<byte>();
            while (true)
            {
                if (_start == _end && !await FillAsync(cancellationToken))
                {
                    return line.Count == 0 ? null : throw new BadRequestException(400, "The request ends in a line.");
                }

                var value = _buffer[_start++];
                if (value == (byte)'\n')
                {
                    if (line.Count > 0 && line[^1] == (byte)'\r')
                    {
                        line.RemoveAt(line.Count - 1);
                    }

                    return Encoding.Latin1.GetString(line.ToArray());
                }

                if (line.Count > MaximumHead)
                {
                    throw new BadRequestException(431, $"A line is longer than {MaximumHead} bytes.");
                }

                line.Add(value);
            }
        }

        private async Task<bool> FillAsync(CancellationToken cancellationToken)
        {
            _start = 0;
            _end = await stream.ReadAsync(_buffer, cancellationToken);
            return _end > 0;
        }
    }
}
