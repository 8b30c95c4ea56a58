using ArchAzure.Containers;
using ArchAzure.Target;

namespace ArchAzure.Builds;

/// <summary>
/// One run's hold on a build: its work directory locked, the Docker engine connected, containers of a killed run removed.
/// </summary>
internal sealed class BuildSession : IDisposable
{
    private readonly BuildLock _lock;

    private BuildSession(WorkDirectory directory, ArchBuild build, DockerEngine docker, BuildLock taken, IReporter reporter)
    {
        Directory = directory;
        Build = build;
        Docker = docker;
        Reporter = reporter;
        _lock = taken;
    }

    public WorkDirectory Directory { get; }

    /// <summary>The build as build.json has it.</summary>
    public ArchBuild Build { get; private set; }

    public DockerEngine Docker { get; }

    public IReporter Reporter { get; }

    /// <summary>Opens the build of a work directory.</summary>
    /// <param name="directory">The work directory.</param>
    /// <param name="reporter">Told what is removed of a run that was killed.</param>
    /// <param name="cancellationToken">Stops waiting for the engine.</param>
    /// <param name="begin">Whether a build is begun where there is none.</param>
    /// <param name="limits">How long the engine may keep silent; null for the defaults.</param>
    /// <param name="kept">The target of this build that the run before has left in its builder; null for none.</param>
    /// <exception cref="ArchAzureException"><c>BuildNotFound</c> and what else <see cref="BuildStore.Load"/>, <see cref="BuildLock.Take"/>,
    /// <see cref="WorkDirectory.Prepare"/> and <see cref="DockerEngine"/> throw.</exception>
    public static async Task<BuildSession> OpenAsync(
        WorkDirectory directory, IReporter reporter, CancellationToken cancellationToken, bool begin = false, EngineLimits? limits = null,
        TargetSession? kept = null)
    {
        if (!begin)
        {
            BuildStore.Load(directory);
        }

        var docker = kept?.Docker ?? await DockerEngine.ConnectAsync(reporter, cancellationToken, limits);
        docker.Calls.Reporter = reporter;
        BuildLock? taken = null;
        try
        {
            directory.Prepare();
            taken = BuildLock.Take(directory);

            // Read under the lock: another run may have ended in between.
            var build = begin
                ? BuildStore.TryLoad(directory) ?? new ArchBuild { Id = Guid.NewGuid(), WorkDirectory = directory.Path }
                : BuildStore.Load(directory);
            if (await docker.RemoveLeftoversAsync(build.Id, cancellationToken, kept?.BuilderId) is > 0 and var count)
            {
                reporter.Verbose($"removed {count} container(s) of a run that was ended");
            }

            return new BuildSession(directory, build, docker, taken, reporter);
        }
        catch
        {
            taken?.Dispose();
            if (kept is null)
            {
                docker.Dispose();
            }

            throw;
        }
    }

    /// <summary>Writes the build to build.json.</summary>
    public void Save(ArchBuild build)
    {
        BuildStore.Save(Directory, build);
        Build = build;
    }

    /// <summary>Does work that has a log; its errors name the log.</summary>
    /// <param name="logPath">The log's path; the log of the run before is replaced.</param>
    /// <param name="work">The work.</param>
    /// <param name="cancellationToken">After it an error is not explained any more.</param>
    /// <param name="explain">What an error's message says besides; null for nothing.</param>
    public async Task<T> LogAsync<T>(
        string logPath, Func<StepLog, Task<T>> work, CancellationToken cancellationToken, Func<ArchAzureException, string>? explain = null)
    {
        using var log = new StepLog(logPath, Reporter);
        try
        {
            return await work(log);
        }
        catch (ArchAzureException e)
        {
            log.Write($"{e.ErrorId}: {e.Message}");
            throw new ArchAzureException(
                e.ErrorId, e.Kind, $"{e.Message.TrimEnd()}{explain?.Invoke(e)} The log is '{log.Path}'.", e.Target, e);
        }
        catch (IOException e) when (!cancellationToken.IsCancellationRequested)
        {
            log.Write(e.ToString());
            throw new ArchAzureException(
                "WorkDirectoryFailed",
                ErrorKind.ResourceUnavailable,
                $"A file of the build could not be read or written: {e.Message.TrimEnd('.')}. Check the free space and the permissions of "
                + $"'{Directory.Path}', and run the step again. The log is '{log.Path}'.",
                Directory.Path,
                e);
        }
    }

    /// <summary>Lets go of the build; the connection to the engine stays open for a target that is kept.</summary>
    public void Leave() => _lock.Dispose();

    /// <inheritdoc/>
    public void Dispose()
    {
        Leave();
        Docker.Dispose();
    }
}
