using System.Diagnostics;
using System.Globalization;
using Xunit.Abstractions;

namespace ArchAzure.BuildTests.Faults;

/// <summary>
/// Ctrl-C and signals while build.sh runs, in three moments of a step: each ends it with 128 and the signal's number, nothing left.
/// </summary>
[Collection(Pipeline.Name)]
public sealed class BuildScriptSignalTests(Pipeline pipeline, ITestOutputHelper output)
{
    // By the step's log: before there is a container, in it, and when the work is nearly done.
    private static readonly string[] s_moments = ["start builder", "mmd", "mke2fs"];

    private enum Receiver
    {
        Script,
        Shell,
    }

    [Fact]
    public async Task Control_C_typed_at_a_terminal()
    {
        await using var run = await PrepareAsync();
        foreach (var moment in s_moments)
        {
            // script gives it a terminal and types what it reads.
            run.ForgetLog();
            using var process = Tool.Start(
                "env",
                [
                    "--default-signal=INT", "script", "--quiet", "--return", "--command",
                    $"bash {BuildScript} {run.Build.Directory.Path}", "/dev/null",
                ],
                closeInput: false);
            var end = await FaultRun.EndAsync(process, async () =>
            {
                await run.CommandAsync(process, moment);

                // As people do who do not trust the first one.
                await process.StandardInput.WriteAsync("\u0003\u0003");
                await process.StandardInput.FlushAsync();
            });
            await EndedAsync(run, end, 130, $"Ctrl-C, {moment}");
        }

        await run.EndsRightAsync();
    }

    [Fact]
    public async Task A_signal_to_the_script_alone_or_to_its_PowerShell_alone()
    {
        await using var run = await PrepareAsync();
        (string Signal, Receiver Receiver, int Moment)[] cases =
            [("TERM", Receiver.Script, 0), ("INT", Receiver.Script, 1), ("TERM", Receiver.Shell, 1), ("HUP", Receiver.Script, 2)];
        foreach (var (signal, receiver, moment) in cases)
        {
            run.ForgetLog();
            // nohup has SIGHUP ignored, and a shell in the background SIGINT.
            using var process = Tool.Start("env", ["--default-signal=INT,HUP", "bash", BuildScript, run.Build.Directory.Path]);
            var end = await FaultRun.EndAsync(process, async () =>
            {
                await run.CommandAsync(process, s_moments[moment]);
                var id = receiver == Receiver.Script ? process.Id : await ShellOfAsync(process);
                await Tool.RunAsync("kill", $"-{signal}", id.ToString(CultureInfo.InvariantCulture));
            });
            await EndedAsync(
                run, end, signal switch { "INT" => 130, "TERM" => 143, _ => 129 }, $"{signal} to {receiver}, {s_moments[moment]}");
        }

        await run.EndsRightAsync();
    }

    private static string BuildScript { get; } = Path.Combine(TestSetup.Checkout, "build.sh");

    private async Task<FaultRun> PrepareAsync()
    {
        var run = await FaultRun.PrepareAsync(pipeline, 5);

        // The mark of --stand-in, which serves a mirror: here the tests do.
        var settings = run.Build.Directory.SettingsFile;
        await File.WriteAllLinesAsync(settings, (await File.ReadAllLinesAsync(settings)).Where(line => !line.StartsWith('#')));
        return run;
    }

    private static async Task<int> ShellOfAsync(Process script) =>
        int.Parse(
            (await Tool.RunAsync("pgrep", "--parent", script.Id.ToString(CultureInfo.InvariantCulture), "--full", "build\\.ps1")).Trim(),
            CultureInfo.InvariantCulture);

    private async Task EndedAsync(FaultRun run, FaultEnd end, int exitCode, string what)
    {
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what}: {end.ExitCode} after {end.FromSignal.TotalSeconds:F1} s"));
        Assert.True(end.ExitCode == exitCode, $"{what}: it ended with {end.ExitCode}:\n{end.Text}");
        await run.Build.NothingLeftAsync();
        await run.StateIsGoodAsync(run.Step - 1);
    }
}
