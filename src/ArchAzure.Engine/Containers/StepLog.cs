using System.Globalization;

namespace ArchAzure.Containers;

/// <summary>The full log of one step's run: each command and all it says, with the seconds since the start.</summary>
public sealed class StepLog : IDisposable
{
    private readonly StreamWriter writer;
    private readonly IReporter reporter;
    private readonly System.Diagnostics.Stopwatch clock = System.Diagnostics.Stopwatch.StartNew();
    private readonly object gate = new();

    /// <summary>Begins a log, replacing that of the run before.</summary>
    public StepLog(string path, IReporter reporter)
    {
        Path = path;
        this.reporter = reporter;
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        writer = new StreamWriter(path, append: false) { AutoFlush = true };
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Notes a command; also shown with -Verbose.</summary>
    public void Command(string text)
    {
        Write("> " + text);
        reporter.Verbose(text);
    }

    /// <summary>Notes a line.</summary>
    public void Write(string line)
    {
        lock (gate)
        {
            writer.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{clock.Elapsed.TotalSeconds,8:F2}  {line}"));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => writer.Dispose();
}
