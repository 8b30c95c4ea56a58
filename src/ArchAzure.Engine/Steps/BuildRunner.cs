using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.IO;
using ArchAzure.Target;

namespace ArchAzure.Steps;

/// <summary>Runs steps: checks what must be there, skips what is done, and records a good end in one rename.</summary>
/// <param name="layerFolder">The module's folder of layers.</param>
/// <param name="reporter">Where progress, warnings and details go.</param>
/// <param name="engineLimits">How long the Docker engine may keep silent; null for the defaults.</param>
internal sealed class BuildRunner(string layerFolder, IReporter reporter, EngineLimits? engineLimits = null)
{
    /// <summary>
    /// What shapes the image and lies in no setting or layer: this very code, from the partition plan to the options of mke2fs. The
    /// compiler makes the id from all that it compiled, so other code has another one, be it of the same version. Step 1's image does not
    /// depend on it; what does is among its inputs.
    /// </summary>
    private static readonly string[] s_code =
        [typeof(BuildRunner).Module.ModuleVersionId.ToString(), typeof(NewFile).Module.ModuleVersionId.ToString()];

    /// <summary>
    /// The target in a builder: what an earlier runner of the same pipeline has kept for this one, and what this one keeps for a later one.
    /// Whoever does not pass it on ends it by <see cref="EndAsync"/>.
    /// </summary>
    public TargetSession? Target { get; set; }

    /// <summary>Whether a later step follows in the same pipeline, for which a target stays in its builder.</summary>
    public bool KeepsTarget { get; init; }

    /// <summary>Ends a target that nobody goes on with.</summary>
    public static async Task EndAsync(TargetSession target)
    {
        await target.DisposeAsync();
        target.Docker.Dispose();
    }

    /// <summary>Runs steps in order; each is skipped where it is done and nothing has changed.</summary>
    /// <param name="directory">The work directory.</param>
    /// <param name="first">The first step, 1 to 5.</param>
    /// <param name="last">The last step, not before the first.</param>
    /// <param name="request">What is asked for.</param>
    /// <param name="cancellationToken">Ends the step; those before it are done.</param>
    /// <returns>The build as it is now in build.json.</returns>
    /// <exception cref="ArchAzureException">Names the thing, the reason, the remedy, and the log.</exception>
    public async Task<ArchBuild> RunAsync(
        WorkDirectory directory, int first, int last, StepRequest request, CancellationToken cancellationToken)
    {
        var (target, keeps) = (Target, false);
        Target = null;
        BuildSession? session = null;
        try
        {
            // Everything that can be wrong with the input is found before anything is touched.
            var build = first == 1 ? BuildStore.TryLoad(directory) : BuildStore.Load(directory);
            request.SettingsOf(directory, build);
            RequirePredecessors(build, first, directory);
            session = await BuildSession.OpenAsync(directory, reporter, cancellationToken, begin: first == 1, engineLimits, target);
            target ??= new TargetSession(session.Docker);
            await RunAsync(session, target, first, last, request, cancellationToken);
            keeps = KeepsTarget && target.BuilderId is not null;
            return session.Build;
        }
        finally
        {
            if (keeps)
            {
                session!.Leave();
                Target = target;
            }
            else
            {
                try
                {
                    await (target is null ? Task.CompletedTask : EndAsync(target));
                }
                finally
                {
                    session?.Leave();
                }
            }
        }
    }

    private async Task RunAsync(
        BuildSession session, TargetSession target, int first, int last, StepRequest request, CancellationToken cancellationToken)
    {
        // A build of an older version, or a copy of one, has no claim yet.
        await DockerImageClaims.ClaimAsync(session.Docker, session.Build, cancellationToken);
        for (var step = first; step <= last; step++)
        {
            await RunAsync(
                session, target, [.. BuildStep.All.Take(last).Skip(step - 1)],
                step == first ? request : request with { SettingsPath = null }, cancellationToken);
        }
    }

