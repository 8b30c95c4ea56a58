using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using ArchAzure.Builds.Steps;
using ArchAzure.Containers;
using ArchAzure.IO;
using ArchAzure.Settings;

namespace ArchAzure.Builds;

/// <summary>Runs steps: takes the lock, checks what must be there, skips what is done, and records a good end in one rename.</summary>
public sealed class BuildRunner
{
    /// <summary>
    /// What shapes the image and lies in no setting or layer: this very code, from the partition plan to the options of mke2fs. The
    /// compiler makes the id from all that it compiled, so other code has another one, be it of the same version. Step 1's image does not
    /// depend on it; what does is among its inputs.
    /// </summary>
    private static readonly string[] s_code =
        [typeof(BuildRunner).Module.ModuleVersionId.ToString(), typeof(NewFile).Module.ModuleVersionId.ToString()];

    private readonly string _layerFolder;
    private readonly IReporter _reporter;
    private readonly EngineLimits? _engineLimits;

    /// <summary>Creates a runner.</summary>
    /// <param name="layerFolder">The module's folder of layers.</param>
    /// <param name="reporter">Where progress, warnings and details go.</param>
    /// <param name="engineLimits">How long the Docker engine may keep silent; null for the defaults.</param>
    public BuildRunner(string layerFolder, IReporter reporter, EngineLimits? engineLimits = null)
    {
        _engineLimits = engineLimits;
        _layerFolder = layerFolder;
        _reporter = reporter;
    }

    /// <summary>The settings in force in a work directory.</summary>
    public static BuildSettings EffectiveSettings(WorkDirectory directory, ArchBuild build) => Settings(directory, build, new StepRequest());

    /// <summary>Runs one step, unless it is done and nothing has changed.</summary>
    /// <returns>The build as it is now in build.json.</returns>
    /// <exception cref="ArchAzureException">Names the thing, the reason, the remedy, and the log.</exception>
    public async Task<ArchBuild> RunAsync(WorkDirectory directory, BuildStep step, StepRequest request, CancellationToken cancellationToken)
    {
        // Everything that can be wrong with the input is found before anything is touched.
        var build = step.Number == 1 ? BuildStore.TryLoad(directory) : BuildStore.Load(directory);
        var settings = Settings(directory, build, request);
        RequirePredecessor(build, step, directory);
        using var docker = await DockerEngine.ConnectAsync(_reporter, cancellationToken, _engineLimits);

        directory.Prepare();
        using var taken = BuildLock.Take(directory);

        // Again under the lock: another run may have ended in between.
        build = BuildStore.TryLoad(directory) ?? new ArchBuild { Id = Guid.NewGuid(), WorkDirectory = directory.Path };
        settings = Settings(directory, build, request);
        if (step.Number == 1)
        {
            foreach (var warning in settings.Warnings)
            {
                _reporter.Warning(warning);
            }
        }

        using var log = new StepLog(directory.Log(step.Number), _reporter);
        var context = new StepContext
        {
            Directory = directory, Build = build, Settings = settings, Request = request, Docker = docker, Reporter = _reporter, Log = log, LayerFolder = _layerFolder, Step = step.Number,
        };
        log.Write($"{step.Name} in {directory.Path}, Docker {docker.Version}");
        var end = "failed";
        try
        {
            build = await RunLockedAsync(step, context, cancellationToken);
            end = "done";
            return build;
        }
        catch (OperationCanceledException)
        {
            end = "stopped";
            throw;
        }
        catch (ArchAzureException e)
        {
            log.Write($"{e.ErrorId}: {e.Message}");
            throw new ArchAzureException(e.ErrorId, e.Kind, $"{e.Message.TrimEnd()}{Remembered(context, e)} The log is '{log.Path}'.", e.Target, e);
        }
        catch (IOException e) when (!cancellationToken.IsCancellationRequested)
        {
            log.Write(e.ToString());
            throw new ArchAzureException(
                "WorkDirectoryFailed", ErrorKind.ResourceUnavailable, $"A file of the build could not be read or written: {e.Message.TrimEnd('.')}. Check the room and the permissions of '{directory.Path}', and run the step again. The log is '{log.Path}'.", directory.Path, e);
        }
        finally
        {
            _reporter.Progress(new(step.Name, end, Completed: true));
            if (end != "done" && Forgotten(context.Build, request) is { Count: > 0 } names)
            {
                _reporter.Warning($"{string.Join(", ", names)} will not be remembered, since {step.Name} did not end well. Give it again when you run the step again.");
            }
        }
    }

