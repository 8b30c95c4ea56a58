using System.Net;
using System.Net.Http.Headers;
using Polly;

namespace ArchAzure.Bootstrap;

/// <summary>How stubborn a transfer is.</summary>
internal sealed record TransferLimits
{
    /// <summary>Longest time without a byte, in a wait for the answer as well as between two parts of the body.</summary>
    public TimeSpan StallTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How often one transfer is tried in all, the first time included; at least 1.</summary>
    public int MaxAttempts { get; init; } = 5;

    /// <summary>The first pause between two attempts; each next one is about twice as long.</summary>
    public TimeSpan FirstPause { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The longest pause, also where a server asks for a longer one (<c>Retry-After</c>).</summary>
    public TimeSpan MaxPause { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>
/// What the release index and the downloader share: the client, one request with a limit on silence, and what is worth a retry.
/// </summary>
internal static class ArchHttp
{
    /// <summary>
    /// A client fit for long downloads: no limit on the whole time, no decompression (it would break ranges), the system's proxy.
    /// </summary>
    public static HttpClient CreateClient()
    {
        var client = new HttpClient(new SocketsHttpHandler
        {
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = TimeSpan.FromSeconds(30),
            PooledConnectionLifetime = TimeSpan.FromMinutes(2),
            MaxAutomaticRedirections = 10,
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
        client.DefaultRequestHeaders.UserAgent.Add(
            new ProductInfoHeaderValue("ArchAzure", typeof(ArchHttp).Assembly.GetName().Version?.ToString(3)));
        return client;
    }

    /// <summary>Refuses everything but http and https.</summary>
    internal static void CheckScheme(Uri uri)
    {
        if (!uri.IsAbsoluteUri || (uri.Scheme != Uri.UriSchemeHttp && uri.Scheme != Uri.UriSchemeHttps))
        {
            throw new ArchAzureException("UnsupportedAddress", ErrorKind.InvalidInput,
                $"'{WebText.Show(uri)}' cannot be downloaded: only http:// and https:// addresses can. Give one of those, or a local file "
                + "by -BootstrapPath.", uri);
        }
    }

    internal static ResiliencePipeline Retries(TransferLimits limits, IReporter reporter, string what) =>
        ArchAzure.Retries.Pipeline(
            new RetryLimits(limits.MaxAttempts, limits.FirstPause, limits.MaxPause),
            what,
            reporter.Verbose,
            e => e is TransientTransferException,
            e => (e as TransientTransferException)?.RetryAfter);

    /// <summary>Sends a GET and returns when the headers are there.</summary>
    /// <exception cref="TransientTransferException">The server could not be reached or kept silent.</exception>
    internal static async Task<HttpResponseMessage> GetAsync(
        HttpClient client, Uri uri, TransferLimits limits, Action<HttpRequestMessage>? prepare, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, uri);
        prepare?.Invoke(request);
        return await WithStallLimitAsync(
            token => client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, token), limits, cancellationToken);
    }

    /// <summary>
    /// Runs one wait on the network under the limit on silence, and turns what may pass by itself into
    /// <see cref="TransientTransferException"/>.
    /// </summary>
    internal static async Task<T> WithStallLimitAsync<T>(
        Func<CancellationToken, Task<T>> operation, TransferLimits limits, CancellationToken cancellationToken)
    {
        using var stall = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        stall.CancelAfter(limits.StallTimeout);
        try
        {
            return await operation(stall.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TransientTransferException($"the server sent nothing for {limits.StallTimeout.TotalSeconds:0.#} s");
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.SecureConnectionError)
        {
            throw new PermanentTransferException("DownloadFailed",
                $"no secure connection could be made ({Innermost(e)})", "Check this machine's clock and its certificates (package "
                + "ca-certificates)", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new TransientTransferException(Innermost(e), null, e);
        }
    }

    /// <summary>Whether a server has a file; its content is not read.</summary>
    /// <exception cref="ArchAzureException"><c>DownloadDenied</c> or <c>DownloadFailed</c>.</exception>
    internal static async Task<bool> ExistsAsync(
        HttpClient client, Uri uri, TransferLimits limits, IReporter reporter, CancellationToken cancellationToken)
    {
        try
        {
            await Retries(limits, reporter, WebText.Show(uri)).ExecuteAsync(
                async token =>
                {
                    using var response = await GetAsync(client, uri, limits, null, token);
                    CheckStatus(response, limits);
                },
                cancellationToken);
            return true;
        }
        catch (PermanentTransferException e) when (e.ErrorId == "DownloadNotFound")
        {
            return false;
        }
        catch (Exception e) when (e is TransientTransferException or PermanentTransferException)
        {
            throw Failed(uri, e, limits, "");
        }
    }

    /// <summary>Throws for every status but success.</summary>
    internal static void CheckStatus(HttpResponseMessage response, TransferLimits limits)
    {
        if (response.IsSuccessStatusCode)
        {
            return;
        }

        var status = $"the server answered {(int)response.StatusCode} {WebText.Plain(response.ReasonPhrase ?? "")}".TrimEnd();
        switch ((int)response.StatusCode)
        {
            case 408 or 425 or 429 or >= 500:
                throw new TransientTransferException(status, RetryAfter(response, limits));
            case 404 or 410:
                throw new PermanentTransferException("DownloadNotFound", status, "Check the address, or choose another server");
            case 401 or 403 or 407:
                throw new PermanentTransferException(
                    "DownloadDenied", status, "Choose a server that asks for no password, or check your proxy's settings");
            case >= 300 and < 400:
                var target = response.Headers.Location is { } location ? $" to {WebText.Show(location)}" : "";
                throw new PermanentTransferException("DownloadFailed",
                    $"{status}, a redirect{target} that is not followed (from https to http, or too many of them)",
                    "Give the final address");
            default:
                throw new PermanentTransferException("DownloadFailed", status, "Check the address, or choose another server");
        }
    }

    /// <summary>The error a person reads when a transfer has failed for good.</summary>
    internal static ArchAzureException Failed(Uri uri, Exception cause, TransferLimits limits, string kept)
    {
        var permanent = cause as PermanentTransferException;
        var attempts = permanent is null ? $" (tried {limits.MaxAttempts} times)" : "";
        var remedy = permanent?.Remedy
            ?? "Check the network and run the command again, or choose another server by -ReleaseUrl or RELEASE_URL";
        return new ArchAzureException(
            permanent?.ErrorId ?? "DownloadFailed",
            permanent?.ErrorId == "DownloadNotFound" ? ErrorKind.NotFound : ErrorKind.ConnectionError,
            $"{WebText.Show(uri)} could not be downloaded: {cause.Message}{attempts}. {remedy}.{kept}",
            WebText.Show(uri), cause);
    }

    private static TimeSpan? RetryAfter(HttpResponseMessage response, TransferLimits limits) => response.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } => date - DateTimeOffset.UtcNow is { Ticks: > 0 } wait ? wait : limits.FirstPause,
        _ => null,
    };

    private static string Innermost(Exception e)
    {
        while (e.InnerException is { } inner)
        {
            e = inner;
        }

        return WebText.Plain(e.Message).TrimEnd('.');
    }
}

/// <summary>Something a later attempt may get over.</summary>
internal sealed class TransientTransferException(
    string message, TimeSpan? retryAfter = null, Exception? inner = null) : Exception(message, inner)
{
    public TimeSpan? RetryAfter { get; } = retryAfter;
}

/// <summary>Something no retry changes.</summary>
internal sealed class PermanentTransferException(
    string errorId, string message, string remedy, Exception? inner = null) : Exception(message, inner)
{
    public string ErrorId { get; } = errorId;

    public string Remedy { get; } = remedy;
}
