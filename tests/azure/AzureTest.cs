using System.Collections.Concurrent;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using ArchAzure.SimulatedAzure;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>What the boots have in common: their limits, where their logs go, and the timeline in the test's output.</summary>
public abstract partial class AzureTest(ITestOutputHelper output)
{
    /// <summary>Without KVM and on a busy machine each boot takes many minutes.</summary>
    protected static readonly TimeSpan Limit = TimeSpan.FromMinutes(30);

    /// <summary>Where the serial log of a test's machine stays, beside the tests' program.</summary>
    protected string Logs([CallerMemberName] string test = "") => Path.Combine(AppContext.BaseDirectory, "logs", GetType().Name, test);

    /// <summary>Writes into the test's output.</summary>
    private protected IReporter Reporter => _reporter;

    /// <summary>What the module has shown so far.</summary>
    protected string Shown => string.Join('\n', _reporter.Lines);

    /// <summary>Whether <see cref="FreezeAt"/> came to its milestone.</summary>
    protected bool HasFrozen { get; private set; }

    // SSH.NET waits 30 s for an answer unless told otherwise.
    private static readonly TimeSpan s_freeze = TimeSpan.FromSeconds(35);

    private readonly OutputReporter _reporter = new(output);
    private string? _machine;

    /// <summary>Boots the machine, in the QEMU of the image's own builder, and shows the way it went.</summary>
    private protected async Task<BootReport> BootAsync(MachineTestOptions options)
    {
        using var turn = await MachineTurn.TakeAsync();
        using var launcher = await TestImage.LauncherAsync(Reporter);
        var before = await StampAsync(options.VhdPath);
        var report = await new MachineTest(launcher, options, Reporter).RunAsync(CancellationToken.None);
        foreach (var milestone in report.Timeline)
        {
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{milestone.Elapsed.TotalSeconds,6:0.0} s  {milestone.Name}"));
        }

        if (report.Error is not null)
        {
            output.WriteLine(report.Error);
        }

        // The image itself is only read.
        Assert.Equal(before, await StampAsync(options.VhdPath));
        return report;
    }

    /// <summary>A file's size and times.</summary>
    protected static Task<string> StampAsync(string path) => Tool.RunAsync("stat", "--format", "%s %y %z", path);

    /// <summary>Stops QEMU for longer than a library waits when a milestone is reached, as a host does that is overloaded.</summary>
    protected void FreezeAt(string milestone) => _reporter.Watch = async line =>
    {
        if (MachineId().Match(line) is { Success: true } id)
        {
            _machine = id.Value;
        }
        else if (line.EndsWith($": {milestone}", StringComparison.Ordinal) && !HasFrozen)
        {
            HasFrozen = true;
            await Tool.RunAsync("pkill", "--signal", "STOP", "--full", $"qemu-system.*{_machine}");
            await Task.Delay(s_freeze);
            await Tool.RunAsync("pkill", "--signal", "CONT", "--full", $"qemu-system.*{_machine}");
        }
    };

    /// <summary>Runs a command as root that must end well, and returns its output.</summary>
    private protected async Task<string> RootAsync(MachineSession session, string command, CancellationToken cancellationToken)
    {
        var result = await session.SudoAsync(command, cancellationToken);
        output.WriteLine($"# {command}\n{result.Output}{result.Error}");
        Assert.True(result.ExitCode == 0, $"'{command}' ended with {result.ExitCode}: {result.Output}{result.Error}");
        return result.Output;
    }

    // In QEMU's command line.
    [GeneratedRegex("uuid=[0-9a-f-]{36}", RegexOptions.None, 5000)]
    private static partial Regex MachineId();

    private sealed class OutputReporter(ITestOutputHelper output) : IReporter
    {
        public ConcurrentQueue<string> Lines { get; } = new();

        public Func<string, Task>? Watch { get; set; }

        public void Verbose(string message)
        {
            Show(message);
            _ = Watch?.Invoke(message);
        }

        public void Information(string message) => Show(message);

        public void Warning(string message) => Show("WARNING: " + message);

        public void Progress(ProgressUpdate update) => Lines.Enqueue(update.Status);

        private void Show(string message)
        {
            Lines.Enqueue(message);
            output.WriteLine(message);
        }
    }
}
