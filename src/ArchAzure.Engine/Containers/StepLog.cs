using System.Globalization;
using ArchAzure.IO;

namespace ArchAzure.Containers;

/// <summary>The full log of one step's run: each command and all it says, with the seconds since the start.</summary>
internal sealed class StepLog : IDisposable
{
    private readonly StreamWriter _writer;
    private readonly IReporter _reporter;
    private readonly System.Diagnostics.Stopwatch _clock = System.Diagnostics.Stopwatch.StartNew();
    private readonly object _gate = new();
    private bool _broken;

    /// <summary>Begins a log, replacing that of the run before.</summary>
    public StepLog(string path, IReporter reporter)
    {
        Path = path;
        _reporter = reporter;
        NewFile.CreateFolder(System.IO.Path.GetDirectoryName(path)!);
        _writer = new StreamWriter(NewFile.Create(path, FileShare.Read)) { AutoFlush = true };
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Notes a command; also shown with -Verbose.</summary>
    public void Command(string text)
    {
        Write("> " + text);
        _reporter.Verbose(text);
    }

    /// <summary>Notes a line that is also shown with -Verbose.</summary>
    public void Detail(string line)
    {
        Write(line);
        _reporter.Verbose(line);
    }

    /// <summary>Notes warnings, and shows them.</summary>
    public void Warn(IEnumerable<string> warnings)
    {
        foreach (var warning in warnings)
        {
            Write("WARNING: " + warning);
            _reporter.Warning(ArchAzureException.Showable(warning));
        }
    }

    /// <summary>Notes a line. On a full disk the log ends: it must not hide the error of the work it tells of.</summary>
    public void Write(string line)
    {
        lock (_gate)
        {
            if (_broken)
            {
                return;
            }

            try
            {
                _writer.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{_clock.Elapsed.TotalSeconds,8:F2}  {line}"));
            }
            catch (IOException e)
            {
                _broken = true;
                _reporter.Warning($"The log '{Path}' ends here: {e.Message}");
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            _writer.Dispose();
        }
        catch (IOException) when (_broken)
        {
            // The line that did not fit is still in the writer.
        }
    }
}
