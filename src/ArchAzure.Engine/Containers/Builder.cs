using System.Net;
using System.Text;
using ArchAzure.IO;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace ArchAzure.Containers;

/// <summary>The container a step works in. It ends with this process, however that happens.</summary>
internal sealed class Builder : IAsyncDisposable
{
    /// <summary>What a command ended by SIGKILL reports: 128 and the signal's number.</summary>
    public const long KilledStatus = 137;

    private static readonly TimeSpan s_noticeTimeout = TimeSpan.FromSeconds(5);

    private readonly DockerEngine _engine;
    private readonly LifelineContainer _container;
    private CommandServer? _server;

    /// <summary>Whether the filter of system calls works; null before the target's mounts are made.</summary>
    private bool? _isFiltered;

    private Builder(DockerEngine engine, LifelineContainer container, StepLog log)
    {
        _engine = engine;
        _container = container;
        Log = log;
    }

    /// <summary>The container's name.</summary>
    public string Name => _container.Name;

    /// <summary>The engine's id of it.</summary>
    public string Id => _container.Id;

    /// <summary>What each command is run by: it takes rights away. Empty for a builder without a target, which never had them.</summary>
    internal IReadOnlyList<string> Confinement => _isFiltered is { } filtered ? TargetChroot.Confinement(filtered, IsOffline) : [];

    /// <summary>The log of the step it works for.</summary>
    internal StepLog Log { get; set; }

    /// <summary>Whether the target's tree is in memory.</summary>
    internal bool IsInMemory { get; private set; }

    /// <summary>Whether its commands have no network, whatever the container has. For builders with a target.</summary>
    internal bool IsOffline { get; set; }

    /// <summary>The engine's address, as docker's own client takes it.</summary>
    public string Endpoint => _engine.Endpoint.ToString();

