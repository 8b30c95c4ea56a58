namespace ArchAzure;

/// <summary>One update of what is being done, for a progress display.</summary>
/// <param name="Activity">The step, e.g. <c>New-ArchBootstrap</c>.</param>
/// <param name="Status">What it is doing now, e.g. <c>downloading archlinux-bootstrap-x86_64.tar.zst</c>.</param>
/// <param name="Percent">0 to 100, or null where no end is known.</param>
/// <param name="Completed">True when the activity has ended and its display can go; the status then says how.</param>
/// <param name="Minor">True for one of many within a larger part (a package, so many bytes): too little for a line in a log.</param>
internal sealed record ProgressUpdate(string Activity, string Status, int? Percent = null, bool Completed = false, bool Minor = false);

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
