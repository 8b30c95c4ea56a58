using System.Net;
using System.Text;
using ArchAzure.IO;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace ArchAzure.Containers;

/// <summary>
/// The container a step works in. Its main process reads standard input, which this object holds open: when this process
/// ends, however that happens, the input ends, the container stops, takes every command in it along, and the engine removes it.
/// </summary>
public sealed class Builder : IAsyncDisposable
{
    /// <summary>What a command ended by SIGKILL reports: 128 and the signal's number.</summary>
    private const long KilledStatus = 137;

    private static readonly TimeSpan NoticeTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan RemovalTimeout = TimeSpan.FromSeconds(30);

    private readonly DockerEngine _engine;
    private readonly MultiplexedStream _lifeline;
    private readonly StepLog _log;
    private readonly string _containerId;

    private Builder(DockerEngine engine, string containerId, string name, MultiplexedStream lifeline, StepLog log)
    {
        _engine = engine;
        _containerId = containerId;
        Name = name;
        _lifeline = lifeline;
        _log = log;
    }

    /// <summary>The container's name.</summary>
    public string Name { get; }

    /// <summary>The engine's address, as docker's own client takes it.</summary>
    public string Endpoint => _engine.Endpoint.ToString();

    /// <summary>Starts a builder.</summary>
    /// <exception cref="ArchAzureException"><c>BuilderImageNotFound</c>, <c>WorkDirectoryNotVisible</c> or <c>BuilderNotStarted</c>.</exception>
    public static async Task<Builder> StartAsync(DockerEngine engine, BuilderSpec spec, StepLog log, CancellationToken cancellationToken)
    {
        var name = $"archazure-{spec.Purpose}-{spec.BuildId.ToString("N")[..8]}";
        log.Command($"start builder {name} of {spec.Image}, network {spec.Network}");
        string? id = null;
        MultiplexedStream? keeper = null;
        try
        {
            id = (await engine.Client.Containers.CreateContainerAsync(Parameters(engine, spec, name), cancellationToken)).ID;
            keeper = await engine.Client.Containers.AttachContainerAsync(id, new ContainerAttachParameters { Stream = true, Stdin = true }, cancellationToken);
            await engine.Client.Containers.StartContainerAsync(id, new ContainerStartParameters(), cancellationToken);
            return new Builder(engine, id, name, keeper, log);
        }
        catch (Exception e)
        {
            keeper?.Dispose();
            if (id is not null)
            {
                using var limit = new CancellationTokenSource(RemovalTimeout);
                await engine.RemoveContainerAsync(id, limit.Token);
            }

            throw e is DockerApiException api ? StartFailed(spec, api) : e;
        }
    }

    /// <summary>Runs a command and waits for its end.</summary>
    /// <param name="command">The program and its arguments; no shell is involved.</param>
    /// <param name="options">Input, environment, line callback.</param>
    /// <param name="cancellationToken">Stops waiting; the command ends with the builder.</param>
    /// <exception cref="CommandFailedException">It ended with another status than 0.</exception>
    /// <exception cref="ArchAzureException"><c>BuilderDied</c>: the container or the engine is gone.</exception>
    public async Task<CommandResult> RunAsync(IReadOnlyList<string> command, CommandOptions? options, CancellationToken cancellationToken)
    {
        options ??= new CommandOptions();
        _log.Command(string.Join(' ', command));
        try
        {
            var exec = await _engine.Client.Exec.CreateContainerExecAsync(
                _containerId,
                new ContainerExecCreateParameters
                {
                    Cmd = [.. command],
                    Env = [.. options.Environment.Select(pair => $"{pair.Key}={pair.Value}")],
                    AttachStdin = options.Input is not null,
                    AttachStdout = true,
                    AttachStderr = true,
                },
                cancellationToken);
            var collector = new OutputCollector(_log, options.OnLine);
            using (var stream = await _engine.Client.Exec.StartContainerExecAsync(exec.ID, new ContainerExecStartParameters(), cancellationToken))
            {
                var reading = ReadAsync(stream, collector, cancellationToken);
                if (options.Input is not null)
                {
                    await WriteInputAsync(stream, options.Input, cancellationToken);
                }

                await reading;
            }

            collector.Complete();
            var inspected = await _engine.Client.Exec.InspectContainerExecAsync(exec.ID, cancellationToken);
            if (inspected.Running || inspected.ExitCode is not { } exitCode)
            {
                throw Died(null);
            }

            var result = new CommandResult(exitCode, collector.Output, collector.Tail);
            if (exitCode == 0 || options.AllowFailure)
            {
                return result;
            }

            await ThrowIfGoneAsync(exitCode, cancellationToken);
            throw new CommandFailedException(command, result, exitCode is 126 or 127 ? "the builder lacks this program; make it anew with New-ArchBootstrap -Force" : null);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested && e is DockerApiException or HttpRequestException or IOException or System.Net.Sockets.SocketException)
        {
            throw Died(e);
        }
    }

