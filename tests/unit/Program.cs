using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using ArchAzure.Readiness;

namespace ArchAzure.UnitTests;

/// <summary>What a check of one image found and cost, in a process of its own.</summary>
internal sealed record CheckReport(IReadOnlyList<ReadinessResult> Results, long PeakBytes, double Seconds)
{
    /// <summary>Runs the check, in this assembly started as a program.</summary>
    public static CheckReport Of(string vhdPath)
    {
        var start = new ProcessStartInfo(
            "dotnet",
            ["exec", typeof(CheckReport).Assembly.Location, vhdPath])
            {
                RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
            };
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"The check ended with {process.ExitCode}: {error.Result}");
        return JsonSerializer.Deserialize<CheckReport>(output)!;
    }
}

/// <summary>Checks the image that it is given, and writes what that found and took.</summary>
internal static class Program
{
    public static async Task Main(string[] arguments)
    {
        // Once on a file that is none, so that what only loading costs does not count.
        await Assert.ThrowsAsync<ArchAzureException>(() => ReadinessCheck.RunAsync("/dev/null", new(), new RecordingReporter(), default));
        GC.Collect();

        // proc(5): 5 resets the peak.
        await File.WriteAllTextAsync("/proc/self/clear_refs", "5");
        var idle = Peak();
        var watch = Stopwatch.StartNew();
        var results = await ReadinessCheck.RunAsync(arguments[0], new(), new RecordingReporter(), default);
        Console.Write(JsonSerializer.Serialize(new CheckReport(results, Peak() - idle, watch.Elapsed.TotalSeconds)));
    }

    /// <summary>The most memory that this process had, in bytes.</summary>
    private static long Peak() =>
        long.Parse(
            File.ReadLines("/proc/self/status")
                .First(line => line.StartsWith("VmHWM:", StringComparison.Ordinal))
                .Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1],
            CultureInfo.InvariantCulture) << 10;
}
