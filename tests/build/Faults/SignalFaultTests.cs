using System.Diagnostics;
using System.Globalization;
using ArchAzure.Builds;
using Xunit.Abstractions;

namespace ArchAzure.BuildTests.Faults;

/// <summary>SIGINT, SIGTERM and SIGKILL of the PowerShell process, in each step and at each stage of it.</summary>
/// <remarks>
/// "Before" and "during" watch the step's log for a command and wait for as long as the seed says. The other stages are system calls of the
/// process on files of the product: strace delivers the signal at the call itself, so there is no race and no hook in the product.
/// SIGKILL comes before the call is done; the others let it be done. strace counts calls by thread, and build.json is written at the
/// step's begin too: strace comes in during one of the last commands, while the process is stopped.
/// </remarks>
[Collection(Pipeline.Name)]
public sealed class SignalFaultTests(Pipeline pipeline, InterruptTimes times, ITestOutputHelper output) : IClassFixture<InterruptTimes>
{
    // Of every run: KILL while a step works and right after its end, of steps that are quick to repeat. BuildScriptSignalTests has INT
    // and TERM.
    private static readonly string[] s_quick = ["step5-renamed-KILL-seed1", "step4-during-KILL-seed2"];

    // Commands of each step by how they begin, and how long after that the signal may come, in milliseconds: while they run.
    private static readonly (string Command, int Milliseconds)[][] s_commands =
    [
        [("pacman-key --init", 700), ("pacman -Su", 700)],
        [("mke2fs -V", 50)],
        [("pacman --root", 8000), ("chroot /run/target env ARCHAZURE", 300), ("tar --create", 500)],
        [("tar --extract --file /work", 700), ("pacman --root", 800), ("chroot /run/target env --chdir", 600), ("tar --create", 500)],
        [("tar --extract --file /work", 800), ("chroot /run/target cp", 200), ("bash -s", 100), ("mke2fs", 600)],
    ];

    // The container is not there yet: it is being made and started.
    private const string FirstCommand = "start builder";

    // Near the last thing each step does in the container, with time enough to come in.
    private static readonly string[] s_lateCommands = ["commit", "mke2fs -V", "tar --create", "tar --create", "mke2fs"];

    private static readonly TimeSpan s_stepLimit = TimeSpan.FromMinutes(5);

    public static TheoryData<string> QuickCases { get; } = [.. s_quick];

    public static TheoryData<string> LongCases { get; } = [.. All().Select(@case => @case.Name).Except(s_quick, StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(QuickCases))]
    public Task Signal(string name) => RunAsync(FaultCase.Parse(name));

    [Theory]
    [Trait("Speed", "long")]
    [MemberData(nameof(LongCases))]
    public Task Signal_of_the_long_matrix(string name) => RunAsync(FaultCase.Parse(name));

    private static IEnumerable<FaultCase> All()
    {
        for (var step = 1; step <= 5; step++)
        {
            foreach (var signal in new[] { "INT", "TERM", "KILL" })
            {
                foreach (var stage in Enum.GetValues<FaultStage>().Where(stage => stage != FaultStage.Renamed || signal == "KILL"))
                {
                    yield return new FaultCase(step, stage, signal, 1);
                }
            }
        }

        // Where a step runs longest, one moment more.
        yield return new FaultCase(3, FaultStage.During, "KILL", 2);
        yield return new FaultCase(4, FaultStage.During, "KILL", 2);
        yield return new FaultCase(5, FaultStage.During, "KILL", 2);
        yield return new FaultCase(5, FaultStage.During, "KILL", 3);
        yield return new FaultCase(5, FaultStage.Between, "KILL", 2);
        yield return new FaultCase(4, FaultStage.Between, "KILL", 2);
    }

    private async Task RunAsync(FaultCase @case)
    {
        await using var run = await FaultRun.PrepareAsync(pipeline, @case.Step);
        var end = @case.Stage switch
        {
            FaultStage.Before or FaultStage.During => await AtCommandAsync(run, @case),
            FaultStage.Renamed => await RenamedAsync(run),
            _ => await AtCallAsync(run, @case),
        };

        // pwsh ends with 0 when Ctrl-C has stopped a script. At its last breath the process may end well before it has heard the signal.
        var status = @case.Signal switch { "INT" => 0, "TERM" => 143, _ => 137 };
        int[] exitCodes = !@case.Kills && (@case.Stage is FaultStage.Between or FaultStage.Rename) ? [status, 0] : [status];
        Assert.Contains(end.ExitCode, exitCodes);
        if (@case.Signal == "INT")
        {
            times.Add(@case, end.FromSignal);
            output.WriteLine($"{@case.Name}: {end.FromSignal.TotalSeconds:F1} s from SIGINT to the end");
        }

        int[] lastGood = (@case.Stage, @case.Kills) switch
        {
            (FaultStage.Before or FaultStage.During, _) or (FaultStage.Between or FaultStage.Rename, true) => [@case.Step - 1],
            (FaultStage.Rename, false) or (FaultStage.Renamed, _) => [@case.Step],

            // The work is done: whether it is still recorded or thrown away is the moment's affair.
            _ => [@case.Step - 1, @case.Step],
        };
        if (!@case.Kills)
        {
            // It has cleaned up itself.
            await run.Build.NothingLeftAsync();
        }

        await run.StateIsGoodAsync(lastGood);
        await run.EndsRightAsync();
    }

