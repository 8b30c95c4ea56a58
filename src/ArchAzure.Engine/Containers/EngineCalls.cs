using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace ArchAzure.Containers;

/// <summary>
/// Every call to the Docker engine, each with a limit. What can be repeated without harm is repeated where the error may pass by
/// itself; long work is watched. The client itself waits for ever: pacman may take an hour.
/// </summary>
internal sealed class EngineCalls(IDockerClient client, string endpoint, EngineLimits limits, IReporter reporter)
{
    /// <summary>Told of each attempt that failed.</summary>
    public IReporter Reporter { get; set; } = reporter;

    public EngineLimits Limits => limits;

    public Task<SystemInfoResponse> InfoAsync(CancellationToken cancellationToken) =>
        AskAsync("info", limits.AnswerTimeout, client.System.GetSystemInfoAsync, cancellationToken);

    public Task<ImageInspectResponse> InspectImageAsync(string image, CancellationToken cancellationToken) =>
        AskAsync($"inspect image {image}", limits.AnswerTimeout, token => client.Images.InspectImageAsync(image, token), cancellationToken);

    public Task<IList<ImagesListResponse>> ListImagesAsync(string reference, CancellationToken cancellationToken)
    {
        var parameters = new ImagesListParameters { Filters = Filter("reference", reference) };
        return AskAsync("list images", limits.AnswerTimeout, token => client.Images.ListImagesAsync(parameters, token), cancellationToken);
    }

    public Task RemoveImageAsync(string image, CancellationToken cancellationToken) =>
        AskAsync(
            $"remove image {image}",
            limits.WorkTimeout,
            token => client.Images.DeleteImageAsync(image, new ImageDeleteParameters { Force = false }, token),
            cancellationToken);

    public Task TagImageAsync(string image, string repository, string tag, CancellationToken cancellationToken) =>
        AskAsync(
            $"tag image {image}",
            limits.AnswerTimeout,
            async token =>
            {
                await client.Images.TagImageAsync(image, new ImageTagParameters { RepositoryName = repository, Tag = tag }, token);
                return true;
            },
            cancellationToken);

    public Task<IList<ContainerListResponse>> ListContainersAsync(string label, CancellationToken cancellationToken)
    {
        var parameters = new ContainersListParameters { All = true, Filters = Filter("label", label) };
        return AskAsync(
            "list containers", limits.AnswerTimeout, token => client.Containers.ListContainersAsync(parameters, token), cancellationToken);
    }

    public async Task<IReadOnlyList<string>> ListVolumesAsync(string label, CancellationToken cancellationToken)
    {
        var parameters = new VolumesListParameters { Filters = Filter("label", label) };
        var list = await AskAsync(
            "list volumes", limits.AnswerTimeout, token => client.Volumes.ListAsync(parameters, token), cancellationToken);
        return [.. list.Volumes?.Select(volume => volume.Name) ?? []];
    }

    public Task RemoveVolumeAsync(string name, CancellationToken cancellationToken) =>
        AskAsync(
            $"remove volume {name}",
            limits.WorkTimeout,
            async token =>
            {
                await client.Volumes.RemoveAsync(name, force: true, token);
                return true;
            },
            cancellationToken);

    public Task<ContainerInspectResponse> InspectContainerAsync(string id, CancellationToken cancellationToken) =>
        AskAsync(
            $"inspect container {id}",
            limits.AnswerTimeout,
            token => client.Containers.InspectContainerAsync(id, token),
            cancellationToken);

    /// <summary>Waits for a container's end; the caller sets the limit.</summary>
    public Task WaitContainerAsync(string id, CancellationToken cancellationToken) =>
        client.Containers.WaitContainerAsync(id, cancellationToken).WaitAsync(cancellationToken);

