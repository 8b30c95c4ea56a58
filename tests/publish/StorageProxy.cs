using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace ArchAzure.PublishTests;

/// <summary>A request as the storage got it.</summary>
internal sealed record StorageRequest(string Method, string Path, string Query, long Offset, long Length, int Status);

/// <summary>
/// Stands before Azurite: makes faults, keeps a list of the requests, and refuses what Azure refuses and Azurite does not.
/// </summary>
/// <remarks>https://learn.microsoft.com/rest/api/storageservices/put-page, put-blob and blob-service-error-codes.</remarks>
internal sealed class StorageProxy : IAsyncDisposable
{
    private const int LargestPage = 4 << 20;
    private readonly WebApplication _server;
    private readonly HttpClient _client;
    private readonly Uri _storage;

    private StorageProxy(WebApplication server, Uri storage)
    {
        _server = server;
        _storage = storage;
        _client = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false, UseProxy = false, AutomaticDecompression = DecompressionMethods.None,
        });
    }

    /// <summary>Where it listens.</summary>
    public Uri Address { get; private set; } = null!;

    /// <summary>What came through, in order of arrival.</summary>
    public ConcurrentQueue<StorageRequest> Requests { get; } = new();

    /// <summary>What goes wrong, the first that strikes.</summary>
    public ConcurrentQueue<StorageFault> Faults { get; } = new();

    /// <summary>Added to the storage's clock in its answers.</summary>
    public TimeSpan ClockOffset { get; set; }

    /// <summary>The paths of blobs that belong to managed disks, and whether access is granted.</summary>
    public ConcurrentDictionary<string, bool> DiskBlobs { get; } = new();

    /// <summary>Called with each page write that was done, before its answer.</summary>
    public Action<StorageRequest>? OnWritten { get; set; }

    public IEnumerable<StorageRequest> Writes => Requests.Where(request => request is { Method: "PUT", Length: > 0, Status: 201 });

    public static async Task<StorageProxy> StartAsync(Uri storage)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(options =>
        {
            options.Limits.MaxRequestBodySize = null;
            options.Limits.MinRequestBodyDataRate = null;
            options.Listen(IPAddress.Loopback, 0);
        });
        var proxy = new StorageProxy(builder.Build(), storage);
        proxy._server.Run(proxy.AnswerAsync);
        await proxy._server.StartAsync();
        proxy.Address = new Uri(proxy._server.Urls.Single());
        return proxy;
    }

    public async ValueTask DisposeAsync()
    {
        await _server.StopAsync(new CancellationToken(canceled: true));
        await _server.DisposeAsync();
        _client.Dispose();
    }

    private async Task AnswerAsync(HttpContext context)
    {
        var (request, aborted) = (context.Request, context.RequestAborted);
        var fault = Faults.FirstOrDefault(fault => fault.Strikes(request.Method));
        switch (fault?.Kind)
        {
            case FaultKind.Reset:
                context.Abort();
                return;
            case FaultKind.Stall:
                await Task.Delay(Timeout.Infinite, aborted).ContinueWith(_ => { }, TaskScheduler.Default);
                return;
            case FaultKind.Cut:
                _ = await request.Body.ReadAsync(new byte[1000], aborted);
                context.Abort();
                return;
            case FaultKind.Status:
                if (fault.RetryAfter is { } seconds)
                {
                    context.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
                }

                await RefuseAsync(context, fault.Status, fault.Code);
                return;
        }

        using var body = new MemoryStream();
        await request.Body.CopyToAsync(body, aborted);
        if (fault?.Kind == FaultKind.Damage && body.Length > 0)
        {
            body.GetBuffer()[body.Length / 2] ^= 1;
        }

        if ((DiskRefusal(request) ?? Refusal(request, body)) is { } refusal)
        {
            Note(request, body.Length, refusal.Status);
            await RefuseAsync(context, refusal.Status, refusal.Code);
            return;
        }

        using var forwarded = new HttpRequestMessage(
            new HttpMethod(request.Method), new Uri(_storage, request.Path.ToUriComponent() + request.QueryString));
        forwarded.Content = new ByteArrayContent(body.GetBuffer(), 0, (int)body.Length);
        foreach (var (name, values) in request.Headers)
        {
            if (name is not ("Host" or "Connection" or "Transfer-Encoding" or "Content-Length")
                && !forwarded.Headers.TryAddWithoutValidation(name, values.AsEnumerable()))
            {
                forwarded.Content.Headers.TryAddWithoutValidation(name, values.AsEnumerable());
            }
        }

        using var answer = await _client.SendAsync(forwarded, HttpCompletionOption.ResponseHeadersRead, aborted);
        var note = Note(request, body.Length, (int)answer.StatusCode);
        if (note is { Length: > 0, Status: 201 })
        {
            OnWritten?.Invoke(note);
        }

        if (answer.StatusCode == HttpStatusCode.Forbidden && answer.Headers.TryGetValues("x-ms-error-code", out var codes)
            && codes.Single() == "AuthorizationFailure")
        {
            // So Azurite; Azure's own word for a signature that is wrong or not valid now is another.
            await RefuseAsync(context, 403, "AuthenticationFailed");
            return;
        }

        if (fault?.Kind == FaultKind.LostAnswer)
        {
            context.Abort();
            return;
        }

        context.Response.StatusCode = (int)answer.StatusCode;
        foreach (var (name, values) in answer.Headers.Concat(answer.Content.Headers))
        {
            if (name is not ("Transfer-Encoding" or "Connection" or "Keep-Alive" or "Date"))
            {
                context.Response.Headers[name] = values.ToArray();
            }
        }

        context.Response.Headers.Date = Now;
        if (request.Method != "HEAD")
        {
            await answer.Content.CopyToAsync(context.Response.Body, aborted);
        }
    }

    private StorageRequest Note(HttpRequest request, long length, int status)
    {
        var note = new StorageRequest(
            request.Method, request.Path, request.QueryString.Value ?? "", Range(request)?.From ?? -1, length, status);
        Requests.Enqueue(note);
        return note;
    }

    private static (long From, long To)? Range(HttpRequest request)
    {
        var range = request.Headers["x-ms-range"].FirstOrDefault() ?? request.Headers.Range.FirstOrDefault();
        var ends = range?.Replace("bytes=", "", StringComparison.Ordinal).Split('-');
        return ends is [var from, var to] && to.Length > 0
            ? (long.Parse(from, CultureInfo.InvariantCulture), long.Parse(to, CultureInfo.InvariantCulture))
            : null;
    }

    /// <summary>A disk's blob is there while access is granted, and takes pages, nothing else: no conditions, metadata or
    /// properties.</summary>
    /// <remarks>Known from what AzCopy avoids there: pageBlobSenderBase in sender-pageBlob.go of Azure/azure-storage-azcopy.</remarks>
    private (int Status, string Code)? DiskRefusal(HttpRequest request) =>
        !DiskBlobs.TryGetValue(request.Path, out var isGranted) ? null
        : !isGranted ? (403, "AuthenticationFailed")
        : request.Method is "DELETE" || (request.Method == "PUT" && request.Query["comp"] != "page")
            || request.Headers.Keys.Any(name => name.StartsWith("If-", StringComparison.OrdinalIgnoreCase))
            ? (403, "AuthorizationPermissionMismatch")
            : null;

    [SuppressMessage("Security", "CA5351", Justification = "Content-MD5 is what Azure checks.")]
    private static (int Status, string Code)? Refusal(HttpRequest request, MemoryStream body)
    {
        if (request.Method != "PUT")
        {
            return null;
        }

        if (request.Headers["x-ms-blob-content-length"].FirstOrDefault() is { } size
            && long.Parse(size, CultureInfo.InvariantCulture) % 512 != 0)
        {
            return (400, "InvalidHeaderValue");
        }

        if (request.Query["comp"] != "page")
        {
            return null;
        }

        if (body.Length > LargestPage)
        {
            return (413, "RequestBodyTooLarge");
        }

        if (Range(request) is not { } range || range.From % 512 != 0
            || (range.To + 1) % 512 != 0 || range.To + 1 - range.From != body.Length)
        {
            return (416, "InvalidPageRange");
        }

        return request.Headers.ContentMD5.FirstOrDefault() is { } wanted
            && wanted != Convert.ToBase64String(MD5.HashData(body.GetBuffer().AsSpan(0, (int)body.Length)))
            ? (400, "Md5Mismatch")
            : null;
    }

    private string Now => (DateTimeOffset.UtcNow + ClockOffset).ToString("R", CultureInfo.InvariantCulture);

    private async Task RefuseAsync(HttpContext context, int status, string code)
    {
        context.Response.StatusCode = status;
        context.Response.Headers["x-ms-error-code"] = code;
        context.Response.Headers.Date = Now;
        if (context.Request.Method == "HEAD")
        {
            return;
        }

        context.Response.ContentType = "application/xml";
        await context.Response.WriteAsync(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>"
            + $"<Error><Code>{code}</Code><Message>{code} by the tests.</Message></Error>");
    }
}
