using Polly;
using Polly.Retry;

namespace ArchAzure;

/// <summary>How often something is tried in all, and the pauses between.</summary>
/// <param name="MaxAttempts">The first time included; at least 1.</param>
/// <param name="FirstPause">The first pause; each next one is about twice as long.</param>
/// <param name="MaxPause">The longest pause.</param>
internal sealed record RetryLimits(int MaxAttempts, TimeSpan FirstPause, TimeSpan MaxPause)
{
    /// <summary>
    /// Four attempts with about 1, 2 and 4 seconds between: enough for a restart or a lost packet, and nobody waits long for a true
    /// error.
    /// </summary>
    public static RetryLimits Default { get; } = new(4, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(10));
}

/// <summary>Attempts with growing pauses. Some jitter keeps many builds on one server from coming back at the same instant.</summary>
internal static class Retries
{
    /// <summary>
    /// How far a pause may be off its length. Polly's own jitter may make the next pause the shorter one; with this each is longer than
    /// the one before.
    /// </summary>
    private const double Jitter = 0.25;

    /// <summary>Makes the pipeline that repeats one thing.</summary>
    /// <param name="limits">How often.</param>
    /// <param name="what">What is repeated, as it begins the note.</param>
    /// <param name="note">Gets what failed, which attempt comes next, and in how many seconds.</param>
    /// <param name="isTransient">Whether a later attempt may get over an error.</param>
    /// <param name="askedPause">The pause that the other side asked for, if it did.</param>
    /// <param name="describe">What failed, for the note; null for the error's message.</param>
    public static ResiliencePipeline Pipeline(
        RetryLimits limits, string what, Action<string> note, Func<Exception, bool> isTransient,
        Func<Exception, TimeSpan?>? askedPause = null, Func<Exception, string>? describe = null)
    {
        if (limits.MaxAttempts <= 1)
        {
            return ResiliencePipeline.Empty;
        }

        return new ResiliencePipelineBuilder()
            .AddRetry(new RetryStrategyOptions
            {
                ShouldHandle = a =>
                    ValueTask.FromResult(
                        a.Outcome.Exception is { } e && !a.Context.CancellationToken.IsCancellationRequested && isTransient(e)),
                MaxRetryAttempts = limits.MaxAttempts - 1,
                DelayGenerator = a =>
                {
                    var pause = (a.Outcome.Exception is { } e ? askedPause?.Invoke(e) : null) ?? Pause(limits.FirstPause, a.AttemptNumber);
                    return ValueTask.FromResult<TimeSpan?>(pause < limits.MaxPause ? pause : limits.MaxPause);
                },
                OnRetry = a =>
                {
                    var error = a.Outcome.Exception!;
                    note(
                        $"{what}: {(describe is null ? error.Message : describe(error)).TrimEnd('.')}; attempt {a.AttemptNumber + 2} of "
                        + $"{limits.MaxAttempts} in {a.RetryDelay.TotalSeconds:0.0} s");
                    return ValueTask.CompletedTask;
                },
            })
            .Build();
    }

    /// <summary>The pause after an attempt, the first of which is number 0.</summary>
    internal static TimeSpan Pause(TimeSpan first, int attempt) =>
        first * Math.Pow(2, attempt) * (1 - Jitter + (2 * Jitter * Random.Shared.NextDouble()));
}
