using System.Collections.Concurrent;
using System.Globalization;
using System.Text;

namespace ArchAzure.BuildTests.Faults;

/// <summary>
/// Collects how long SIGINT takes at each step and stage, and writes the table for a person to read; nothing is asserted of it.
/// </summary>
public sealed class InterruptTimes : IDisposable
{
    private readonly ConcurrentBag<(FaultCase Case, TimeSpan Time)> _times = [];

    /// <summary>The table.</summary>
    public static string Path { get; } = System.IO.Path.Combine(TestSetup.Checkout, "artifacts", "interrupt-seconds.md");

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_times.IsEmpty)
        {
            return;
        }

        var table = new StringBuilder("| Step | Stage | Seconds from SIGINT to the end |\n|---|---|---|\n");
        foreach (var (@case, time) in _times.OrderBy(pair => (pair.Case.Step, pair.Case.Stage, pair.Case.Seed)))
        {
            table.Append(CultureInfo.InvariantCulture, $"| {@case.Step} | {@case.Stage} | {time.TotalSeconds:F1} |\n");
        }

        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(Path)!);
        File.WriteAllText(Path, table.ToString());
    }

    internal void Add(FaultCase @case, TimeSpan time) => _times.Add((@case, time));
}