    private async Task<ArchBuild> RunLockedAsync(BuildStep step, StepContext context, CancellationToken cancellationToken)
    {
        var inputs = Fingerprint(step, context);
        var record = context.Build.Steps.FirstOrDefault(done => done.Number == step.Number);
        if (record is { State: StepState.Done } && record.Inputs == inputs && !context.Request.Force && await step.ProductExistsAsync(context, cancellationToken))
        {
            _reporter.Information($"{step.Number} {step.Name}: nothing has changed since {record.Finished.ToLocalTime():yyyy-MM-dd HH:mm}, skipped.");
            var same = WithRequest(context, context.Build);
            BuildStore.Save(context.Directory, same);
            await BuildImages.ClaimAsync(context.Docker, same, cancellationToken);
            return same;
        }

        BuildStore.Save(context.Directory, context.Build);
        if (await context.Docker.RemoveLeftoversAsync(context.Build.Id, cancellationToken) is > 0 and var count)
        {
            _reporter.Verbose($"removed {count} container(s) of a run that was ended");
        }

        // Before the work: a build of an older version, or a copy of one, has no claim yet.
        await BuildImages.ClaimAsync(context.Docker, context.Build, cancellationToken);
        var clock = Stopwatch.StartNew();
        var result = await step.RunAsync(context, cancellationToken);
        var finished = new StepRecord(step.Number, step.Name, StepState.Done, inputs, DateTimeOffset.UtcNow, Math.Round(clock.Elapsed.TotalSeconds, 1));
        result = (WithRequest(context, result) with { Steps = [.. result.Steps.Where(other => other.Number != step.Number).Append(finished).OrderBy(other => other.Number)] });
        if (record?.Inputs != inputs || !step.MadeTheSame(context.Build, result))
        {
            result = result.WithStaleAfter(step.Number);
        }

        BuildStore.Save(context.Directory, result);
        await BuildImages.ClaimAsync(context.Docker, result, cancellationToken);
        _reporter.Verbose($"{step.Name} took {finished.Seconds} s");
        return result;
    }

    /// <summary>The defaults, over them the file, over that what parameters asked for, now or earlier.</summary>
    private static BuildSettings Settings(WorkDirectory directory, ArchBuild? build, StepRequest request)
    {
        var path = request.SettingsPath ?? directory.SettingsFile;
        var settings = request.SettingsPath is not null || File.Exists(path) ? BuildSettings.Load(path) : BuildSettings.Default;
        foreach (var (key, value) in build?.Requested ?? [])
        {
            if (!request.Parameters.ContainsKey(key))
            {
                settings = settings.With(key, value, $"{key}, from an earlier parameter");
            }
        }

        foreach (var (key, value) in request.Parameters.Where(parameter => parameter.Value.Length > 0))
        {
            settings = settings.With(key, value);
        }

        settings.ThrowIfInConflict();
        return settings;
    }

    /// <summary>The build with what this call asked for, which is remembered from now on; a settings file goes into the work directory.</summary>
    private static ArchBuild WithRequest(StepContext context, ArchBuild build)
    {
        if (context.Request.SettingsPath is { } given && Path.GetFullPath(given) != context.Directory.SettingsFile)
        {
            AtomicFile.WriteAllText(context.Directory.SettingsFile, File.ReadAllText(given));
        }

        var requested = new SortedDictionary<string, string>(build.Requested, StringComparer.Ordinal);
        foreach (var (key, value) in context.Request.Parameters)
        {
            requested[key] = value;
            if (value.Length == 0)
            {
                requested.Remove(key);
            }
        }

        return build with { Requested = requested };
    }

    /// <summary>The parameters of this call that ask for other than what is remembered.</summary>
    private static List<string> Forgotten(ArchBuild build, StepRequest request) =>
    [
        .. request.Parameters.Where(parameter => build.Requested.GetValueOrDefault(parameter.Key, "") != parameter.Value).Select(parameter => Option(parameter.Key)),
        .. request.SettingsPath is null ? Array.Empty<string>() : ["-Settings"],
    ];

    /// <summary>Where an error is about a value that nobody gave in this call: which parameter once gave it, and how to be rid of it.</summary>
    private static string Remembered(StepContext context, ArchAzureException error)
    {
        var key = context.Build.Requested
            .Where(setting => setting.Value.Length > 0 && !context.Request.Parameters.ContainsKey(setting.Key) && (error.Target as string == setting.Value || error.Message.Contains($"'{setting.Value}'", StringComparison.Ordinal)))
            .Select(setting => setting.Key).FirstOrDefault();
        return key is null ? "" : $" '{context.Build.Requested[key]}' is what {Option(key)} asked for in an earlier run; give another, or {Option(key)} '' to go back to settings.env.";
    }

    private static string Option(string key) => SettingDefinition.Find(key)?.Parameter is { } parameter ? $"-{parameter}" : key;

    private static void RequirePredecessor(ArchBuild? build, BuildStep step, WorkDirectory directory)
    {
        for (var number = 1; number < step.Number; number++)
        {
            var state = build!.StepState(number);
            if (state != StepState.Done)
            {
                var name = StepName.All[number - 1];
                throw new ArchAzureException(
                    state is null ? "StepMissing" : "StepStale",
                    ErrorKind.NotFound,
                    $"{step.Name} (step {step.Number}) builds on {name} (step {number}), which {(state is null ? "has not been run" : "no longer fits, since an earlier step was run again")} in '{directory.Path}'. "
                    + $"Run {name} -WorkDirectory '{directory.Path}', or Invoke-ArchBuild '{directory.Path}' for all that is to do.",
                    directory.Path);
            }
        }
    }

    private static string Fingerprint(BuildStep step, StepContext context)
    {
        var text = string.Join('\0', step.SettingKeys.Select(key => $"{key}={context.Settings[key]}").Concat(step.OtherInputs(context)).Concat(step.Number == 1 ? [] : s_code));
        return Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(text))).ToLowerInvariant();
    }
}
