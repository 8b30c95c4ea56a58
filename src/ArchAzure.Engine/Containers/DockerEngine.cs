using System.Net;
using System.Net.Sockets;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace ArchAzure.Containers;

/// <summary>The Docker engine: found as docker's own client finds it (DOCKER_HOST, contexts, the default socket).</summary>
public sealed class DockerEngine : IDisposable
{
    /// <summary>The label every container of a build carries; its value is the build's id.</summary>
    public const string BuildLabel = "archazure.build";

    /// <summary>The label of containers in which a virtual machine runs, beside <see cref="BuildLabel"/>. They work without the build's lock.</summary>
    public const string MachineLabel = "archazure.machine";

    private static readonly TimeSpan StartLimit = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan PingTimeout = TimeSpan.FromSeconds(15);

    private readonly DockerClient _client;

    private DockerEngine(DockerClient client, SystemInfoResponse info)
    {
        _client = client;
        Info = info;
    }

    internal IDockerClient Client => _client;

    internal SystemInfoResponse Info { get; }

    /// <summary>The engine's version.</summary>
    public string Version => Info.ServerVersion;

    /// <summary>The engine's address.</summary>
    public Uri Endpoint => _client.Options.Endpoint;

    /// <summary>Whether root in a container is someone else outside (rootless engine, user namespaces): files then belong to the user without chown.</summary>
    internal bool MapsUsers => IsRootless || HasSecurityOption("userns");

    /// <summary>Whether root in a container is the engine's user outside.</summary>
    internal bool IsRootless => HasSecurityOption("rootless");

    /// <summary>Whether containers share this process' kernel, and with it unix sockets: not those of Docker Desktop, which run in a virtual machine.</summary>
    internal bool SharesKernel => OperatingSystem.IsLinux() && Endpoint.Scheme == "unix" && Info.OperatingSystem != "Docker Desktop";

    internal bool HasAppArmor => HasSecurityOption("apparmor");

