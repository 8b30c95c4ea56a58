namespace ArchAzure.Containers;

/// <summary>How long the Docker engine may keep silent, and how often it is asked.</summary>
internal sealed record EngineLimits
{
    /// <summary>Longest wait for the answer to a question, or to the removal of a container.</summary>
    public TimeSpan AnswerTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Longest wait where the engine works on its disk before it answers: a container's making and start, an image's
    /// removal.</summary>
    public TimeSpan WorkTimeout { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Longest time in which a container becomes an image. The engine reports no progress of it; some GiB on a slow disk take
    /// minutes.</summary>
    public TimeSpan CommitTimeout { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>Longest time without a byte taken or a message sent in the middle of an import.</summary>
    public TimeSpan ImportSilence { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How often the engine is asked whether it is still there while a long work runs, e.g. a command that says nothing for
    /// minutes.</summary>
    public TimeSpan WatchInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Longest time for removing a container at the end, all attempts together.</summary>
    public TimeSpan CleanUpTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Longest wait, once the user has stopped the work, for a container that is just being made: only what is known can be
    /// removed.</summary>
    public TimeSpan StopTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>The most bytes of the engine's memory that a target may take. What does not fit there goes to its disk.</summary>
    public long TargetMemory { get; init; } = long.MaxValue;

    /// <summary>How often what may be repeated is tried.</summary>
    public RetryLimits Retries { get; init; } = RetryLimits.Default;
}
