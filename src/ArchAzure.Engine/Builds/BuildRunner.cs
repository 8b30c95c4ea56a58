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
        build = WithRequest(directory, build, request);
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
            throw new ArchAzureException(e.ErrorId, e.Kind, $"{e.Message.TrimEnd()} The log is '{log.Path}'.", e.Target, e);
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
        }
    }

    private async Task<ArchBuild> RunLockedAsync(BuildStep step, StepContext context, CancellationToken cancellationToken)
    {
        var inputs = Fingerprint(step, context);
        var record = context.Build.Steps.FirstOrDefault(done => done.Number == step.Number);
        if (record is { State: StepState.Done } && record.Inputs == inputs && !context.Request.Force && await step.ProductExistsAsync(context, cancellationToken))
        {
            _reporter.Information($"{step.Number} {step.Name}: nothing has changed since {record.Finished.ToLocalTime():yyyy-MM-dd HH:mm}, skipped.");
            BuildStore.Save(context.Directory, context.Build);
            return context.Build;
        }

        BuildStore.Save(context.Directory, context.Build);
        if (await context.Docker.RemoveLeftoversAsync(context.Build.Id, cancellationToken) is > 0 and var count)
        {
            _reporter.Verbose($"removed {count} container(s) of a run that was ended");
        }

        var clock = Stopwatch.StartNew();
        var result = await step.RunAsync(context, cancellationToken);
        var finished = new StepRecord(step.Number, step.Name, StepState.Done, inputs, DateTimeOffset.UtcNow, Math.Round(clock.Elapsed.TotalSeconds, 1));
        result = (result with { Steps = [.. result.Steps.Where(other => other.Number != step.Number).Append(finished).OrderBy(other => other.Number)] })
            .WithStaleAfter(step.Number);
        BuildStore.Save(context.Directory, result);
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

        foreach (var (key, value) in request.Parameters)
        {
            settings = settings.With(key, value);
        }

        settings.ThrowIfInConflict();
        return settings;
    }

    private static ArchBuild WithRequest(WorkDirectory directory, ArchBuild build, StepRequest request)
    {
        if (request.SettingsPath is { } given && Path.GetFullPath(given) != directory.SettingsFile)
        {
            AtomicFile.WriteAllText(directory.SettingsFile, File.ReadAllText(given));
        }

        var requested = new SortedDictionary<string, string>(build.Requested, StringComparer.Ordinal);
        foreach (var (key, value) in request.Parameters)
        {
            requested[key] = value;
        }

        return build with { Requested = requested };
    }

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
        var text = string.Join('\0', step.SettingKeys.Select(key => $"{key}={context.Settings[key]}").Concat(step.OtherInputs(context)));
        return Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(text))).ToLowerInvariant();
    }
}
