using System.Diagnostics;

namespace ArchAzure.Host;

/// <summary>One update of an activity.</summary>
/// <param name="Id">Tells activities apart.</param>
/// <param name="Activity">The activity's name.</param>
/// <param name="Status">What it is doing now.</param>
/// <param name="Percent">0 to 100, or negative where no end is known.</param>
/// <param name="Completed">The activity has ended.</param>
internal sealed record ActivityProgress(int Id, string Activity, string Status, int Percent, bool Completed)
{
    /// <summary>The activity and its status on one line, free of control characters.</summary>
    public string Text => OneLine(string.IsNullOrWhiteSpace(Status) ? Activity : $"{Activity}: {Status}");

    private static string OneLine(string text) =>
        string.Concat(text.Select(character => char.IsControl(character) ? ' ' : character));
}

/// <summary>
/// Progress as one line at the cursor of a terminal, drawn at most ten times a second.
/// Returns what to write; the caller serializes the calls and writes.
/// </summary>
internal sealed class LiveProgress : IDisposable
{
    private const int BarWidth = 20;
    private const int NarrowTerminal = 50;
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    // Auto-wrap (DECAWM) is off while drawing: a line with wide characters is cut at the edge and cannot scroll the screen.
    private const string NoWrap = "\x1b[?7l";
    private const string Wrap = "\x1b[?7h";
    private const string EraseLine = "\r\x1b[K";

    private readonly List<ActivityProgress> _active = [];
    private readonly Timer _timer;
    private long _drawnAt;
    private bool _shown;
    private bool _armed;

    /// <param name="drawWhenDue">Called on a pool thread when a draw put off by the rate limit is due.</param>
    public LiveProgress(Action drawWhenDue) => _timer = new Timer(_ => drawWhenDue());

    public void Update(ActivityProgress progress)
    {
        _active.RemoveAll(other => other.Id == progress.Id);
        if (!progress.Completed)
        {
            _active.Add(progress);
        }
    }

    /// <summary>The line of the activity heard of last, or nothing when it is too early for a new drawing.</summary>
    public string? Draw(int width, bool force)
    {
        if (_active.Count == 0)
        {
            return Erase();
        }

        var wait = force ? TimeSpan.Zero : Interval - Stopwatch.GetElapsedTime(_drawnAt);
        if (wait > TimeSpan.Zero)
        {
            if (!_armed)
            {
                _armed = true;
                _timer.Change(wait, Timeout.InfiniteTimeSpan);
            }

            return null;
        }

        _armed = false;
        _drawnAt = Stopwatch.GetTimestamp();
        _shown = true;
        return "\r" + NoWrap + Line(_active[^1], width - 1) + "\x1b[K" + Wrap;
    }

    /// <summary>Takes the line away until the next drawing.</summary>
    public string? Erase()
    {
        if (!_shown)
        {
            return null;
        }

        _shown = false;
        return EraseLine;
    }

    /// <summary>Takes the line away and forgets all activities.</summary>
    public string? Clear()
    {
        _active.Clear();
        return Erase();
    }

    public void Dispose() => _timer.Dispose();

    private static string Line(ActivityProgress progress, int width)
    {
        var line = progress.Percent < 0 ? progress.Text
            : width < NarrowTerminal ? $"{progress.Percent,3}% {progress.Text}"
            : $"[{Bar(progress.Percent)}] {progress.Percent,3}% {progress.Text}";
        return line.Length <= width ? line : string.Concat(line.AsSpan(0, Math.Max(0, width - 3)), "...");
    }

    private static string Bar(int percent) =>
        new string('#', Math.Min(percent, 100) * BarWidth / 100).PadRight(BarWidth, '-');
}

/// <summary>
/// Progress as lines of a log: one when the status changes and one for each ten percent. A status that differs only in its
/// digits (bytes, seconds, counts) is the same status, and a burst of changes is cut off, so that a log never fills up.
/// </summary>
internal sealed class LoggedProgress
{
    private const int Burst = 50;
    private static readonly TimeSpan Refill = TimeSpan.FromSeconds(1);

    private readonly Dictionary<int, (string Status, int Tenth)> _logged = [];
    private int _tokens = Burst;
    private long _refilledAt = Stopwatch.GetTimestamp();

    /// <summary>The line to write for this update, or null.</summary>
    public string? Update(ActivityProgress progress)
    {
        if (progress.Completed)
        {
            _logged.Remove(progress.Id);
            return null;
        }

        var status = string.Concat(progress.Text.Where(character => !char.IsAsciiDigit(character)));
        var tenth = progress.Percent < 0 ? -1 : progress.Percent / 10;
        var isNew = !_logged.TryGetValue(progress.Id, out var last) || last.Status != status;
        if ((!isNew && tenth <= last.Tenth) || !TakeToken())
        {
            return null;
        }

        _logged[progress.Id] = (status, tenth);
        return progress.Percent < 0 ? progress.Text : $"{progress.Text} ({progress.Percent}%)";
    }

    private bool TakeToken()
    {
        var earned = (int)(Stopwatch.GetElapsedTime(_refilledAt) / Refill);
        if (earned > 0)
        {
            _tokens = Math.Min(Burst, _tokens + earned);
            _refilledAt = Stopwatch.GetTimestamp();
        }

        if (_tokens == 0)
        {
            return false;
        }

        _tokens--;
        return true;
    }
}