    /// <summary>Runs the first of these steps.</summary>
    private async Task RunAsync(
        BuildSession session, TargetSession target, IReadOnlyList<BuildStep> steps, StepRequest request,
        CancellationToken cancellationToken)
    {
        var step = steps[0];
        var settings = request.SettingsOf(session.Directory, session.Build);
        if (step.Number == 1)
        {
            foreach (var warning in settings.Warnings)
            {
                reporter.Warning(warning);
            }
        }

        var before = session.Build;
        var end = "failed";
        try
        {
            await session.LogAsync(
                session.Directory.Log(step.Number),
                log =>
                {
                    log.Write($"{step.Name} in {session.Directory.Path}, Docker {session.Docker.Version}");
                    return RunAsync(
                        session,
                        step,
                        new StepContext
                        {
                            Session = session, Build = before, Settings = settings, Request = request, Log = log,
                            LayerFolder = layerFolder, Step = step.Number, Steps = steps, Target = target, MoreFollows = KeepsTarget,
                        },
                        cancellationToken);
                },
                cancellationToken,
                error => request.Explain(before, error));
            end = "done";
        }
        catch (OperationCanceledException)
        {
            end = "stopped";
            throw;
        }
        finally
        {
            reporter.Progress(new(step.Name, end, Completed: true));
            if (end != "done" && request.NotRememberedBy(session.Build) is { Count: > 0 } names)
            {
                reporter.Warning(
                    $"{string.Join(", ", names)} will not be remembered, since {step.Name} did not end well. Give it again when you run "
                    + "the step again.");
            }
        }
    }

    private async Task<ArchBuild> RunAsync(BuildSession session, BuildStep step, StepContext context, CancellationToken cancellationToken)
    {
        var inputs = Fingerprint(step, context);
        var record = context.Build.Steps.FirstOrDefault(done => done.Number == step.Number);
        if (record is { State: StepState.Done }
            && record.Inputs == inputs
            && !context.Request.Force
            && await step.ProductExistsAsync(context, cancellationToken))
        {
            reporter.Information(
                $"{step.Number} {step.Name}: nothing has changed since {record.Finished.ToLocalTime():yyyy-MM-dd HH:mm}, skipped.");
            var complete = await step.CompleteAsync(context, context.Build, cancellationToken);
            session.Save(context.Request.Remember(session.Directory, complete));
            return session.Build;
        }

        session.Save(context.Build);
        var clock = Stopwatch.StartNew();
        var result = context.Request.Remember(session.Directory, await step.RunAsync(context, cancellationToken));
        var finished = new StepRecord(
            step.Number, step.Name, StepState.Done, inputs, DateTimeOffset.UtcNow, Math.Round(clock.Elapsed.TotalSeconds, 1));
        var others = result.Steps.Where(other => other.Number != step.Number);
        result = result with { Steps = [.. others.Append(finished).OrderBy(other => other.Number)] };
        if (record?.Inputs != inputs || !step.MadeTheSame(context.Build, result))
        {
            result = result.WithStaleAfter(step.Number);
        }

        session.Save(result);
        if (result.Bootstrap != context.Build.Bootstrap)
        {
            await DockerImageClaims.ClaimAsync(session.Docker, result, cancellationToken);
        }

        reporter.Verbose($"{step.Name} took {finished.Seconds} s");
        var completed = await step.CompleteAsync(context, result, cancellationToken);
        if (completed != result)
        {
            session.Save(completed);
        }

        return completed;
    }

    private static void RequirePredecessors(ArchBuild? build, int step, WorkDirectory directory)
    {
        for (var number = 1; number < step; number++)
        {
            var state = build!.StepState(number);
            if (state != StepState.Done)
            {
                var (name, missing) = (StepName.All[number - 1], StepName.All[step - 1]);
                throw new ArchAzureException(
                    state is null ? "StepMissing" : "StepStale",
                    ErrorKind.NotFound,
                    $"{missing} (step {step}) builds on {name} (step {number}), which "
                    + $"{(state is null ? "has not been run" : "no longer fits, since an earlier step was run again")} in "
                    + $"'{directory.Path}'. "
                    + $"Run {name} -WorkDirectory '{directory.Path}', or Invoke-ArchBuild '{directory.Path}' for all that is to do.",
                    directory.Path);
            }
        }
    }

    private static string Fingerprint(BuildStep step, StepContext context)
    {
        var text = string.Join(
            '\0', [.. context.Settings.InputsOf(step.Number), .. step.OtherInputs(context), .. step.Number == 1 ? [] : s_code]);
        return Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(text))).ToLowerInvariant();
    }
}
