using ArchAzure.Containers;
using ArchAzure.IO;

namespace ArchAzure.Target;

/// <summary>Works on the target in a builder, from one snapshot to the next.</summary>
internal static class TargetSession
{
    /// <summary>Unpacks a snapshot, works on the tree, and writes the new snapshot in one rename.</summary>
    /// <param name="docker">The engine.</param>
    /// <param name="spec">The builder; the snapshots' mounts are added.</param>
    /// <param name="log">The log.</param>
    /// <param name="from">The snapshot to start from, or null for an empty tree.</param>
    /// <param name="to">The snapshot to write, or null to throw the changes away.</param>
    /// <param name="work">The work on the tree.</param>
    /// <param name="cancellationToken">Ends the builder; no snapshot is written then.</param>
    public static async Task<T> RunAsync<T>(
        DockerEngine docker, BuilderSpec spec, StepLog log, string? from, string? to, Func<Builder, TargetTree, Task<T>> work,
        CancellationToken cancellationToken)
    {
        // Two mounts of files: the container never sees the folder they lie in. The new file is made here, so it is the user's.
        const string newSnapshot = TargetTree.SnapshotPath + ".new";
        var part = to + ".part";
        List<BindMount> mounts = [.. spec.Mounts];
        if (from is not null)
        {
            mounts.Add(new(from, TargetTree.SnapshotPath, ReadOnly: true));
        }

        if (to is not null)
        {
            NewFile.CreateEmpty(part);
            mounts.Add(new(part, newSnapshot));
        }

        try
        {
            T result;
            await using (var builder = await Builder.StartAsync(docker, spec with { Mounts = mounts }, log, cancellationToken))
            {
                var target = new TargetTree(builder);
                if (from is not null)
                {
                    await target.RestoreAsync(TargetTree.SnapshotPath, cancellationToken);
                }

                result = await work(builder, target);
                if (to is not null)
                {
                    await target.SaveAsync(newSnapshot, cancellationToken);
                }
            }

            if (to is not null)
            {
                AtomicFile.Commit(part, to);
            }

            return result;
        }
        catch
        {
            if (to is not null)
            {
                File.Delete(part);
            }

            throw;
        }
    }
}
