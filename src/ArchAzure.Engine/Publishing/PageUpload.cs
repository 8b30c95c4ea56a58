using System.Buffers;
using ArchAzure.IO;
using Azure;
using Azure.Storage;
using Azure.Storage.Blobs.Models;
using Azure.Storage.Blobs.Specialized;
using Microsoft.Win32.SafeHandles;

namespace ArchAzure.Publishing;

/// <summary>What an upload has done.</summary>
/// <param name="DataBytes">The VHD's data: what has to be in the blob.</param>
/// <param name="SentBytes">What this run has sent of it.</param>
internal sealed record UploadReport(long DataBytes, long SentBytes);

/// <summary>
/// Sends a VHD's data into a page blob of its length that holds nothing else, and the footer last: before that, what is there is no VHD.
/// </summary>
/// <remarks>https://learn.microsoft.com/rest/api/storageservices/put-page. The upload SAS of a managed disk takes the same
/// requests.</remarks>
internal sealed class PageUpload(VhdSource vhd, PageBlobClient blob, UploadOptions options, IReporter reporter, string activity)
{
    /// <summary>What is compared in one go, in bytes.</summary>
    private const int PieceSize = 64 << 10;

    /// <summary>How often data is sent that arrived with another MD5.</summary>
    private const int MostDamaged = 4;

    private static readonly PageBlobUploadPagesOptions s_withChecksum = new()
    {
        TransferValidation = new UploadTransferValidationOptions { ChecksumAlgorithm = StorageChecksumAlgorithm.MD5 },
    };

    private long _done;
    private long _sent;

    /// <summary>Sends what is not there yet, and checks.</summary>
    /// <param name="isNew">Whether the blob was made by this run: then it holds nothing.</param>
    /// <param name="cancellationToken">Stops it; a later run goes on.</param>
    /// <exception cref="ArchAzureException"><c>VhdChanged</c>, <c>UploadNotEqual</c>.</exception>
    /// <exception cref="RequestFailedException">Azure refuses.</exception>
    public async Task<UploadReport> RunAsync(bool isNew, CancellationToken cancellationToken)
    {
        var there = isNew ? [] : await RangesAsync(cancellationToken);
        await EachRunAsync($"sending {Path.GetFileName(vhd.Path)}", SendAsync, cancellationToken);
        await RequireNothingElseAsync(cancellationToken);
        if (options.Verification == UploadVerification.Content)
        {
            await EachRunAsync($"reading {Path.GetFileName(vhd.Path)} back", RequireEqualAsync, cancellationToken);
        }

        vhd.RequireUnchanged();
        await WriteAsync(vhd.FooterRun, cancellationToken);
        return new UploadReport(vhd.DataBytes, _sent);

        async Task SendAsync(DataExtent run, CancellationToken token)
        {
            if (!Covers(there, run) || !await HoldsAsync(run, token))
            {
                await WriteAsync(run, token);
            }
        }
    }

    /// <summary>Whether ranges, in order and apart, hold all of a run.</summary>
    internal static bool Covers(IReadOnlyList<DataExtent> ranges, DataExtent run)
    {
        var (low, high) = (0, ranges.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = ranges[middle].Offset <= run.Offset ? (middle + 1, high) : (low, middle);
        }

        return low > 0 && run.Offset + run.Length <= ranges[low - 1].Offset + ranges[low - 1].Length;
    }

    /// <summary>What is in the second list of ranges and not in the first; both in order and apart.</summary>
    internal static IEnumerable<DataExtent> Outside(IEnumerable<DataExtent> known, IReadOnlyList<DataExtent> ranges)
    {
        using var next = known.GetEnumerator();
        var more = next.MoveNext();
        foreach (var range in ranges)
        {
            var (position, end) = (range.Offset, range.Offset + range.Length);
            while (position < end)
            {
                while (more && next.Current.Offset + next.Current.Length <= position)
                {
                    more = next.MoveNext();
                }

                var from = more ? Math.Min(next.Current.Offset, end) : end;
                if (from > position)
                {
                    yield return new DataExtent(position, from - position);
                }

                position = more ? Math.Min(Math.Max(from, next.Current.Offset + next.Current.Length), end) : end;
            }
        }
    }

    private async Task EachRunAsync(
        string status, Func<DataExtent, CancellationToken, Task> work, CancellationToken cancellationToken)
    {
        _done = 0;
        var progress = new ByteProgress(reporter, activity, status, vhd.DataBytes);
        await Parallel.ForEachAsync(
            vhd.Runs,
            new ParallelOptions { MaxDegreeOfParallelism = options.Parallelism, CancellationToken = cancellationToken },
            async (run, token) =>
            {
                await work(run, token);
                progress.Report(Interlocked.Add(ref _done, run.Length));
            });
    }

