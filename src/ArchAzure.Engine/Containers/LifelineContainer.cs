using System.Net.Sockets;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace ArchAzure.Containers;

/// <summary>
/// A container whose main process reads standard input, which this object holds open: when this process ends, however that
/// happens, the input ends, the container stops, takes every command in it along, and the engine removes it.
/// </summary>
internal sealed class LifelineContainer
{
    private readonly EngineCalls _calls;
    private readonly MultiplexedStream _lifeline;

    private LifelineContainer(EngineCalls calls, string id, string name, MultiplexedStream lifeline)
    {
        _calls = calls;
        Id = id;
        Name = name;
        _lifeline = lifeline;
    }

    /// <summary>The engine's id of it.</summary>
    public string Id { get; }

    /// <summary>Its name.</summary>
    public string Name { get; }

    /// <summary>Starts a container.</summary>
    /// <param name="engine">Where.</param>
    /// <param name="name">Its name.</param>
    /// <param name="parameters">Image, labels and host configuration; the main process is set here.</param>
    /// <param name="cancellationToken">Stops the start; no container is left then.</param>
    /// <exception cref="DockerApiException">The engine refused.</exception>
    public static async Task<LifelineContainer> StartAsync(
        DockerEngine engine, string name, CreateContainerParameters parameters, CancellationToken cancellationToken)
    {
        parameters.Name = name;
        parameters.Entrypoint = ["cat"];
        parameters.Cmd = [];
        parameters.WorkingDir = "/";
        parameters.AttachStdin = true;
        parameters.OpenStdin = true;
        parameters.StdinOnce = true;
        parameters.HostConfig!.AutoRemove = true;
        var (id, lifeline) = await engine.Calls.StartContainerAsync(parameters, cancellationToken);
        return new LifelineContainer(engine.Calls, id, name, lifeline);
    }

    /// <summary>Whether an exception tells that the engine or the container is gone.</summary>
    public static bool IsEngineFailure(Exception e) =>
        e is DockerApiException or HttpRequestException or IOException or SocketException or EngineConnectionException;

    /// <summary>The bind mounts as the engine takes them.</summary>
    public static IList<Mount> Mounts(IEnumerable<BindMount> mounts) =>
    [
        .. mounts.Select(
            mount => new Mount { Type = "bind", Source = mount.HostPath, Target = mount.BuilderPath, ReadOnly = mount.ReadOnly }),
    ];

    /// <summary>Runs a command and waits for its end.</summary>
    /// <param name="command">The program and its arguments; no shell is involved.</param>
    /// <param name="name">The command's name, for messages.</param>
    /// <param name="environment">Extra environment.</param>
    /// <param name="input">Writes its standard input, or null for none.</param>
    /// <param name="onOutput">Gets what it writes; the second value tells whether it came from standard error.</param>
    /// <param name="cancellationToken">Stops waiting; the command ends with the container.</param>
    /// <returns>Its exit status, or null when the container was gone before it told one.</returns>
    public async Task<long?> ExecAsync(
        IReadOnlyList<string> command,
        string name,
        IReadOnlyDictionary<string, string> environment,
        Func<Stream, CancellationToken, Task>? input,
        Action<ReadOnlyMemory<byte>, bool> onOutput,
        CancellationToken cancellationToken)
    {
        var exec = await _calls.CreateExecAsync(
            Id,
            name,
            new ContainerExecCreateParameters
            {
                Cmd = [.. command],
                Env = [.. environment.Select(pair => $"{pair.Key}={pair.Value}")],
                AttachStdin = input is not null,
                AttachStdout = true,
                AttachStderr = true,
            },
            cancellationToken);
        using (var stream = await _calls.StartExecAsync(exec.ID, name, cancellationToken))
        {
            var watch = new ExecWatch(_calls, exec.ID, name);
            await _calls.WatchAsync(
                async token =>
                {
                    var reading = ReadAsync(stream, watch.Hears(onOutput), token);
                    if (input is not null)
                    {
                        await WriteInputAsync(stream, input, token);
                    }

                    await reading;
                    return true;
                },
                watch.AskAsync,
                cancellationToken);
        }

        var inspected = await _calls.InspectExecAsync(exec.ID, name, cancellationToken);
        return inspected.Running ? null : inspected.ExitCode;
    }

    /// <summary>Lets go of the container without waiting: it ends with everything in it.</summary>
    public void Cut() => _lifeline.Dispose();

    /// <summary>Ends the container with everything in it, and waits until it is gone. Safe to call at any moment, also after a
    /// cancellation.</summary>
    /// <returns>Why it could not be removed, or null.</returns>
    public async Task<string?> RemoveAsync()
    {
        try
        {
            using var limit = new CancellationTokenSource(_calls.Limits.CleanUpTimeout);
            await _calls.RemoveContainerAsync(Id, limit.Token);
            return null;
        }
        catch (Exception e) when (IsEngineFailure(e) || e is OperationCanceledException or ArchAzureException)
        {
            return e.Message;
        }
        finally
        {
            _lifeline.Dispose();
        }
    }

    private static async Task ReadAsync(
        MultiplexedStream stream, Action<ReadOnlyMemory<byte>, bool> onOutput, CancellationToken cancellationToken)
    {
        var buffer = new byte[81920];
        while (true)
        {
            var read = await stream.ReadOutputAsync(buffer, 0, buffer.Length, cancellationToken);
            if (read.EOF)
            {
                return;
            }

            onOutput(buffer.AsMemory(0, read.Count), read.Target == MultiplexedStream.TargetStream.StandardError);
        }
    }

    private static async Task WriteInputAsync(
        MultiplexedStream stream, Func<Stream, CancellationToken, Task> input, CancellationToken cancellationToken)
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