    /// <summary>
    /// Removes a container, running or not, and waits until it is gone: as long as it is listed, its name is taken. Nothing happens
    /// if it is not there.
    /// </summary>
    public async Task RemoveContainerAsync(string id, CancellationToken cancellationToken)
    {
        var removed = await AskAsync(
            $"remove container {id}",
            limits.AnswerTimeout,
            async token =>
            {
                try
                {
                    await client.Containers.RemoveContainerAsync(
                        id, new ContainerRemoveParameters { Force = true, RemoveVolumes = true }, token);
                    return true;
                }
                catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.NotFound)
                {
                    return true;
                }
                catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.Conflict)
                {
                    // Its removal (by AutoRemove, or by an attempt before this) is under way.
                    return false;
                }
            },
            cancellationToken);
        if (!removed)
        {
            await WaitUntilGoneAsync(id, cancellationToken);
        }
    }

    /// <summary>
    /// Makes and starts a container with its standard input held. The three calls are repeated together: an input once held and
    /// let go would end the container at its start.
    /// </summary>
    public Task<(string Id, MultiplexedStream Input)> StartContainerAsync(
        CreateContainerParameters parameters, CancellationToken cancellationToken)
    {
        var again = false;
        return RetryAsync(
            $"start container {parameters.Name}",
            async token =>
            {
                if (again)
                {
                    // What an attempt before may have made has the name; it was never in use.
                    await RemoveContainerAsync(parameters.Name!, token);
                }

                again = true;
                return await StartOnceAsync(parameters, token);
            },
            IsTransient,
            cancellationToken);
    }

    public Task<ContainerExecCreateResponse> CreateExecAsync(
        string containerId, string name, ContainerExecCreateParameters parameters, CancellationToken cancellationToken) =>
        AskAsync(
            $"prepare {name}",
            limits.AnswerTimeout,
            token => client.Exec.CreateContainerExecAsync(containerId, parameters, token),
            cancellationToken);

    /// <summary>Starts a command. Repeated only where the engine says that it did not start it: run twice, it would do its work
    /// twice.</summary>
    public Task<MultiplexedStream> StartExecAsync(string execId, string command, CancellationToken cancellationToken) =>
        RetryAsync(
            $"start {command}",
            token => OnceAsync(
                limits.WorkTimeout, inner => client.Exec.StartContainerExecAsync(execId, new ContainerExecStartParameters(), inner), token),
            e => e is DockerApiException { StatusCode: >= HttpStatusCode.InternalServerError },
            cancellationToken);

    public Task<ContainerExecInspectResponse> InspectExecAsync(string execId, string command, CancellationToken cancellationToken) =>
        AskAsync(
            $"inspect {command}", limits.AnswerTimeout, token => client.Exec.InspectContainerExecAsync(execId, token), cancellationToken);

    /// <summary>Makes an image of a container.</summary>
    public Task CommitAsync(CommitContainerChangesParameters parameters, CancellationToken cancellationToken)
    {
        var what = $"commit {parameters.RepositoryName}:{parameters.Tag}";
        return AskAsync(
            what,
            limits.CommitTimeout,
            token => WatchAsync(inner => client.Images.CommitContainerChangesAsync(parameters, inner), PingAsync, token),
            cancellationToken);
    }

    /// <summary>Makes an image of a tar stream. The stream can be read once: the caller repeats it.</summary>
    /// <param name="parameters">The image.</param>
    /// <param name="tar">The stream.</param>
    /// <param name="onMessage">Gets the engine's messages; errors come as such.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public Task ImportAsync(
        ImagesCreateParameters parameters, Stream tar, Action<JSONMessage> onMessage, CancellationToken cancellationToken)
    {
        var what = $"import {parameters.Repo}:{parameters.Tag}";
        var activity = new Activity();
        return RetryAsync(
            what,
            token => WatchAsync(
                async inner =>
                {
                    var progress = new SynchronousProgress<JSONMessage>(message =>
                    {
                        activity.Note();
                        onMessage(message);
                    });
                    await client.Images.CreateImageAsync(parameters, new ActiveStream(tar, activity), null, progress, inner);
                    return true;
                },
                async inner =>
                {
                    await PingAsync(inner);
                    if (activity.Silence > limits.ImportSilence)
                    {
                        throw Stalled(what, $"it has taken no byte and said nothing for {Seconds(activity.Silence)} s");
                    }
                },
                token),
            _ => false,
            cancellationToken);
    }

    /// <summary>Runs a work under a watch: at intervals the engine is asked, and when that fails, the work has failed.</summary>
    /// <param name="work">The work; its token ends it.</param>
    /// <param name="ask">Throws when the work will not end.</param>
    /// <param name="cancellationToken">Ends both, and the wait at once.</param>
    public async Task<T> WatchAsync<T>(
        Func<CancellationToken, Task<T>> work, Func<CancellationToken, Task> ask, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var working = work(stop.Token);
        try
        {
            while (true)
            {
                await Task.WhenAny(working, Task.Delay(limits.WatchInterval, stop.Token));
                if (!working.IsCompleted)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    var asking = ask(stop.Token);
                    if (await Task.WhenAny(working, asking) == asking)
                    {
                        await asking;
                        continue;
                    }
                }

                return await working;
            }
        }
        finally
        {
            await stop.CancelAsync();
        }
    }

    /// <summary>Repeats a work with growing pauses.</summary>
    public async Task<T> RepeatAsync<T>(
        string what, Func<CancellationToken, Task<T>> work, Func<Exception, bool> isTransient, CancellationToken cancellationToken) =>
        await Retries.Pipeline(limits.Retries, $"Docker engine, {what}", line => Reporter.Verbose(line), isTransient).ExecuteAsync(
            async token => await work(token), cancellationToken);

    /// <summary>Repeats calls, and puts what is left into words: an engine that keeps silent, one that is not there, a connection that
    /// broke off.</summary>
    private async Task<T> RetryAsync<T>(
        string what, Func<CancellationToken, Task<T>> work, Func<Exception, bool> isTransient, CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        var attempts = 0;
        try
        {
            return await RepeatAsync(
                what,
                token =>
                {
                    attempts++;
                    return work(token);
                },
                isTransient,
                cancellationToken);
        }
        catch (TimeoutException e)
        {
            var asked = attempts > 1 ? $", asked {attempts} times" : "";
            throw Stalled(what, $"it has not answered for {Seconds(clock.Elapsed)} s{asked}", e);
        }
        catch (Exception e) when (IsConnectionFailure(e) && !cancellationToken.IsCancellationRequested)
        {
            throw EngineConnectionException.From(endpoint, what, attempts, e);
        }
    }

    /// <summary>Whether a later attempt may get over an error: a timeout, a connection that broke off, an error of the engine's
    /// own.</summary>
    public static bool IsTransient(Exception e) =>
        e is TimeoutException or DockerApiException { StatusCode: >= HttpStatusCode.InternalServerError }
        || (IsConnectionFailure(e) && !EngineConnectionException.IsNotThere(e))
        || e is EngineConnectionException { NotThere: false };

    /// <summary>The error of an engine that keeps silent.</summary>
    public ArchAzureException Stalled(string what, string how, Exception? cause = null) =>
        new(
            "DockerEngineStalled",
            ErrorKind.ConnectionError,
            $"The Docker engine at {endpoint} stalls ({what}): {how}. "
            + "See whether 'docker info' answers and what the engine's log says, restart it if need be, and run the step again.",
            endpoint,
            cause);

    private static Dictionary<string, IDictionary<string, bool>> Filter(string name, string value) => new(StringComparer.Ordinal)
    {
        [name] = new Dictionary<string, bool>(StringComparer.Ordinal) { [value] = true },
    };

    private static string Seconds(TimeSpan time) => time.TotalSeconds.ToString("0", System.Globalization.CultureInfo.InvariantCulture);

    // JsonException: an answer that was cut off.
    private static bool IsConnectionFailure(Exception e) =>
        e is HttpRequestException or IOException or SocketException or UnauthorizedAccessException or JsonException;

    private async Task WaitUntilGoneAsync(string id, CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        try
        {
            while (clock.Elapsed < limits.CleanUpTimeout)
            {
                await InspectContainerAsync(id, cancellationToken);
                await Task.Delay(50, cancellationToken);
            }

            Reporter.Verbose($"container {id} is still being removed after {Seconds(clock.Elapsed)} s");
        }
        catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.NotFound)
        {
            // That is what was waited for.
        }
    }

    private Task PingAsync(CancellationToken cancellationToken) =>
        AskAsync(
            "ping",
            limits.AnswerTimeout,
            async token =>
            {
                await client.System.PingAsync(token);
                return true;
            },
            cancellationToken);

    private Task<T> AskAsync<T>(string what, TimeSpan limit, Func<CancellationToken, Task<T>> call, CancellationToken cancellationToken) =>
        RetryAsync(what, token => OnceAsync(limit, call, token), IsTransient, cancellationToken);

    private static async Task<T> OnceAsync<T>(TimeSpan limit, Func<CancellationToken, Task<T>> call, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        stop.CancelAfter(limit);
        try
        {
            // The client reads the body of an error without a token.
            return await call(stop.Token).WaitAsync(stop.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"no answer for {limit.TotalSeconds:0.#} s", e);
        }
    }

    private async Task<(string Id, MultiplexedStream Input)> StartOnceAsync(
        CreateContainerParameters parameters, CancellationToken cancellationToken)
    {
        string? id = null;
        MultiplexedStream? input = null;
        try
        {
            // The engine makes the container even when nobody waits any more: a Ctrl-C has its turn after the answer.
            using var stop = new CancellationTokenSource();
            await using (cancellationToken.Register(() => stop.CancelAfter(limits.StopTimeout)))
            {
                var made = await OnceAsync(
                    limits.WorkTimeout, token => client.Containers.CreateContainerAsync(parameters, token), stop.Token);
                id = made.ID;
            }

            cancellationToken.ThrowIfCancellationRequested();
            input = await OnceAsync(
                limits.WorkTimeout,
                token => client.Containers.AttachContainerAsync(id, new ContainerAttachParameters { Stream = true, Stdin = true }, token),
                cancellationToken);
            await OnceAsync(
                limits.WorkTimeout,
                token => client.Containers.StartContainerAsync(id, new ContainerStartParameters(), token),
                cancellationToken);
            return (id, input);
        }
        catch
        {
            input?.Dispose();
            if (id is not null)
            {
                await TryRemoveAsync(id);
            }

            throw;
        }
    }

    /// <summary>The error of the start counts, not that of clearing up after it; the next run removes by label what is left.</summary>
    private async Task TryRemoveAsync(string id)
    {
        using var limit = new CancellationTokenSource(limits.CleanUpTimeout);
        try
        {
            await RemoveContainerAsync(id, limit.Token);
        }
        catch (Exception e) when (e is OperationCanceledException or ArchAzureException or DockerApiException)
        {
            Reporter.Verbose($"container {id} could not be removed: {e.Message}");
        }
    }

    /// <summary>When something last happened.</summary>
    private sealed class Activity
    {
        private long _last = Stopwatch.GetTimestamp();

        public TimeSpan Silence => Stopwatch.GetElapsedTime(Interlocked.Read(ref _last));

        public void Note() => Interlocked.Exchange(ref _last, Stopwatch.GetTimestamp());
    }

    /// <summary>Unlike <see cref="Progress{T}"/>: reports before the call that made them returns.</summary>
    private sealed class SynchronousProgress<T>(Action<T> report) : IProgress<T>
    {
        public void Report(T value) => report(value);
    }

    /// <summary>Notes each read.</summary>
    private sealed class ActiveStream(Stream stream, Activity activity) : Stream
    {
        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count)
        {
            activity.Note();
            return stream.Read(buffer, offset, count);
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            activity.Note();
            return await stream.ReadAsync(buffer, cancellationToken);
        }

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
