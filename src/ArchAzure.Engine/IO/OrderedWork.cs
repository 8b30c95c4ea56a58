using System.Runtime.CompilerServices;

namespace ArchAzure.IO;

/// <summary>Work on many items by all cores at once, whose results come in the order of the items.</summary>
internal static class OrderedWork
{
    /// <summary>The most items in work at a time: each may hold buffers of some MiB.</summary>
    private static readonly int s_width = Math.Min(Environment.ProcessorCount, 8) + 1;

    /// <summary>Does the work. When the enumeration ends, however that is, no work goes on.</summary>
    public static async IAsyncEnumerable<TResult> RunAsync<TItem, TResult>(
        IEnumerable<TItem> items, Func<TItem, TResult> work, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var running = new Queue<Task<TResult>>();
        try
        {
            foreach (var item in items)
            {
                cancellationToken.ThrowIfCancellationRequested();
                running.Enqueue(Task.Run(() => work(item), CancellationToken.None));
                if (running.Count == s_width)
                {
                    yield return await running.Dequeue();
                }
            }

            while (running.TryDequeue(out var next))
            {
                yield return await next;
            }
        }
        finally
        {
            await Task.WhenAll(running).ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
    }
}
