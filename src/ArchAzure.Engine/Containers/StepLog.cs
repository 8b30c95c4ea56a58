using System.Globalization;

namespace ArchAzure.Containers;

/// <summary>The full log of one step's run: each command and all it says, with the seconds since the start.</summary>
public sealed class StepLog : IDisposable
{
    private readonly StreamWriter _writer;
    private readonly IReporter _reporter;
    private readonly System.Diagnostics.Stopwatch _clock = System.Diagnostics.Stopwatch.StartNew();
    private readonly object _gate = new();

    /// <summary>Begins a log, replacing that of the run before.</summary>
    public StepLog(string path, IReporter reporter)
    {
        Path = path;
        _reporter = reporter;
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        _writer = new StreamWriter(path, append: false) { AutoFlush = true };
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Notes a command; also shown with -Verbose.</summary>
    public void Command(string text)
    {
        Write("> " + text);
        _reporter.Verbose(text);
    }

    /// <summary>Notes a line.</summary>
    public void Write(string line)
    {
        lock (_gate)
        {
            _writer.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{_clock.Elapsed.TotalSeconds,8:F2}  {line}"));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _writer.Dispose();
}
