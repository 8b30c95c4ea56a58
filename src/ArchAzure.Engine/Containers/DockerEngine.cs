using System.IO.Pipelines;
using System.Net;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace ArchAzure.Containers;

/// <summary>The Docker engine: found as docker's own client finds it (DOCKER_HOST, contexts, the default socket).</summary>
internal sealed class DockerEngine : IDisposable
{
    /// <summary>The label every container of a build carries; its value is the build's id.</summary>
    public const string BuildLabel = "archazure.build";

    /// <summary>The label of containers in which a virtual machine runs, beside <see cref="BuildLabel"/>. They work without the build's
    /// lock.</summary>
    public const string MachineLabel = "archazure.machine";

    /// <summary>The repository of the names by which builds claim the images they use: <c>archazure/build:ID-builder</c>.</summary>
    public const string ClaimRepository = "archazure/build";

    private static readonly TimeSpan s_startLimit = TimeSpan.FromMinutes(2);

    private readonly DockerClient _client;

    private DockerEngine(DockerClient client, EngineCalls calls, SystemInfoResponse info)
    {
        _client = client;
        Calls = calls;
        Info = info;
    }

    /// <summary>The way to the engine; nothing goes past it.</summary>
    internal EngineCalls Calls { get; }

    internal SystemInfoResponse Info { get; }

    /// <summary>The engine's version.</summary>
    public string Version => Info.ServerVersion;

    /// <summary>The engine's address.</summary>
    public Uri Endpoint => _client.Options.Endpoint;

    /// <summary>Whether root in a container is someone else outside (rootless engine, user namespaces): files then belong to the user
    /// without chown.</summary>
    internal bool MapsUsers => IsRootless || HasSecurityOption("userns");

    /// <summary>Whether root in a container is the engine's user outside.</summary>
    internal bool IsRootless => HasSecurityOption("rootless");

    /// <summary>Whether containers share this process' kernel, and with it unix sockets: not those of Docker Desktop, which run in a
    /// virtual machine.</summary>
    internal bool SharesKernel => OperatingSystem.IsLinux() && Endpoint.Scheme == "unix" && Info.OperatingSystem != "Docker Desktop";

    internal bool HasAppArmor => HasSecurityOption("apparmor");

    /// <summary>Connects and checks that the engine answers.</summary>
    /// <param name="reporter">Told of each attempt that failed.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <param name="limits">How long the engine may keep silent; null for the defaults.</param>
    /// <exception cref="ArchAzureException"><c>DockerEngineNotFound</c>, <c>DockerPermissionDenied</c>, <c>DockerConnectionLost</c> or
    /// <c>DockerEngineStalled</c>.</exception>
    public static Task<DockerEngine> ConnectAsync(IReporter reporter, CancellationToken cancellationToken, EngineLimits? limits = null) =>
        ConnectAsync(reporter, null, limits, cancellationToken);

    /// <summary>The same for an engine at an address that is known; null for the one that docker's own client would find.</summary>
    internal static async Task<DockerEngine> ConnectAsync(
        IReporter reporter, Uri? address, EngineLimits? limits, CancellationToken cancellationToken)
    {
        DockerClient? connection = null;
        try
        {
            // No API version is named: the client negotiates it. No overall time limit: each call has its own.
            var builder = new DockerClientBuilder().WithTimeout(Timeout.InfiniteTimeSpan);
            connection = (address is null ? builder : builder.WithEndpoint(address)).Build();
            var calls = new EngineCalls(connection, connection.Options.Endpoint.ToString(), limits ?? new EngineLimits(), reporter);
            return new DockerEngine(connection, calls, await calls.InfoAsync(cancellationToken));
        }
        catch (Exception e) when (e is not ArchAzureException && !cancellationToken.IsCancellationRequested)
        {
            var endpoint = connection?.Options.Endpoint.ToString()
                ?? Environment.GetEnvironmentVariable("DOCKER_HOST")
                ?? "the default socket";
            connection?.Dispose();
            throw EngineConnectionException.NotFound(endpoint, e);
        }
        catch (EngineConnectionException e)
        {
            // The type is for those who hold a container; to others the error is one as any.
            connection?.Dispose();
            throw new ArchAzureException(e.ErrorId, e.Kind, e.Message, e.Target, e.InnerException);
        }
        catch
        {
            connection?.Dispose();
            throw;
        }
    }

    /// <summary>Whether there is an image of this name.</summary>
    public async Task<bool> ImageExistsAsync(string image, CancellationToken cancellationToken) =>
        await TryInspectImageAsync(image, cancellationToken) is not null;

    /// <summary>The labels of an image, or null if there is no such image.</summary>
    public async Task<IDictionary<string, string>?> ImageLabelsAsync(string image, CancellationToken cancellationToken) =>
        await TryInspectImageAsync(image, cancellationToken) is { } found
            ? found.Config?.Labels ?? new Dictionary<string, string>(StringComparer.Ordinal)
            : null;

