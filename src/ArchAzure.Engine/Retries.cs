using Polly;
using Polly.Retry;

namespace ArchAzure;

/// <summary>How often something is tried in all, and the pauses between.</summary>
/// <param name="MaxAttempts">The first time included; at least 1.</param>
/// <param name="FirstPause">The first pause; each next one is about twice as long.</param>
/// <param name="MaxPause">The longest pause.</param>
public sealed record RetryLimits(int MaxAttempts, TimeSpan FirstPause, TimeSpan MaxPause)
{
    /// <summary>Four attempts with about 1, 2 and 4 seconds between: enough for a restart or a lost packet, and nobody waits long for a true error.</summary>
    public static RetryLimits Default { get; } = new(4, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(10));
}

/// <summary>Attempts with growing pauses. Some jitter keeps many builds on one server from coming back at the same instant.</summary>
internal static class Retries
{
    /// <summary>Makes the pipeline that repeats one thing.</summary>
    /// <param name="limits">How often.</param>
    /// <param name="what">What is repeated, as it begins the note.</param>
    /// <param name="note">Gets what failed, which attempt comes next, and in how many seconds.</param>
    /// <param name="mayPass">Whether a later attempt may get over an error.</param>
    /// <param name="askedPause">The pause that the other side asked for, if it did.</param>
    public static ResiliencePipeline Pipeline(
        RetryLimits limits, string what, Action<string> note, Func<Exception, bool> mayPass, Func<Exception, TimeSpan?>? askedPause = null)
    {
        if (limits.MaxAttempts <= 1)
        {
            return ResiliencePipeline.Empty;
        }

        return new ResiliencePipelineBuilder()
            .AddRetry(new RetryStrategyOptions
            {
                ShouldHandle = a => ValueTask.FromResult(a.Outcome.Exception is { } e && !a.Context.CancellationToken.IsCancellationRequested && mayPass(e)),
                MaxRetryAttempts = limits.MaxAttempts - 1,
                BackoffType = DelayBackoffType.Exponential,
                UseJitter = true,
                Delay = limits.FirstPause,
                MaxDelay = limits.MaxPause,
                DelayGenerator = a => ValueTask.FromResult(
                    a.Outcome.Exception is { } e && askedPause?.Invoke(e) is { } wait
                        ? wait < limits.MaxPause ? wait : limits.MaxPause
                        : (TimeSpan?)null),
                OnRetry = a =>
                {
                    note($"{what}: {a.Outcome.Exception?.Message.TrimEnd('.')}; attempt {a.AttemptNumber + 2} of {limits.MaxAttempts} in {a.RetryDelay.TotalSeconds:0.0} s");
                    return ValueTask.CompletedTask;
                },
            })
            .Build();
    }
}