    /// <summary>Connects and checks that the engine answers.</summary>
    /// <exception cref="ArchAzureException"><c>DockerEngineNotFound</c> or <c>DockerPermissionDenied</c>.</exception>
    public static async Task<DockerEngine> ConnectAsync(CancellationToken cancellationToken)
    {
        DockerClient? connection = null;
        try
        {
            // No API version is named: the client negotiates it. No overall time limit: pacstrap may take an hour.
            connection = new DockerClientBuilder().WithTimeout(Timeout.InfiniteTimeSpan).Build();
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(PingTimeout);
            return new DockerEngine(connection, await connection.System.GetSystemInfoAsync(limit.Token));
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            var endpoint = connection?.Options.Endpoint.ToString() ?? Environment.GetEnvironmentVariable("DOCKER_HOST") ?? "the default socket";
            connection?.Dispose();
            throw Unreachable(endpoint, e);
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

    /// <summary>Makes an image of a plain tar stream.</summary>
    /// <param name="image">name:tag.</param>
    /// <param name="tar">An uncompressed tar archive (engine 20.10 reads no zstd).</param>
    /// <param name="labels">Labels of the image.</param>
    /// <param name="cancellationToken">Stops the import; no image is left then.</param>
    public async Task ImportImageAsync(string image, Stream tar, IReadOnlyDictionary<string, string> labels, CancellationToken cancellationToken)
    {
        var (repository, tag) = SplitImage(image);
        var parameters = new ImagesCreateParameters
        {
            FromSrc = "-",
            Repo = repository,
            Tag = tag,
            Changes = [.. labels.Select(label => $"LABEL {label.Key}={label.Value}")],
        };

        // The engine answers 200 before it reads the stream; errors come as messages.
        JSONError? error = null;
        var progress = new SynchronousProgress<JSONMessage>(message => error ??= message.Error);
        await _client.Images.CreateImageAsync(parameters, tar, null, progress, cancellationToken);
        if (error is not null)
        {
            throw new ArchAzureException(
                "ImageImportFailed", ErrorKind.ConnectionError, $"The Docker engine could not import '{image}': {error.Message} Check the room in its data folder ({Info.DockerRootDir}), and try again.", image);
        }
    }

    /// <summary>Removes an image; nothing happens if it is not there.</summary>
    /// <returns>True if it was removed.</returns>
    public async Task<bool> RemoveImageAsync(string image, CancellationToken cancellationToken)
    {
        try
        {
            await _client.Images.DeleteImageAsync(image, new ImageDeleteParameters { Force = false }, cancellationToken);
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
        var images = await _client.Images.ListImagesAsync(
            new ImagesListParameters
            {
                Filters = new Dictionary<string, IDictionary<string, bool>>(StringComparer.Ordinal)
                {
                    ["reference"] = new Dictionary<string, bool>(StringComparer.Ordinal) { [$"{repository}:{tagStart}*"] = true },
                },
            },
            cancellationToken);
        return [.. images.SelectMany(image => image.RepoTags ?? []).Where(name => name.StartsWith($"{repository}:{tagStart}", StringComparison.Ordinal))];
    }

    /// <summary>Removes the containers a killed run of this build has left. The caller holds the build's lock.</summary>
    /// <returns>How many there were.</returns>
    public Task<int> RemoveLeftoversAsync(Guid buildId, CancellationToken cancellationToken) =>
        RemoveContainersAsync($"{BuildLabel}={buildId}", container => IsLeftover(container, DateTime.UtcNow), cancellationToken);

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
        || (container.State is not ("running" or "removing") && now - container.Created.ToUniversalTime() > StartLimit);

    private async Task<int> RemoveContainersAsync(string label, Func<ContainerListResponse, bool> choose, CancellationToken cancellationToken)
    {
        var containers = await _client.Containers.ListContainersAsync(
            new ContainersListParameters
            {
                All = true,
                Filters = new Dictionary<string, IDictionary<string, bool>>(StringComparer.Ordinal)
                {
                    ["label"] = new Dictionary<string, bool>(StringComparer.Ordinal) { [label] = true },
                },
            },
            cancellationToken);
        var chosen = containers.Where(choose).ToList();
        foreach (var container in chosen)
        {
            await RemoveContainerAsync(container.ID, cancellationToken);
        }

        return chosen.Count;
    }

    internal async Task RemoveContainerAsync(string id, CancellationToken cancellationToken)
    {
        try
        {
            await _client.Containers.RemoveContainerAsync(id, new ContainerRemoveParameters { Force = true, RemoveVolumes = true }, cancellationToken);
        }
        catch (DockerApiException e) when (e.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.Conflict)
        {
            // Gone already, or its own removal (AutoRemove) is under way.
        }
    }

    internal static (string Repository, string Tag) SplitImage(string image)
    {
        var colon = image.LastIndexOf(':');
        return (image[..colon], image[(colon + 1)..]);
    }

    private async Task<ImageInspectResponse?> TryInspectImageAsync(string image, CancellationToken cancellationToken)
    {
        try
        {
            return await _client.Images.InspectImageAsync(image, cancellationToken);
        }
        catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.NotFound)
        {
            return null;
        }
    }

    private bool HasSecurityOption(string name) =>
        Info.SecurityOptions?.Any(option => option.Split(',').Contains($"name={name}", StringComparer.Ordinal)) ?? false;

    private static ArchAzureException Unreachable(string endpoint, Exception cause)
    {
        for (var e = cause; e is not null; e = e.InnerException)
        {
            if (e is UnauthorizedAccessException or SocketException { SocketErrorCode: SocketError.AccessDenied })
            {
                return new ArchAzureException(
                    "DockerPermissionDenied",
                    ErrorKind.PermissionDenied,
                    $"You may not use the Docker engine at {endpoint}. Have your user added to the group 'docker' (sudo usermod -aG docker $USER) and log in anew, or name your own engine in DOCKER_HOST.",
                    endpoint,
                    cause);
            }
        }

        return new ArchAzureException(
            "DockerEngineNotFound",
            ErrorKind.ConnectionError,
            $"No Docker engine answers at {endpoint}: {cause.GetBaseException().Message} Start Docker (e.g. sudo systemctl start docker), or name a running engine in DOCKER_HOST.",
            endpoint,
            cause);
    }

    /// <summary>Unlike <see cref="Progress{T}"/>: reports before the call that made them returns.</summary>
    private sealed class SynchronousProgress<T>(Action<T> report) : IProgress<T>
    {
        public void Report(T value) => report(value);
    }
}