    private async Task WriteAsync(DataExtent run, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                using var content = new RunStream(vhd.Handle, run);
                await blob.UploadPagesAsync(content, run.Offset, s_withChecksum, cancellationToken);
                Interlocked.Add(ref _sent, run.Length);
                return;
            }
            catch (RequestFailedException e) when (e.ErrorCode == "Md5Mismatch" && attempt < MostDamaged)
            {
                reporter.Verbose($"{run.Length} bytes at {run.Offset} arrived damaged; once more");
            }
        }
    }

    private async Task<bool> HoldsAsync(DataExtent run, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(PieceSize);
        try
        {
            return await EachPartAsync(
                run,
                (part, at) =>
                {
                    var own = buffer.AsSpan(0, part.Length);
                    SparseFile.ReadExactly(vhd.Handle, own, run.Offset + at);
                    return part.SequenceEqual(own);
                },
                cancellationToken);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async Task RequireEqualAsync(DataExtent run, CancellationToken cancellationToken)
    {
        if (!await HoldsAsync(run, cancellationToken))
        {
            throw NotEqual(run);
        }
    }

    /// <summary>Where the file has zeros, the blob has none but zeros; where it has data, the blob has ranges.</summary>
    private async Task RequireNothingElseAsync(CancellationToken cancellationToken)
    {
        var ranges = await RangesAsync(cancellationToken);
        foreach (var run in vhd.Runs)
        {
            if (!Covers(ranges, run))
            {
                throw NotEqual(run);
            }
        }

        foreach (var rest in Outside(vhd.Runs.Append(vhd.FooterRun), ranges))
        {
            for (var offset = rest.Offset; offset < rest.Offset + rest.Length; offset += VhdSource.LargestRun)
            {
                var part = new DataExtent(offset, Math.Min(VhdSource.LargestRun, rest.Offset + rest.Length - offset));
                if (!await EachPartAsync(part, (bytes, _) => !bytes.ContainsAnyExcept((byte)0), cancellationToken))
                {
                    throw NotEqual(part);
                }
            }
        }
    }

    /// <summary>Reads a part of the blob, piece by piece, until one is not as wanted.</summary>
    private async Task<bool> EachPartAsync(DataExtent run, Check check, CancellationToken cancellationToken)
    {
        var piece = ArrayPool<byte>.Shared.Rent(PieceSize);
        try
        {
            using var download = (await blob.DownloadStreamingAsync(
                new BlobDownloadOptions { Range = new HttpRange(run.Offset, run.Length) }, cancellationToken)).Value;
            for (var at = 0; at < run.Length;)
            {
                var count = await download.Content.ReadAsync(piece.AsMemory(0, PieceSize), cancellationToken);
                if (count == 0 || !check(piece.AsSpan(0, count), at))
                {
                    return false;
                }

                at += count;
            }

            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(piece);
        }
    }

    private async Task<List<DataExtent>> RangesAsync(CancellationToken cancellationToken)
    {
        List<DataExtent> ranges = [];
        await foreach (var item in blob.GetAllPageRangesAsync(cancellationToken: cancellationToken))
        {
            if (item.IsClear)
            {
                continue;
            }

            var range = new DataExtent(item.Range.Offset, item.Range.Length ?? (vhd.Length - item.Range.Offset));
            if (ranges.Count > 0 && ranges[^1].Offset + ranges[^1].Length >= range.Offset)
            {
                range = new DataExtent(ranges[^1].Offset, range.Offset + range.Length - ranges[^1].Offset);
                ranges.RemoveAt(ranges.Count - 1);
            }

            ranges.Add(range);
        }

        return ranges;
    }

    private ArchAzureException NotEqual(DataExtent run) =>
        new(
            "UploadNotEqual",
            ErrorKind.InvalidData,
            $"What is in Azure is not equal to '{vhd.Path}': {run.Length} bytes at {run.Offset} differ. The footer was not sent, so "
            + "nothing can use it yet. Run the command again: it sends what differs; if that does not help, with -Force.",
            vhd.Path);

    private delegate bool Check(ReadOnlySpan<byte> bytes, int offset);

    /// <summary>A part of a file to read: requests at work hold no copy of it.</summary>
    private sealed class RunStream(SafeFileHandle file, DataExtent run) : ReadOnlyStream(run.Length)
    {
        protected override int ReadAt(long position, Span<byte> buffer) => RandomAccess.Read(file, buffer, run.Offset + position);
    }
}
