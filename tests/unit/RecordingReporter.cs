using System.Collections.Concurrent;

namespace ArchAzure.UnitTests;

/// <summary>Keeps everything that was reported.</summary>
internal sealed class RecordingReporter : IReporter
{
    public ConcurrentQueue<string> VerboseMessages { get; } = new();

    public ConcurrentQueue<string> Warnings { get; } = new();

    public ConcurrentQueue<ProgressUpdate> Updates { get; } = new();

    public string Everything => string.Join('\n', VerboseMessages.Concat(Warnings).Concat(Updates.Select(u => u.Status)));

    public void Verbose(string message) => VerboseMessages.Enqueue(message);

    public void Information(string message) => VerboseMessages.Enqueue(message);

    public void Warning(string message) => Warnings.Enqueue(message);

    public void Progress(ProgressUpdate update) => Updates.Enqueue(update);
}