    /// <summary>Starts a builder.</summary>
    /// <exception cref="ArchAzureException"><c>BuilderImageNotFound</c>, <c>WorkDirectoryNotVisible</c>, <c>BuilderNotStarted</c> or
    /// <c>MountRefused</c>.</exception>
    public static async Task<Builder> StartAsync(DockerEngine engine, BuilderSpec spec, StepLog log, CancellationToken cancellationToken)
    {
        var name = $"archazure-{spec.Purpose}-{spec.BuildId.ToString("N")[..8]}";
        log.Command($"start builder {name} of {spec.Image}, network {spec.Network}");
        Builder builder;
        try
        {
            builder = new Builder(
                engine, await LifelineContainer.StartAsync(engine, name, Parameters(engine, spec), cancellationToken), log);
        }
        catch (DockerApiException e)
        {
            throw StartFailed(spec, e);
        }

        try
        {
            if (spec.HasServer)
            {
                builder._server = await CommandServer.StartAsync(builder._container, engine.Calls, cancellationToken);
            }

            if (spec.HasTarget)
            {
                await builder.MountTargetAsync(spec.Memory, cancellationToken);
            }

            return builder;
        }
        catch
        {
            await builder.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a command and waits for its end.</summary>
    /// <param name="command">The program and its arguments; no shell is involved.</param>
    /// <param name="options">Input, environment, line callback.</param>
    /// <param name="cancellationToken">Stops waiting; the command ends with the builder.</param>
    /// <exception cref="CommandFailedException">It ended with another status than 0.</exception>
    /// <exception cref="ArchAzureException"><c>BuilderDied</c>: the container or the engine is gone. <c>DockerEngineStalled</c>: it no
    /// longer answers.</exception>
    public Task<CommandResult> RunAsync(IReadOnlyList<string> command, CommandOptions? options, CancellationToken cancellationToken) =>
        RunAsync(command, options ?? new CommandOptions(), Confinement, cancellationToken);

    private async Task<CommandResult> RunAsync(
        IReadOnlyList<string> command, CommandOptions options, IReadOnlyList<string> confinement, CancellationToken cancellationToken)
    {
        Log.Command(string.Join(' ', command));
        try
        {
            var collector = new OutputCollector(options.LogOutput ? Log : null, options.OnLine);
            var status = await RunAsync(
                [.. confinement, .. command], command[0], options, (bytes, error) => collector.Add(bytes.Span, error), cancellationToken);
            collector.Complete();
            if (status is not { } exitCode)
            {
                throw Died(null);
            }

            var result = new CommandResult(exitCode, collector.Output, collector.Tail);
            if (exitCode == 0 || options.AllowFailure)
            {
                return result;
            }

            await ThrowIfGoneAsync(exitCode, cancellationToken);
            throw new CommandFailedException(
                command,
                result,
                exitCode is 126 or 127 ? "the builder lacks this program; make it again with New-ArchBootstrap -Force" : null);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested && LifelineContainer.IsEngineFailure(e))
        {
            throw Died(e);
        }
    }

    private async Task<long?> RunAsync(
        IReadOnlyList<string> command, string name, CommandOptions options, Action<ReadOnlyMemory<byte>, bool> onOutput,
        CancellationToken cancellationToken) =>
        _server?.IsReady == true && await options.ReadInputAsync(CommandServer.MaximumInput, cancellationToken) is { } input
            ? await _server.RunAsync(command, name, options.Environment, input, onOutput, cancellationToken)
            : await _container.ExecAsync(command, name, options.Environment, options.Input, onOutput, cancellationToken);

    /// <summary>Writes a text file in the builder.</summary>
    public Task WriteFileAsync(string path, string content, CancellationToken cancellationToken) =>
        RunAsync(
            ["install", "-D", "--mode=0644", "/dev/stdin", path],
            new CommandOptions { Input = (stream, token) => stream.WriteAsync(Encoding.UTF8.GetBytes(content), token).AsTask() },
            cancellationToken);

    /// <summary>Makes an image of the container's present state.</summary>
    public async Task CommitAsync(string image, IReadOnlyDictionary<string, string> labels, CancellationToken cancellationToken)
    {
        Log.Command($"commit {image}");
        var (repository, tag) = DockerEngine.SplitImage(image);
        try
        {
            await _engine.ReplaceImageAsync(
                image,
                () => _engine.Calls.CommitAsync(
                    new CommitContainerChangesParameters
                    {
                        ContainerID = _container.Id,
                        RepositoryName = repository,
                        Tag = tag,
                        Changes = [.. labels.Select(label => $"LABEL {label.Key}={label.Value}")],
                    },
                    cancellationToken),
                cancellationToken);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested && LifelineContainer.IsEngineFailure(e))
        {
            throw new ArchAzureException(
                "ImageNotSaved",
                ErrorKind.ConnectionError,
                $"The Docker engine could not make the image '{image}' of the builder {Name}: {e.GetBaseException().Message.TrimEnd('.')}. "
                + $"Check the room in its data folder ({_engine.Info.DockerRootDir}) and its log, and run the step again.",
                image,
                e);
        }
    }

    /// <summary>Makes files that the builder's root wrote belong to the user who runs this. A failure is noted, not thrown: the next run
    /// repeats it.</summary>
    public async Task GiveToUserAsync(string builderPath, CancellationToken cancellationToken)
    {
        if (_engine.MapsUsers || Posix.EffectiveOwner is not { User: not 0 } owner)
        {
            return;
        }

        try
        {
            await RunAsync(["chown", "-R", "-h", "--", $"{owner.User}:{owner.Group}", builderPath], null, cancellationToken);
        }
        catch (ArchAzureException e)
        {
            Log.Write($"{builderPath} still belongs to root: {e.Message}");
        }
    }

    /// <summary>Takes a mounted file away from all commands that come. The one command that is not confined, besides the mounts.</summary>
    public Task UnmountAsync(string path, CancellationToken cancellationToken) =>
        RunAsync(["umount", "--", path], new CommandOptions(), confinement: [], cancellationToken);

    /// <summary>Whether its container still runs.</summary>
    public async Task<bool> IsRunningAsync(CancellationToken cancellationToken)
    {
        try
        {
            return (await _engine.Calls.InspectContainerAsync(_container.Id, cancellationToken)).State?.Running == true;
        }
        catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.NotFound)
        {
            return false;
        }
    }

    /// <summary>Ends the container with everything in it. Safe to call at any moment, also after a cancellation.</summary>
    public async ValueTask DisposeAsync()
    {
        _server?.Dispose();
        if (await _container.RemoveAsync() is { } failure)
        {
            Log.Detail($"The builder {Name} could not be removed: {failure} The next run removes it.");
        }
    }

    private static CreateContainerParameters Parameters(DockerEngine engine, BuilderSpec spec) => new()
    {
        Image = spec.Image,
        Hostname = "builder",
        Labels = Labels(spec),
        Env =
        [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/bin", "LANG=C.UTF-8", "SHELL=/bin/bash",
            .. spec.Environment.Select(pair => $"{pair.Key}={pair.Value}"),
        ],
        HostConfig = new HostConfig
        {
            NetworkMode = spec.Network,
            CapDrop = ["ALL"],
            CapAdd = [.. BuilderCapabilities.Files.Keys, .. spec.HasTarget ? BuilderCapabilities.Mounts.Keys : []],

            // Ubuntu's docker-default AppArmor profile denies every mount, whatever the capabilities.
            SecurityOpt = ["no-new-privileges", .. spec.HasTarget && engine.HasAppArmor ? ["apparmor=unconfined"] : Array.Empty<string>()],

            // Nothing that ran in the target can replace what gives up SYS_ADMIN for the next command.
            ReadonlyRootfs = spec.HasTarget,
            Tmpfs = spec.HasTarget || spec.HasServer
                ? new Dictionary<string, string>(StringComparer.Ordinal) { ["/run"] = "", ["/tmp"] = "" }
                : null,

            // The volume has no name, and goes with the container.
            Mounts = [.. LifelineContainer.Mounts(spec.Mounts), .. spec.HasTarget ? [TargetVolume(spec)] : Array.Empty<Mount>()],
        },
    };

    private static Mount TargetVolume(BuilderSpec spec) =>
        new() { Type = "volume", Target = TargetChroot.Tree, VolumeOptions = new VolumeOptions { Labels = Labels(spec) } };

    private static Dictionary<string, string> Labels(BuilderSpec spec) =>
        new(StringComparer.Ordinal) { [DockerEngine.BuildLabel] = spec.BuildId.ToString() };

    private async Task MountTargetAsync(long memory, CancellationToken cancellationToken)
    {
        try
        {
            var mounted = await RunAsync(TargetChroot.MountCommand(memory), TargetChroot.MountOptions, cancellationToken);
            IsInMemory = mounted.Output.Contains(TargetChroot.InMemory, StringComparison.Ordinal);
            var filtered = mounted.Output.Contains(TargetChroot.Filtered, StringComparison.Ordinal);
            _isFiltered = filtered;
            if (!filtered)
            {
                Log.Detail(
                    "The filter of system calls does not work here (an emulated processor, or setpriv before util-linux 2.41): "
                    + "commands run without it, and without CAP_SYS_ADMIN all the same.");
            }

            Log.Write($"each command of this builder runs after: {string.Join(' ', Confinement)}");
        }
        catch (CommandFailedException e)
        {
            throw new ArchAzureException(
                "MountRefused",
                ErrorKind.PermissionDenied,
                $"The builder {Name} could not mount /proc, /sys and /dev for the target: {string.Join(' ', e.Result.Tail)} "
                + "The Docker engine, or a security module such as AppArmor or SELinux, forbids mounts in containers with CAP_SYS_ADMIN. "
                + "See the log of the engine and of the kernel.",
                Name,
                e);
        }
    }

    /// <summary>A command that fails because its container was killed should not be blamed.</summary>
    private async Task ThrowIfGoneAsync(long exitCode, CancellationToken cancellationToken)
    {
        if (exitCode == KilledStatus)
        {
            // The kernel ends a killed container's commands before the engine has noticed the container's own end.
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(s_noticeTimeout);
            try
            {
                await _engine.Calls.WaitContainerAsync(_container.Id, limit.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // It goes on: only the command was killed.
            }
        }

        var container = await _engine.Calls.InspectContainerAsync(_container.Id, cancellationToken);
        if (container.State?.Running != true)
        {
            throw Died(null);
        }
    }

    private ArchAzureException Died(Exception? cause) =>
        new(
            "BuilderDied",
            ErrorKind.ConnectionError,
            $"The builder {Name} ended in the middle of the work (was it killed, was the Docker engine stopped, or is its disk full?)"
            + $"{(cause is null ? "." : $": {cause.GetBaseException().Message.TrimEnd('.')}.")} Run the step again.",
            Name,
            cause);

    private static ArchAzureException StartFailed(BuilderSpec spec, DockerApiException e)
    {
        if (e.StatusCode == HttpStatusCode.NotFound && e.ResponseBody?.Contains("image", StringComparison.OrdinalIgnoreCase) == true)
        {
            return new ArchAzureException(
                "BuilderImageNotFound",
                ErrorKind.NotFound,
                $"The Docker image '{spec.Image}' is gone. Make it again: New-ArchBootstrap -WorkDirectory ... (its download is kept).",
                spec.Image,
                e);
        }

        if (e.ResponseBody?.Contains("bind source path does not exist", StringComparison.OrdinalIgnoreCase) == true)
        {
            var mount = spec.Mounts.LastOrDefault(mount => e.ResponseBody.Contains(mount.HostPath, StringComparison.Ordinal))
                ?? spec.Mounts[0];
            return new ArchAzureException(
                "WorkDirectoryNotVisible",
                ErrorKind.NotFound,
                $"The Docker engine cannot see '{mount.HostPath}'. It runs on another machine, or this folder is not shared with it: use a "
                + $"local engine, or a folder it shares{(mount.Setting is { } setting ? $" (setting {setting})" : "")}.",
                mount.HostPath,
                e);
        }

        return new ArchAzureException(
            "BuilderNotStarted",
            ErrorKind.ConnectionError,
            $"The Docker engine could not start a builder of '{spec.Image}': {e.Message.TrimEnd('.')}. "
            + "See 'docker info' and the engine's log.",
            spec.Image,
            e);
    }

    /// <summary>Collects output by lines for the log, the callback and the error.</summary>
    private sealed class OutputCollector(StepLog? log, Action<string, bool>? onLine)
    {
        private const int TailLines = 12;
        private const int OutputLimit = 1 << 20;

        private readonly List<byte> _output = [];
        private readonly LineCutter[] _lines = [new(), new()];
        private readonly Queue<string> _tail = new();

        public string Output => Encoding.UTF8.GetString(_output.ToArray());

        public IReadOnlyList<string> Tail => [.. _tail];

        public void Add(ReadOnlySpan<byte> bytes, bool error)
        {
            if (!error && _output.Count < OutputLimit)
            {
                _output.AddRange(bytes[..Math.Min(bytes.Length, OutputLimit - _output.Count)]);
            }

            _lines[error ? 1 : 0].Add(bytes, line => Line(line, error));
        }

        public void Complete()
        {
            _lines[0].Flush(line => Line(line, error: false));
            _lines[1].Flush(line => Line(line, error: true));
        }

        private void Line(string line, bool error)
        {
            log?.Write(line);
            onLine?.Invoke(line, error);
            if (line.Length == 0)
            {
                return;
            }

            _tail.Enqueue(line);
            if (_tail.Count > TailLines)
            {
                _tail.Dequeue();
            }
        }
    }
}