    /// <summary>Writes a text file in the builder.</summary>
    public Task WriteFileAsync(string path, string content, CancellationToken cancellationToken) =>
        RunAsync(
            ["install", "-D", "--mode=0644", "/dev/stdin", path],
            new CommandOptions { Input = (stream, token) => stream.WriteAsync(Encoding.UTF8.GetBytes(content), token).AsTask() },
            cancellationToken);

    /// <summary>Makes an image of the container's present state.</summary>
    public async Task CommitAsync(string image, IReadOnlyDictionary<string, string> labels, CancellationToken cancellationToken)
    {
        _log.Command($"commit {image}");
        var (repository, tag) = DockerEngine.SplitImage(image);
        await _engine.Client.Images.CommitContainerChangesAsync(
            new CommitContainerChangesParameters
            {
                ContainerID = _containerId,
                RepositoryName = repository,
                Tag = tag,
                Changes = [.. labels.Select(label => $"LABEL {label.Key}={label.Value}")],
            },
            cancellationToken);
    }

    /// <summary>Makes files that the builder's root wrote belong to the user who runs this. A failure is noted, not thrown: the next run repeats it.</summary>
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
            _log.Write($"{builderPath} still belongs to root: {e.Message}");
        }
    }

    /// <summary>Ends the container with everything in it. Safe to call at any moment, also after a cancellation.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            using var limit = new CancellationTokenSource(RemovalTimeout);
            await _engine.RemoveContainerAsync(_containerId, limit.Token);
            await WaitUntilGoneAsync(limit.Token);
        }
        catch (Exception e) when (e is DockerApiException or HttpRequestException or IOException or OperationCanceledException or System.Net.Sockets.SocketException)
        {
            _log.Write($"The builder {Name} could not be removed: {e.Message} The next run removes it.");
        }
        finally
        {
            _lifeline.Dispose();
        }
    }

    private static CreateContainerParameters Parameters(DockerEngine engine, BuilderSpec spec, string name) => new()
    {
        Name = name,
        Image = spec.Image,
        Hostname = "builder",
        Labels = new Dictionary<string, string>(StringComparer.Ordinal) { [DockerEngine.BuildLabel] = spec.BuildId.ToString() },
        Entrypoint = ["cat"],
        Cmd = [],
        WorkingDir = "/",
        AttachStdin = true,
        OpenStdin = true,
        StdinOnce = true,
        Env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/bin", "LANG=C.UTF-8"],
        HostConfig = new HostConfig
        {
            AutoRemove = true,
            NetworkMode = spec.Network,
            CapDrop = ["ALL"],
            CapAdd = [.. BuilderCapabilities.Files.Keys, .. spec.Mounting ? BuilderCapabilities.Mounts.Keys : []],

            // Ubuntu's docker-default AppArmor profile denies every mount, whatever the capabilities.
            SecurityOpt = spec.Mounting && engine.HasAppArmor ? ["apparmor=unconfined"] : [],
            Mounts = [.. spec.Mounts.Select(mount => new Mount { Type = "bind", Source = mount.HostPath, Target = mount.BuilderPath, ReadOnly = mount.ReadOnly })],
        },
    };

    private static async Task ReadAsync(MultiplexedStream stream, OutputCollector collector, CancellationToken cancellationToken)
    {
        var buffer = new byte[81920];
        while (true)
        {
            var read = await stream.ReadOutputAsync(buffer, 0, buffer.Length, cancellationToken);
            if (read.EOF)
            {
                return;
            }

            collector.Add(buffer.AsSpan(0, read.Count), read.Target == MultiplexedStream.TargetStream.StandardError);
        }
    }

    private static async Task WriteInputAsync(MultiplexedStream stream, Func<Stream, CancellationToken, Task> input, CancellationToken cancellationToken)
    {
        try
        {
            await using var writer = new BufferedStream(new InputStream(stream), 1 << 16);
            await input(writer, cancellationToken);
        }
        catch (IOException) when (!cancellationToken.IsCancellationRequested)
        {
            // The command ended before it had read everything; its exit status tells why.
        }

        stream.CloseWrite();
    }

    /// <summary>A command that fails because its container was killed should not be blamed.</summary>
    private async Task ThrowIfGoneAsync(long exitCode, CancellationToken cancellationToken)
    {
        if (exitCode == KilledStatus)
        {
            // The kernel ends a killed container's commands before the engine has noticed the container's own end.
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(NoticeTimeout);
            try
            {
                await _engine.Client.Containers.WaitContainerAsync(_containerId, limit.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // It goes on: only the command was killed.
            }
        }

        var container = await _engine.Client.Containers.InspectContainerAsync(_containerId, cancellationToken);
        if (container.State?.Running != true)
        {
            throw Died(null);
        }
    }

    private async Task WaitUntilGoneAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await _engine.Client.Containers.InspectContainerAsync(_containerId, cancellationToken);
                await Task.Delay(50, cancellationToken);
            }
        }
        catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.NotFound)
        {
            // That is what was waited for.
        }
    }

    private ArchAzureException Died(Exception? cause) =>
        new(
            "BuilderDied",
            ErrorKind.ConnectionError,
            $"The builder {Name} ended in the middle of the work (was it killed, was the Docker engine stopped, or is its disk full?){(cause is null ? "." : $": {cause.GetBaseException().Message}")} Run the step again.",
            Name,
            cause);

    private static ArchAzureException StartFailed(BuilderSpec spec, DockerApiException e)
    {
        if (e.StatusCode == HttpStatusCode.NotFound && e.ResponseBody?.Contains("image", StringComparison.OrdinalIgnoreCase) == true)
        {
            return new ArchAzureException(
                "BuilderImageNotFound", ErrorKind.NotFound, $"The Docker image '{spec.Image}' is gone. Make it anew: New-ArchBootstrap -WorkDirectory ... (its download is kept).", spec.Image, e);
        }

        if (e.ResponseBody?.Contains("bind source path does not exist", StringComparison.OrdinalIgnoreCase) == true)
        {
            return new ArchAzureException(
                "WorkDirectoryNotVisible",
                ErrorKind.NotFound,
                $"The Docker engine cannot see '{spec.Mounts[0].HostPath}'. It runs on another machine, or this folder is not shared with it: use a local engine, or a folder it shares.",
                spec.Mounts[0].HostPath,
                e);
        }

        return new ArchAzureException(
            "BuilderNotStarted", ErrorKind.ConnectionError, $"The Docker engine could not start a builder of '{spec.Image}': {e.Message} See 'docker info' and the engine's log.", spec.Image, e);
    }

    /// <summary>Collects output by lines for the log, the callback and the error.</summary>
    private sealed class OutputCollector(StepLog log, Action<string, bool>? onLine)
    {
        private const int TailLines = 12;
        private const int OutputLimit = 1 << 20;

        private readonly List<byte> _output = [];
        private readonly LineBuffer[] _lines = [new(), new()];
        private readonly Queue<string> _tail = new();

        public string Output => Encoding.UTF8.GetString(_output.ToArray());

        public IReadOnlyList<string> Tail => [.. _tail];

        public void Add(ReadOnlySpan<byte> bytes, bool error)
        {
            if (!error && _output.Count < OutputLimit)
            {
                _output.AddRange(bytes);
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
            log.Write(line);
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

    private sealed class LineBuffer
    {
        private readonly List<byte> _bytes = [];

        public void Add(ReadOnlySpan<byte> added, Action<string> line)
        {
            foreach (var b in added)
            {
                // Progress bars end their line with a carriage return.
                if (b is (byte)'\n' or (byte)'\r')
                {
                    Flush(line);
                }
                else
                {
                    _bytes.Add(b);
                }
            }
        }

        public void Flush(Action<string> line)
        {
            if (_bytes.Count > 0)
            {
                line(Encoding.UTF8.GetString(_bytes.ToArray()));
                _bytes.Clear();
            }
        }
    }

    /// <summary>The write half of an exec's stream.</summary>
    private sealed class InputStream(MultiplexedStream stream) : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) =>
            stream.WriteAsync(buffer, offset, count, CancellationToken.None).GetAwaiter().GetResult();

        public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            stream.WriteAsync(buffer, offset, count, cancellationToken);

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var array = buffer.ToArray();
            await stream.WriteAsync(array, 0, array.Length, cancellationToken);
        }
    }
}
