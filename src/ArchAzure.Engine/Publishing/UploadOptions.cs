using Azure.Core;
using Azure.Core.Pipeline;
using Azure.Storage.Blobs;

namespace ArchAzure.Publishing;

/// <summary>What is checked of an upload before its footer is sent.</summary>
public enum UploadVerification
{
    /// <summary>
    /// Each request carries the MD5 of its data, which Azure checks; what an earlier run has sent is read back; in the end the ranges of
    /// the blob must be those of the data.
    /// </summary>
    Ranges,

    /// <summary>In addition, all data is read back and compared.</summary>
    Content,
}

/// <summary>How an upload goes about it.</summary>
internal sealed record UploadOptions
{
    /// <summary>What is checked.</summary>
    public UploadVerification Verification { get; init; }

    /// <summary>Requests at a time, of 4 MiB at most.</summary>
    public int Parallelism { get; init; } = 8;

    /// <summary>How often a request is tried, and the pauses, where the server does not say how long (Retry-After).</summary>
    public RetryLimits Retries { get; init; } = new(8, TimeSpan.FromSeconds(0.8), TimeSpan.FromSeconds(60));

    /// <summary>How long a request may stand still.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(100);

    /// <summary>Options of the SDK's client for blobs.</summary>
    /// <param name="note">Gets each attempt that failed.</param>
    public BlobClientOptions ForBlobs(Action<string> note) => Apply(new BlobClientOptions(), note);

    /// <summary>Fills in the options of one of the SDK's clients.</summary>
    public T Apply<T>(T options, Action<string> note)
        where T : ClientOptions
    {
        options.Retry.Mode = RetryMode.Exponential;
        options.Retry.MaxRetries = Retries.MaxAttempts - 1;
        options.Retry.Delay = Retries.FirstPause;
        options.Retry.MaxDelay = Retries.MaxPause;
        options.Retry.NetworkTimeout = RequestTimeout;
        options.Diagnostics.IsTelemetryEnabled = false;
        options.AddPolicy(new RetryNotes(note), HttpPipelinePosition.PerRetry);
        return options;
    }

    /// <summary>Tells of each attempt that is going to be repeated; never of its query, where a signature may be.</summary>
    private sealed class RetryNotes(Action<string> note) : HttpPipelinePolicy
    {
        public override void Process(HttpMessage message, ReadOnlyMemory<HttpPipelinePolicy> pipeline) =>
            ProcessAsync(message, pipeline).AsTask().GetAwaiter().GetResult();

        public override async ValueTask ProcessAsync(HttpMessage message, ReadOnlyMemory<HttpPipelinePolicy> pipeline)
        {
            var request = $"{message.Request.Method} {message.Request.Uri.Host}{message.Request.Uri.Path}";
            try
            {
                await ProcessNextAsync(message, pipeline);
            }
            catch (Exception e) when (!message.CancellationToken.IsCancellationRequested)
            {
                note($"{request}: {e.GetBaseException().Message}");
                throw;
            }

            if (message.Response.Status is 408 or 429 or >= 500)
            {
                note($"{request}: {message.Response.Status} {message.Response.ReasonPhrase}");
            }
        }
    }
}
