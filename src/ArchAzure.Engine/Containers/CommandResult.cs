namespace ArchAzure.Containers;

/// <summary>How a command in the builder ended.</summary>
/// <param name="ExitCode">Its exit status.</param>
/// <param name="Output">Its standard output, as text, capped after the first 1 MiB.</param>
/// <param name="Tail">The last lines of standard output and standard error together.</param>
internal sealed record CommandResult(long ExitCode, string Output, IReadOnlyList<string> Tail);

/// <summary>How a command is run.</summary>
internal sealed record CommandOptions
{
    /// <summary>With a file of the host as its standard input.</summary>
    public static CommandOptions FromFile(string path) => new()
    {
        Input = async (stream, token) =>
        {
            await using var file = File.OpenRead(path);
            await file.CopyToAsync(stream, token);
        },
    };

    /// <summary>Writes the command's standard input, or null for none. It is called again from the beginning where that is more than can be
    /// held in memory.</summary>
    public Func<Stream, CancellationToken, Task>? Input { get; init; }

    /// <summary>Extra environment.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Called with each line of output; the second value tells whether it came from standard error.</summary>
    public Action<string, bool>? OnLine { get; init; }

    /// <summary>Whether its output goes into the step's log.</summary>
    public bool LogOutput { get; init; } = true;

    /// <summary>Return the result of a failing command instead of throwing.</summary>
    public bool AllowFailure { get; init; }

    /// <summary>The whole input; null where it takes a buffer of more than this many bytes.</summary>
    public async Task<ReadOnlyMemory<byte>?> ReadInputAsync(int most, CancellationToken cancellationToken)
    {
        using var buffer = new BoundedBuffer(most);
        try
        {
            await (Input?.Invoke(buffer, cancellationToken) ?? Task.CompletedTask);
            return buffer.GetBuffer().AsMemory(0, (int)buffer.Length);
        }
        catch (EndOfStreamException) when (buffer.IsFull)
        {
            return null;
        }
    }

    private sealed class BoundedBuffer(int most) : MemoryStream
    {
        public bool IsFull { get; private set; }

        public override int Capacity
        {
            get => base.Capacity;
            set
            {
                IsFull = value > most;
                base.Capacity = IsFull ? throw new EndOfStreamException() : value;
            }
        }
    }
}

/// <summary>A command in the builder failed; the message shows its last lines.</summary>
internal sealed class CommandFailedException : ArchAzureException
{
    private const int LongestShown = 1000;

    /// <summary>Creates the error of a command.</summary>
    public CommandFailedException(IReadOnlyList<string> command, CommandResult result, string? hint = null)
        : base(
            "CommandFailed",
            ErrorKind.CommandFailed,
            $"'{string.Join(' ', command)}' in the builder ended with status {result.ExitCode}{(hint is null ? "" : $" ({hint})")}:"
            + $"{string.Concat(result.Tail.Select(Shown))}\n",
            command[0])
    {
        Command = command;
        Result = result;
    }

    /// <summary>The command and its arguments.</summary>
    public IReadOnlyList<string> Command { get; }

    /// <summary>How it ended.</summary>
    public CommandResult Result { get; }

    private static string Shown(string line) => $"\n    {(line.Length <= LongestShown ? line : line[..LongestShown] + "...")}";
}
