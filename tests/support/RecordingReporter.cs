using System.Collections.Concurrent;

namespace ArchAzure.TestSupport;

/// <summary>Keeps what was reported, and lets a test act at a certain moment of the work.</summary>
internal sealed class RecordingReporter : IReporter
{
    public ConcurrentQueue<string> Details { get; } = new();

    public ConcurrentQueue<string> Lines { get; } = new();

    public ConcurrentQueue<string> Warnings { get; } = new();

    public ConcurrentQueue<ProgressUpdate> Updates { get; } = new();

    public string Everything => string.Join('\n', Details.Concat(Lines).Concat(Warnings).Concat(Updates.Select(update => update.Status)));

    /// <summary>Called with each progress status and each detail as it comes, on the thread that works.</summary>
    public Action<string>? Watch { get; set; }

    /// <summary>Waited for with each detail, before <see cref="Watch"/> is called.</summary>
    public Func<Task>? Look { get; set; }

    public void Verbose(string message)
    {
        Details.Enqueue(message);
        Look?.Invoke().GetAwaiter().GetResult();
        Watch?.Invoke(message);
    }

    public void Information(string message) => Lines.Enqueue(message);

    public void Warning(string message) => Warnings.Enqueue(message);

    public void Progress(ProgressUpdate update)
    {
        Updates.Enqueue(update);
        Watch?.Invoke(update.Status);
    }
}
