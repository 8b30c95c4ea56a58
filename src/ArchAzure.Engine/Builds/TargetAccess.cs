using System.ComponentModel;
using System.Diagnostics;
using ArchAzure.Containers;
using ArchAzure.Target;

namespace ArchAzure.Builds;

/// <summary>A way into the target of a build for its user: commands, scripts, a shell. Changes go into the last snapshot.</summary>
internal sealed class TargetAccess(WorkDirectory directory, IReporter reporter)
{
    /// <summary>Runs a command or a script in the target.</summary>
    /// <param name="command">The program and its arguments; or null.</param>
    /// <param name="scriptPath">A bash script of the host; or null.</param>
    /// <param name="keep">Whether changes are kept.</param>
    /// <param name="onLine">Gets each line of output as it comes; the second value tells whether it came from standard error.</param>
    /// <param name="cancellationToken">Ends the command; nothing is kept then.</param>
    /// <exception cref="ArchAzureException"><c>TargetMissing</c>, <c>CommandFailed</c> (nothing is kept).</exception>
    public Task<CommandResult> RunAsync(
        IReadOnlyList<string>? command, string? scriptPath, bool keep, Action<string, bool> onLine, CancellationToken cancellationToken)
    {
        if (scriptPath is not null && !File.Exists(scriptPath))
        {
            throw new ArchAzureException(
                "ScriptNotFound", ErrorKind.NotFound, $"There is no script '{scriptPath}'. Name an existing file.", scriptPath);
        }

        var options = new CommandOptions { OnLine = onLine };
        return InSessionAsync(
            keep,
            async (_, target) =>
            {
                try
                {
                    return await (scriptPath is null
                        ? target.ChrootAsync(command!, options, cancellationToken)
                        : target.RunScriptAsync(
                            scriptPath, new Dictionary<string, string>(StringComparer.Ordinal), options, cancellationToken));
                }
                catch (CommandFailedException e) when (e.Command[0] == TargetTree.ChrootCommand)
                {
                    // In the user's own words: chroot is how it was run, and what it said was shown as it came.
                    throw new ArchAzureException(
                        e.ErrorId,
                        e.Kind,
                        $"'{scriptPath ?? string.Join(' ', command!)}' ended with status {e.Result.ExitCode} in the target; nothing it "
                        + "changed is kept.",
                        scriptPath ?? command![0],
                        e);
                }
            },
            cancellationToken);
    }

    /// <summary>Opens a shell in the target on the user's terminal, through docker's own client, which knows terminals.</summary>
    /// <returns>The shell's exit status; changes are kept whatever it is.</returns>
    /// <exception cref="ArchAzureException"><c>TargetMissing</c>, <c>NotATerminal</c>, <c>DockerClientNotFound</c>.</exception>
    public Task<int> EnterAsync(bool keep, CancellationToken cancellationToken)
    {
        if (Console.IsInputRedirected || Console.IsOutputRedirected)
        {
            throw new ArchAzureException(
                "NotATerminal",
                ErrorKind.InvalidInput,
                "A shell in the target needs a terminal. In a script use Invoke-ArchTarget -Command or -ScriptPath.");
        }

        return InSessionAsync(
            keep,
            async (builder, _) =>
            {
                reporter.Progress(new("Target", "ready", Completed: true));
                using var shell = StartShell(builder);
                await shell.WaitForExitAsync(cancellationToken);
                return shell.ExitCode;
            },
            cancellationToken);
    }

    private static Process StartShell(Builder builder)
    {
        string[] arguments =
        [
            "--host", builder.Endpoint, "exec", "--interactive", "--tty", builder.Name, .. builder.Confinement,
            TargetTree.ChrootCommand, TargetChroot.Root, "/bin/bash", "--login",
        ];
        try
        {
            return Process.Start("docker", arguments);
        }
        catch (Win32Exception e)
        {
            throw new ArchAzureException(
                "DockerClientNotFound", ErrorKind.NotFound, "The program 'docker' is not on the PATH; a shell needs it for the terminal. "
                + "Install Docker's command line, or use Invoke-ArchTarget.", "docker", e);
        }
    }

    private async Task<T> InSessionAsync<T>(bool keep, Func<Builder, TargetTree, Task<T>> work, CancellationToken cancellationToken)
    {
        using var session = await BuildSession.OpenAsync(directory, reporter, cancellationToken);
        var build = session.Build;
        var step = build.StepState(4) == StepState.Done ? 4 : 3;
        if (build.StepState(step) != StepState.Done)
        {
            throw new ArchAzureException(
                "TargetMissing", ErrorKind.NotFound, $"There is no target in '{directory.Path}' yet. Run Install-ArchBase -WorkDirectory "
                + $"'{directory.Path}' first.", directory.Path);
        }

        reporter.Progress(new("Target", "unpacking the target"));
        var settings = new StepRequest().SettingsOf(directory, build);
        var spec = new BuilderSpec
        {
            Image = build.Bootstrap!.BuilderImage,
            BuildId = build.Id,
            Purpose = "target",
            Network = BuilderSpec.NetworkFor(settings.PackageMirror),
            Environment = Reproducibility.Of(settings)?.Environment ?? BuilderSpec.NoEnvironment,
        };
        var snapshot = keep ? directory.Snapshot(step) : null;
        try
        {
            var result = await session.LogAsync(
                Path.Combine(directory.LogFolder, "target.log"),
                async log =>
                {
                    await using var target = new TargetSession(session.Docker);
                    return await target.RunAsync(
                        new TargetWork
                        {
                            Spec = spec,
                            Log = log,
                            From = directory.Snapshots(step),
                            To = snapshot,
                            Outputs = snapshot is null ? [] : [TargetSession.Output(snapshot)],
                        },
                        work,
                        cancellationToken);
                },
                cancellationToken);
            if (keep)
            {
                session.Save(build.WithStaleAfter(step));
            }

            return result;
        }
        finally
        {
            reporter.Progress(new("Target", "done", Completed: true));
        }
    }
}
