using System.Diagnostics;
using System.Globalization;

namespace ArchAzure.PowerShell;

/// <summary>
/// Progress where there is no terminal: a plain line with the time of day for the start of each larger part of the work, and for its
/// end.
/// </summary>
internal sealed class ProgressLog(TextWriter writer)
{
    private readonly object _lock = new();
    private readonly Stopwatch _clock = new();
    private ProgressUpdate? _last;

    /// <summary>Writes a line, unless the update is a minor one or says the same again. Calls may come from any thread.</summary>
    public void Write(ProgressUpdate update)
    {
        lock (_lock)
        {
            if (update.Minor || (update.Activity == _last?.Activity && update.Status == _last.Status))
            {
                return;
            }

            if (update.Activity != _last?.Activity)
            {
                // Of a step that is skipped there is only the end.
                if (update.Completed)
                {
                    return;
                }

                _clock.Restart();
            }

            var after = update.Completed ? string.Create(CultureInfo.InvariantCulture, $" after {_clock.Elapsed.TotalSeconds:F1} s") : "";
            writer.WriteLine(
                string.Create(CultureInfo.InvariantCulture, $"{DateTime.Now:HH:mm:ss} {update.Activity}: {update.Status}{after}"));
            _last = update.Completed ? null : update;
        }
    }
}
