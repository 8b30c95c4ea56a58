namespace ArchAzure.Containers;

/// <summary>
/// Tells whether a command that says nothing still runs. A command that has ended closes its output, after it has handed over
/// what is left of it; where the engine does not, the wait would never end.
/// </summary>
/// <param name="calls">The engine.</param>
/// <param name="execId">The process that the engine started.</param>
/// <param name="command">The command's name, for messages.</param>
/// <param name="isDone">Tells whether the command has ended, where the process goes on after it; null where it is the process.</param>
internal sealed class ExecWatch(
    EngineCalls calls, string execId, string command, Func<CancellationToken, Task<bool>>? isDone = null)
{
    private long _heard;
    private volatile bool _handsOver;
    private long _heardAtEnd = -1;

    public Action<ReadOnlyMemory<byte>, bool> Hears(Action<ReadOnlyMemory<byte>, bool> onOutput) => (bytes, error) =>
    {
        Interlocked.Add(ref _heard, bytes.Length);
        _handsOver = true;
        onOutput(bytes, error);
        _handsOver = false;
    };

    public async Task AskAsync(CancellationToken cancellationToken)
    {
        var state = await calls.InspectExecAsync(execId, command, cancellationToken);
        if (_handsOver || (state.Running && !(isDone is not null && await isDone(cancellationToken))))
        {
            // Who gets the output may take his time, e.g. a pager; that is no fault of the engine's.
            return;
        }

        var heard = Interlocked.Read(ref _heard);
        if (heard == _heardAtEnd)
        {
            throw calls.Stalled(
                command,
                $"the command ended{(state.Running ? "" : $" with status {state.ExitCode}")}, but for "
                + $"{calls.Limits.WatchInterval.TotalSeconds:0.#} s the engine has neither sent more of its output nor closed it");
        }

        _heardAtEnd = heard;
    }
}