    /// <summary>The signal comes when a command stands in the step's log, or a while after.</summary>
    private static async Task<FaultEnd> AtCommandAsync(FaultRun run, FaultCase @case)
    {
#pragma warning disable CA5394 // Repeatable, not secret.
        var random = new Random(@case.Seed + (@case.Step * 1000));
        (string, int)[] commands = @case.Stage == FaultStage.Before ? [(FirstCommand, 100)] : s_commands[@case.Step - 1];
        var (command, milliseconds) = commands[random.Next(commands.Length)];
        var delay = random.Next(milliseconds);
#pragma warning restore CA5394
        using var process = run.Start();
        return await FaultRun.EndAsync(process, async () =>
        {
            await run.CommandAsync(process, command);
            await Task.Delay(delay);
            await SignalAsync(process, @case.Signal);
        });
    }

    /// <summary>The signal comes with a system call of the process.</summary>
    private static async Task<FaultEnd> AtCallAsync(FaultRun run, FaultCase @case)
    {
        var state = run.Build.Directory.BuildFile + ".part";
        var (path, calls) = @case.Stage switch
        {
            FaultStage.Rename => (state, Renames),
            _ when @case.Step == 1 => (state, "fsync"),
            _ when @case.Seed == 1 => (ProductPart(run, @case.Step), "fsync"),
            _ => (ProductPart(run, @case.Step), Renames),
        };
        string[] strace = Strace(run, path, $"inject={calls}:signal=SIG{@case.Signal}:when=1");
        using var process = run.Start();
        using var tracer = await TraceAtTheEndAsync(run, process, strace, ofState: @case.Stage == FaultStage.Rename);
        var end = await FaultRun.EndAsync(process, () => Task.CompletedTask, s_stepLimit);
        await tracer.WaitForExitAsync();
        return end with { FromSignal = await FromSignalAsync(run, @case) };
    }

    /// <summary>strace holds the process for a while once the rename is done; that is when it dies.</summary>
    private static async Task<FaultEnd> RenamedAsync(FaultRun run)
    {
        using var process = run.Start();
        using var tracer = await TraceAtTheEndAsync(
            run, process, Strace(run, run.Build.Directory.BuildFile + ".part", $"inject={Renames}:delay_exit=20s:when=1"), ofState: true);
        return await FaultRun.EndAsync(process, async () =>
        {
            while (BuildStore.TryLoad(run.Build.Directory)?.LastGoodStep != run.Step)
            {
                Assert.False(process.HasExited, "The process ended before it could be killed.");
                await Task.Delay(10);
            }

            await SignalAsync(process, "KILL");
        });
    }

    /// <summary>Stops the process when one of the step's last commands has begun, and lets it go on under strace.</summary>
    private static async Task<Process> TraceAtTheEndAsync(FaultRun run, Process process, string[] strace, bool ofState)
    {
        await run.CommandAsync(process, s_lateCommands[run.Step - 1]);
        await SignalAsync(process, "STOP");
        if (ofState && run.Step == 5)
        {
            // Step 5 also writes build.json before the VHD gets its name: strace stops the process again at the last file before the state.
            var sums = Path.Combine(run.Build.Directory.Path, "FSVERITYSUMS.part");
            using var first = await AttachAsync(process, Strace(run, sums, $"inject={Renames}:signal=SIGSTOP:when=1"));
            await SignalAsync(process, "CONT");
            while ((await File.ReadAllTextAsync(run.StraceLog)).Split("FSVERITYSUMS.part\", ", 2) is not [_, var after]
                || !after.Contains("stopped by SIGSTOP", StringComparison.Ordinal))
            {
                Assert.False(process.HasExited, "The step ended before its last file was written.");
                await Task.Delay(10);
            }

            // strace lets go of the process, which stays stopped.
            await SignalAsync(first, "INT");
            await first.WaitForExitAsync();
        }

        var tracer = await AttachAsync(process, strace);
        await SignalAsync(process, "CONT");
        return tracer;
    }

    private static async Task<Process> AttachAsync(Process process, string[] strace)
    {
        // "strace: Process 123 attached with 14 threads"
        var tracer = Tool.Start(strace[0], [.. strace[1..], "-p", process.Id.ToString(CultureInfo.InvariantCulture)]);
        var line = await tracer.StandardError.ReadLineAsync();
        Assert.Contains("attached", line, StringComparison.Ordinal);
        return tracer;
    }

    private const string Renames = "rename,renameat,renameat2";

    private static string[] Strace(FaultRun run, string path, string inject) =>
        ["strace", "-f", "-ttt", "-o", run.StraceLog, "-P", path, "-e", $"trace=fsync,{Renames}", "-e", inject];

    private static string ProductPart(FaultRun run, int step) => step switch
    {
        2 => run.Build.Directory.Disk + ".part",
        5 => run.Build.Directory.Vhd(run.Build.State.Version!) + ".part",
        _ => run.Build.Directory.Snapshot(step) + ".part",
    };

    /// <summary>By strace's clock: from the signal to the last thread's end.</summary>
    private static async Task<TimeSpan> FromSignalAsync(FaultRun run, FaultCase @case)
    {
        var lines = (await File.ReadAllLinesAsync(run.StraceLog))
            .Select(line => line.Split(' ', 3, StringSplitOptions.RemoveEmptyEntries))
            .Where(parts => parts.Length == 3)
            .ToList();
        var signal = lines.Find(
            parts => parts[2].StartsWith(@case.Kills ? "+++ killed by SIGKILL" : $"--- SIG{@case.Signal} ", StringComparison.Ordinal));
        Assert.True(
            signal is not null,
            $"The call at which the signal comes was never made:\n{string.Join('\n', lines.Select(parts => string.Join(' ', parts)))}");
        return TimeSpan.FromSeconds(
            double.Parse(lines[^1][1], CultureInfo.InvariantCulture) - double.Parse(signal[1], CultureInfo.InvariantCulture));
    }

    private static Task SignalAsync(Process process, string signal) =>
        Tool.RunAsync("kill", $"-{signal}", process.Id.ToString(CultureInfo.InvariantCulture));
}