    /// <summary>All names of an image; none if there is no such image.</summary>
    public async Task<IReadOnlyList<string>> ImageNamesAsync(string image, CancellationToken cancellationToken) =>
        [.. (await TryInspectImageAsync(image, cancellationToken))?.RepoTags ?? []];

    /// <summary>Whether a name of an image is a build's claim.</summary>
    public static bool IsClaim(string name) => name.StartsWith($"{ClaimRepository}:", StringComparison.Ordinal);

    /// <summary>Gives an image a build's claim; nothing happens if there is no such image. One that only this claim held goes.</summary>
    public async Task ClaimImageAsync(string image, string claim, CancellationToken cancellationToken)
    {
        var id = (await TryInspectImageAsync(image, cancellationToken))?.ID;
        var before = (await TryInspectImageAsync(claim, cancellationToken))?.ID;
        if (id is null || id == before)
        {
            return;
        }

        await NameImageAsync(id, claim, cancellationToken);
        if (before is not null)
        {
            await RemoveIfNamelessAsync(before, cancellationToken);
        }
    }

    /// <summary>Makes an image of a plain tar stream.</summary>
    /// <param name="image">name:tag.</param>
    /// <param name="writeTar">Writes an uncompressed tar archive (engine 20.10 reads no zstd); called again where the connection broke
    /// off.</param>
    /// <param name="labels">Labels of the image.</param>
    /// <param name="cancellationToken">Stops the import; no image is left then.</param>
    /// <exception cref="ArchAzureException"><c>ImageImportFailed</c> or <c>DockerEngineStalled</c>; what <paramref name="writeTar"/>
    /// throws.</exception>
    public async Task ImportImageAsync(
        string image,
        Func<Stream, CancellationToken, Task> writeTar,
        IReadOnlyDictionary<string, string> labels,
        CancellationToken cancellationToken)
    {
        var (repository, tag) = SplitImage(image);
        var parameters = new ImagesCreateParameters
        {
            FromSrc = "-",
            Repo = repository,
            Tag = tag,
            Changes = [.. labels.Select(label => $"LABEL {label.Key}={label.Value}")],
        };
        await ReplaceImageAsync(
            image,
            async () =>
            {
                JSONError? error;
                try
                {
                    error = await Calls.RepeatAsync(
                        $"import {image}",
                        token => ImportOnceAsync(parameters, writeTar, token),
                        e => e is EngineConnectionException or DockerApiException && EngineCalls.IsTransient(e),
                        cancellationToken);
                }
                catch (DockerApiException e)
                {
                    throw ImportFailed(image, e.Message, e);
                }
                catch (EngineConnectionException e) when (!e.NotThere)
                {
                    // An engine that has no room tells it, and breaks off before all is sent: its word is lost with the connection.
                    throw ImportFailed(image, $"the connection broke off: {e.GetBaseException().Message.TrimEnd('.')}.", e);
                }

                if (error is not null)
                {
                    throw ImportFailed(image, error.Message, null);
                }
            },
            cancellationToken);
    }

    /// <summary>
    /// Makes an image. The claims of the one that had its name before go over to it: the builds that use the name use the new image.
    /// The old one would then stay without any name, and nobody would find it: it goes.
    /// </summary>
    internal async Task ReplaceImageAsync(string image, Func<Task> make, CancellationToken cancellationToken)
    {
        var before = await TryInspectImageAsync(image, cancellationToken);
        await make();
        var after = await TryInspectImageAsync(image, cancellationToken);
        if (before is null || after is null || before.ID == after.ID)
        {
            return;
        }

        foreach (var claim in (before.RepoTags ?? []).Where(IsClaim))
        {
            await NameImageAsync(after.ID, claim, cancellationToken);
        }

        await RemoveIfNamelessAsync(before.ID, cancellationToken);
    }

