using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Docker.DotNet;
using Docker.DotNet.Models;

namespace ArchAzure.Containers;

/// <summary>
/// A process in a container that runs commands one after another (<c>command-server.sh</c>): each by the engine's exec would take 70 ms
/// and as much processor time. It ends with its container.
/// </summary>
internal sealed class CommandServer : IDisposable
{
    /// <summary>The most input a command may have here, in bytes; it is held in memory.</summary>
    public const int MaximumInput = 4 << 20;

    private const string Name = "command server";
    private const string DonePath = "/run/command-done";

    private readonly LifelineContainer _container;
    private readonly EngineCalls _calls;
    private readonly string _execId;
    private readonly MultiplexedStream _stream;

    private CommandServer(LifelineContainer container, EngineCalls calls, string execId, MultiplexedStream stream)
    {
        _container = container;
        _calls = calls;
        _execId = execId;
        _stream = stream;
    }

    /// <summary>
    /// Whether it waits for a command. Not while it runs one, and never again after a run that was left before the command's end.
    /// </summary>
    public bool IsReady { get; private set; } = true;

    /// <summary>Starts one.</summary>
    public static async Task<CommandServer> StartAsync(
        LifelineContainer container, EngineCalls calls, CancellationToken cancellationToken)
    {
        using var script = new StreamReader(typeof(CommandServer).Assembly.GetManifestResourceStream("command-server.sh")!);
        var exec = await calls.CreateExecAsync(
            container.Id,
            Name,
            new ContainerExecCreateParameters
            {
                Cmd = ["bash", "-c", await script.ReadToEndAsync(cancellationToken)],
                AttachStdin = true,
                AttachStdout = true,
                AttachStderr = true,
            },
            cancellationToken);
        return new CommandServer(container, calls, exec.ID, await calls.StartExecAsync(exec.ID, Name, cancellationToken));
    }

    /// <summary>Runs a command and waits for its end.</summary>
    /// <param name="command">The program and its arguments; no shell is involved.</param>
    /// <param name="name">The command's name, for messages.</param>
    /// <param name="environment">Extra environment.</param>
    /// <param name="input">Its standard input, at most <see cref="MaximumInput"/>.</param>
    /// <param name="onOutput">Gets what it writes; the second value tells whether it came from standard error.</param>
    /// <param name="cancellationToken">Stops waiting; the command ends with the container.</param>
    /// <returns>Its exit status, or null when the container was gone before it told one.</returns>
    public async Task<long?> RunAsync(
        IReadOnlyList<string> command,
        string name,
        IReadOnlyDictionary<string, string> environment,
        ReadOnlyMemory<byte> input,
        Action<ReadOnlyMemory<byte>, bool> onOutput,
        CancellationToken cancellationToken)
    {
        IsReady = false;
        var mark = Convert.ToHexString(RandomNumberGenerator.GetBytes(16));

        // env: bash would take the name of one of its builtins for that.
        string[] words = ["env", .. environment.Select(pair => $"{pair.Key}={pair.Value}"), .. command];
        using var request = new MemoryStream();
        request.Write(Encoding.UTF8.GetBytes($"{mark} {words.Length} {input.Length}\n"));
        request.Write(Encoding.UTF8.GetBytes(string.Concat(words.Select(word => word + '\0'))));
        request.Write(input.Span);

        var watch = new ExecWatch(_calls, _execId, name, IsDoneAsync);
        var status = await _calls.WatchAsync(
            async token =>
            {
                await _stream.WriteAsync(request.GetBuffer(), 0, (int)request.Length, token);
                return await ReadAsync(mark, watch.Hears(onOutput), token);
            },
            watch.AskAsync,
            cancellationToken);
        IsReady = status is not null;
        return status;

        async Task<bool> IsDoneAsync(CancellationToken token)
        {
            var last = new MemoryStream();
            await _container.ExecAsync(
                ["cat", DonePath],
                Name,
                new Dictionary<string, string>(StringComparer.Ordinal),
                null,
                (bytes, error) =>
                {
                    if (!error && last.Length < mark.Length)
                    {
                        last.Write(bytes.Span);
                    }
                },
                token);
            return last.GetBuffer().AsSpan().StartsWith(Encoding.ASCII.GetBytes(mark));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    /// <returns>The status behind the mark, or null when the stream ended before it came.</returns>
    private async Task<long?> ReadAsync(string mark, Action<ReadOnlyMemory<byte>, bool> onOutput, CancellationToken cancellationToken)
    {
        OutputEnd[] ends = [new(mark, bytes => onOutput(bytes, false)), new(mark, bytes => onOutput(bytes, true))];
        var buffer = new byte[81920];
        while (Array.Exists(ends, end => end.Status is null))
        {
            var read = await _stream.ReadOutputAsync(buffer, 0, buffer.Length, cancellationToken);
            if (read.EOF)
            {
                return null;
            }

            ends[read.Target == MultiplexedStream.TargetStream.StandardError ? 1 : 0].Add(buffer.AsMemory(0, read.Count));
        }

        return ends[0].Status;
    }

    /// <summary>Passes output on until a command's mark comes. What may be the mark's beginning is held back.</summary>
    internal sealed class OutputEnd(string mark, Action<ReadOnlyMemory<byte>> onOutput)
    {
        private readonly byte[] _mark = Encoding.ASCII.GetBytes($"\0{mark} ");
        private byte[] _held = [];

        /// <summary>The status behind the mark; null until it has come.</summary>
        public long? Status { get; private set; }

        public void Add(ReadOnlyMemory<byte> bytes)
        {
            ReadOnlyMemory<byte> all = _held.Length == 0 ? bytes : (byte[])[.. _held, .. bytes.Span];
            var place = all.Span.IndexOf(_mark);
            var end = place < 0 ? all.Length - HeldLength(all.Span) : place;
            if (end > 0)
            {
                onOutput(all[..end]);
            }

            _held = all[end..].ToArray();
            if (place >= 0 && _held[^1] == (byte)'\n')
            {
                Status = long.Parse(_held.AsSpan()[_mark.Length..^1], NumberStyles.None, CultureInfo.InvariantCulture);
            }
        }

        private int HeldLength(ReadOnlySpan<byte> bytes)
        {
            var most = Math.Min(bytes.Length, _mark.Length - 1);
            for (var start = bytes.Length - most; start < bytes.Length; start++)
            {
                if (_mark.AsSpan().StartsWith(bytes[start..]))
                {
                    return bytes.Length - start;
                }
            }

            return 0;
        }
    }
}
