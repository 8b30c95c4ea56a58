using ArchAzure.Containers;
using ArchAzure.IO;

namespace ArchAzure.Target;

/// <summary>What a piece of work on the target needs.</summary>
internal sealed record TargetWork
{
    /// <summary>The builder, without the files of the next three; its network is <c>none</c> where the work needs none.</summary>
    public required BuilderSpec Spec { get; init; }

    public required StepLog Log { get; init; }

    /// <summary>The snapshots that make up the target, the whole one first; none for an empty tree.</summary>
    public required IReadOnlyList<string> From { get; init; }

    /// <summary>The snapshot to write, or null to throw the changes away. It holds what differs from the snapshots before it.</summary>
    public string? To { get; init; }

    /// <summary>Called before snapshots are unpacked, if they have to be.</summary>
    public Action? OnUnpack { get; init; }

    /// <summary>Whether the tree is unpacked even where a builder has it: how its files are stored is then always the same.</summary>
    public bool FreshTree { get; init; }

    /// <summary>The files to write in this work and in later ones with the same builder; they are made empty, and the user's.</summary>
    public IReadOnlyList<BindMount> Outputs { get; init; } = [];
}

/// <summary>
/// The target in a builder. It stays there from one work to the next, as long as each begins with what the one before has written: only the
/// first has to unpack. A work that fails takes the builder along. Mounted are files, never the folder they lie in: what runs in the
/// builder cannot put a link in the place of one.
/// </summary>
internal sealed class TargetSession(DockerEngine docker) : IAsyncDisposable
{
    private Builder? _builder;
    private BuilderSpec? _spec;

    /// <summary>The snapshot that the builder's tree is equal to.</summary>
    private string? _tree;
    private IReadOnlyList<BindMount> _outputs = [];

    /// <summary>The engine.</summary>
    public DockerEngine Docker => docker;

    /// <summary>The id of the builder's container; null where there is none.</summary>
    public string? BuilderId => _builder?.Id;

    /// <summary>A snapshot that is being written.</summary>
    public static BindMount Output(string snapshot) => new(snapshot + ".part", $"{InBuilder(snapshot)}.part");

    /// <summary>Works on the target, and writes the new snapshot in one rename.</summary>
    /// <param name="work">What it needs.</param>
    /// <param name="run">The work on the tree.</param>
    /// <param name="cancellationToken">Ends the builder; no snapshot is written then.</param>
    public async Task<T> RunAsync<T>(TargetWork work, Func<Builder, TargetTree, Task<T>> run, CancellationToken cancellationToken)
    {
        try
        {
            try
            {
                return await RunAsync(work, docker.Calls.Limits.TargetMemory, run, cancellationToken);
            }
            catch (ArchAzureException e) when (_builder is { IsInMemory: true } && !cancellationToken.IsCancellationRequested)
            {
                // The tree's memory is used up, or the kernel has ended a command for want of it.
                if (e is not CommandFailedException { Result.ExitCode: Builder.KilledStatus }
                    && !await new TargetTree(_builder).IsFullAsync(cancellationToken))
                {
                    throw;
                }

                work.Log.Detail($"the target does not fit into memory ({e.ErrorId}): once more, on the engine's disk");
                await DisposeAsync();
                return await RunAsync(work, memory: 0, run, cancellationToken);
            }
        }
        catch
        {
            await DisposeAsync();
            throw;
        }
    }

    private async Task<T> RunAsync<T>(
        TargetWork work, long memory, Func<Builder, TargetTree, Task<T>> run, CancellationToken cancellationToken)
    {
        var (builder, target) = await OpenAsync(work, memory, cancellationToken);
        var result = await run(builder, target);
        if (work.To is not { } to)
        {
            await EndAsync();
            return result;
        }

        var output = Output(to);
        await target.SaveAsync(output.BuilderPath, isWhole: !Below(work).Any(), cancellationToken);

        // What runs in the builder from now on has no way to it.
        await builder.UnmountAsync(output.BuilderPath, cancellationToken);
        AtomicFile.Commit(output.HostPath, to);
        _tree = to;
        return result;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await EndAsync();
        foreach (var output in _outputs)
        {
            File.Delete(output.HostPath);
        }

        _outputs = [];
    }

    private static string InBuilder(string snapshot) => "/work/" + Path.GetFileName(snapshot);

    /// <summary>The snapshots that the new one adds to.</summary>
    private static IEnumerable<string> Below(TargetWork work) => work.From.TakeWhile(snapshot => snapshot != work.To);

    private async Task<(Builder Builder, TargetTree Target)> OpenAsync(
        TargetWork work, long memory, CancellationToken cancellationToken)
    {
        IReadOnlyList<string> missing = [];
        if (_builder is { } running && work.From is [.., var last] && last == _tree && IsFor(work)
            && await running.IsRunningAsync(cancellationToken))
        {
            running.Log = work.Log;
            running.IsOffline = work.Spec.Network == "none";
            foreach (var mount in _spec!.Mounts.Except(work.Spec.Mounts))
            {
                await running.UnmountAsync(mount.BuilderPath, cancellationToken);
            }

            _spec = _spec with { Mounts = work.Spec.Mounts };
            work.Log.Write($"in the builder {running.Name} of the step before, network {(running.IsOffline ? "none" : work.Spec.Network)}");
        }
        else
        {
            await DisposeAsync();
            await StartAsync(work, memory, cancellationToken);
            missing = work.From;
        }

        if (missing.Count > 0)
        {
            work.OnUnpack?.Invoke();
        }

        var target = new TargetTree(_builder!);
        await target.BeginAsync(cancellationToken);
        foreach (var snapshot in Below(work).Where(missing.Contains))
        {
            await target.RestoreAsync(InBuilder(snapshot), isFirst: snapshot == work.From[0], cancellationToken);
        }

        if (work.To is not null && Below(work).Any())
        {
            await target.MarkAsync(cancellationToken);
        }

        foreach (var snapshot in missing.Except(Below(work)))
        {
            await target.RestoreAsync(InBuilder(snapshot), isFirst: snapshot == work.From[0], cancellationToken);
        }

        return (_builder!, target);
    }

    private bool IsFor(TargetWork work) =>
        !work.FreshTree && (work.Spec.Network == "none" || work.Spec.Network == _spec!.Network)
        && work.Spec.Image == _spec!.Image && work.Spec.Mounts.All(_spec.Mounts.Contains)
        && work.Spec.Environment.SequenceEqual(_spec.Environment) && work.Outputs.All(_outputs.Contains);

    private async Task StartAsync(TargetWork work, long memory, CancellationToken cancellationToken)
    {
        _outputs = work.Outputs;
        foreach (var output in _outputs)
        {
            NewFile.CreateEmpty(output.HostPath);
        }

        _spec = work.Spec;
        _builder = await Builder.StartAsync(
            docker,
            work.Spec with
            {
                HasTarget = true,
                HasServer = true,
                Memory = memory,
                Mounts =
                [
                    .. work.Spec.Mounts, .. work.From.Select(snapshot => new BindMount(snapshot, InBuilder(snapshot), ReadOnly: true)),
                    .. _outputs,
                ],
            },
            work.Log,
            cancellationToken);
    }

    private async ValueTask EndAsync()
    {
        if (_builder is { } builder)
        {
            (_builder, _tree) = (null, null);
            await builder.DisposeAsync();
        }
    }
}