    /// <summary>Removes an image; nothing happens if it is not there.</summary>
    /// <returns>True if it was removed.</returns>
    public async Task<bool> RemoveImageAsync(string image, CancellationToken cancellationToken)
    {
        try
        {
            await Calls.RemoveImageAsync(image, cancellationToken);
            return true;
        }
        catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.NotFound)
        {
            return false;
        }
    }

    /// <summary>The names of the images of a repository whose tag begins with a text.</summary>
    public async Task<IReadOnlyList<string>> FindImagesAsync(string repository, string tagStart, CancellationToken cancellationToken)
    {
        var start = $"{repository}:{tagStart}";
        var images = await Calls.ListImagesAsync(start + "*", cancellationToken);
        return [.. images.SelectMany(image => image.RepoTags ?? []).Where(name => name.StartsWith(start, StringComparison.Ordinal))];
    }

    /// <summary>Removes the containers a killed run of this build has left. The caller holds the build's lock.</summary>
    /// <param name="buildId">The build.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <param name="kept">The id of a container that the caller still works with; null for none.</param>
    /// <returns>How many there were.</returns>
    public Task<int> RemoveLeftoversAsync(Guid buildId, CancellationToken cancellationToken, string? kept = null) =>
        RemoveContainersAsync(
            $"{BuildLabel}={buildId}",
            container => container.ID != kept && IsLeftover(container, DateTime.UtcNow),
            cancellationToken);

    /// <summary>Removes the containers of this build whose virtual machine has ended. No lock is needed.</summary>
    /// <returns>How many there were.</returns>
    public Task<int> RemoveEndedMachinesAsync(Guid buildId, CancellationToken cancellationToken) =>
        RemoveContainersAsync($"{MachineLabel}={buildId}", container => IsLeftover(container, DateTime.UtcNow), cancellationToken);

    /// <summary>Removes all containers of this build, also of a virtual machine that runs.</summary>
    /// <returns>How many there were.</returns>
    public Task<int> RemoveContainersAsync(Guid buildId, CancellationToken cancellationToken) =>
        RemoveContainersAsync($"{BuildLabel}={buildId}", _ => true, cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    /// <summary>
    /// Whether nobody works with a container any more. One of a virtual machine ends with its owner: while it runs it has one,
    /// and one that was just made is about to start.
    /// </summary>
    internal static bool IsLeftover(ContainerListResponse container, DateTime now) =>
        container.Labels?.ContainsKey(MachineLabel) != true
        || (container.State is not ("running" or "removing") && now - container.Created.ToUniversalTime() > s_startLimit);

    private async Task<int> RemoveContainersAsync(
        string label, Func<ContainerListResponse, bool> choose, CancellationToken cancellationToken)
    {
        var all = await Calls.ListContainersAsync(label, cancellationToken);
        var chosen = all.Where(choose).ToList();
        foreach (var container in chosen)
        {
            await Calls.RemoveContainerAsync(container.ID, cancellationToken);
        }

        // A volume goes with its container, unless somebody else removed that.
        foreach (var volume in await Calls.ListVolumesAsync(label, cancellationToken))
        {
            try
            {
                await Calls.RemoveVolumeAsync(volume, cancellationToken);
            }
            catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.Conflict && chosen.Count < all.Count)
            {
                // It is that of a container that stays.
            }
        }

        return chosen.Count;
    }

    internal static (string Repository, string Tag) SplitImage(string image)
    {
        var colon = image.LastIndexOf(':');
        return (image[..colon], image[(colon + 1)..]);
    }

    private Task NameImageAsync(string image, string name, CancellationToken cancellationToken)
    {
        var (repository, tag) = SplitImage(name);
        return Calls.TagImageAsync(image, repository, tag, cancellationToken);
    }

    private async Task RemoveIfNamelessAsync(string id, CancellationToken cancellationToken)
    {
        if ((await ImageNamesAsync(id, cancellationToken)).Count > 0)
        {
            return;
        }

        try
        {
            await RemoveImageAsync(id, cancellationToken);
        }
        catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.Conflict)
        {
            // Another image stands on it or a container runs of it: the engine removes it with the last of these images.
        }
    }

    /// <returns>The engine's error. It answers 200 before it reads the stream; errors come as messages.</returns>
    private async Task<JSONError?> ImportOnceAsync(
        ImagesCreateParameters parameters, Func<Stream, CancellationToken, Task> writeTar, CancellationToken cancellationToken)
    {
        JSONError? error = null;
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: 1 << 22, resumeWriterThreshold: 1 << 21));
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var writing = WriteAsync();
        try
        {
            await Calls.ImportAsync(parameters, pipe.Reader.AsStream(), message => error ??= message.Error, cancellationToken);
        }
        catch when (writing.IsFaulted)
        {
            // The archive's own error says more than the broken import; it comes out of the await below.
        }
        finally
        {
            await stop.CancelAsync();
            await pipe.Reader.CompleteAsync();
        }

        await writing;
        return error;

        async Task WriteAsync()
        {
            try
            {
                await writeTar(pipe.Writer.AsStream(), stop.Token);
                await pipe.Writer.CompleteAsync();
            }
            catch (Exception e)
            {
                await pipe.Writer.CompleteAsync(e);
                throw;
            }
        }
    }

    private ArchAzureException ImportFailed(string image, string? reason, Exception? cause) =>
        new(
            "ImageImportFailed",
            ErrorKind.ConnectionError,
            $"The Docker engine could not import '{image}': {reason} "
            + $"See its log and whether its data folder ({Info.DockerRootDir}) has space left, and run the step again.",
            image,
            cause);

    private async Task<ImageInspectResponse?> TryInspectImageAsync(string image, CancellationToken cancellationToken)
    {
        try
        {
            return await Calls.InspectImageAsync(image, cancellationToken);
        }
        catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.NotFound)
        {
            return null;
        }
    }

    private bool HasSecurityOption(string name) =>
        Info.SecurityOptions?.Any(option => option.Split(',').Contains($"name={name}", StringComparer.Ordinal)) ?? false;
}
