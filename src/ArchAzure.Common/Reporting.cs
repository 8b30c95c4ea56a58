using System.Diagnostics;

namespace ArchAzure;

/// <summary>One update of what is being done, for a progress display.</summary>
/// <param name="Activity">The step, e.g. <c>New-ArchBootstrap</c>.</param>
/// <param name="Status">What it is doing now, e.g. <c>downloading archlinux-bootstrap-x86_64.tar.zst</c>.</param>
/// <param name="Percent">0 to 100, or null where no end is known.</param>
/// <param name="Completed">True when the activity has ended and its display can go; the status then says how.</param>
/// <param name="Minor">True for one of many within a larger part (a package, so many bytes): too little for a line in a log.</param>
/// <param name="SecondsRemaining">About how long it will still take, or null where that is not known.</param>
/// <param name="Detail">How much is done and how fast, for a display that moves; null where that is not known.</param>
internal sealed record ProgressUpdate(
    string Activity, string Status, int? Percent = null, bool Completed = false, bool Minor = false, int? SecondsRemaining = null,
    string? Detail = null);

/// <summary>Where the engine tells what it does. Calls may come from any thread.</summary>
internal interface IReporter
{
    /// <summary>A detail for those who ask for it (each command run, each decision).</summary>
    void Verbose(string message);

    /// <summary>A result worth a line on the screen: a step that was skipped, a file that was made.</summary>
    void Information(string message);

    /// <summary>Something the user should know although the work goes on.</summary>
    void Warning(string message);

    /// <summary>Progress of long work.</summary>
    void Progress(ProgressUpdate update);
}

/// <summary>Progress of work that is counted in bytes: percent, MiB, rate and time left, four times a second at most.</summary>
/// <param name="reporter">Where it goes.</param>
/// <param name="activity">As in <see cref="ProgressUpdate"/>.</param>
/// <param name="status">As in <see cref="ProgressUpdate"/>; the same from the beginning to the end.</param>
/// <param name="total">All bytes to do.</param>
internal sealed class ByteProgress(IReporter reporter, string activity, string status, long total)
{
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(250);
    private readonly object _lock = new();
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private TimeSpan _next;

    /// <summary>Tells that so many bytes are done. Calls may come from any thread.</summary>
    public void Report(long done)
    {
        lock (_lock)
        {
            var elapsed = _clock.Elapsed;
            if (elapsed < _next || total == 0)
            {
                return;
            }

            // The first moments say too little about the rest.
            done = Math.Min(done, total);
            var left = elapsed.TotalSeconds < 1 || done == 0 ? (int?)null : (int)Math.Ceiling(elapsed.TotalSeconds * (total - done) / done);
            var rate = left is null ? "" : $", {done / elapsed.TotalSeconds / (1 << 20):0.0} MiB/s";
            var detail = $"{done >> 20} of {total >> 20} MiB{rate}";
            reporter.Progress(new(activity, status, (int)(done * 100 / total), SecondsRemaining: left, Detail: detail));
            _next = elapsed + s_interval;
        }
    }
}
