using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using ArchAzure.IO;

namespace ArchAzure.Bootstrap;

/// <summary>What a download may do.</summary>
internal sealed record DownloadOptions
{
    /// <summary>The checksum the file should have, in hexadecimal. It only tells whether a resumed file was put together rightly; the
    /// file itself is judged by <see cref="ReleaseVerifier"/>. Without it nothing could tell: each attempt starts from the
    /// beginning.</summary>
    public string? ExpectedSha256 { get; init; }

    /// <summary>Whether an existing file is replaced.</summary>
    public bool Overwrite { get; init; }

    /// <summary>The largest file taken, in bytes.</summary>
    public long MaxBytes { get; init; } = 8L << 30;

    /// <summary>Retries and limits on silence.</summary>
    public TransferLimits Limits { get; init; } = new();

    /// <summary>The step's name for progress.</summary>
    public string Activity { get; init; } = "New-ArchBootstrap";
}

/// <summary>
/// Downloads a file so that nothing is lost: it grows as <c>FILE.part</c>, is resumed where it broke off, in this run or a later one,
/// if its checksum is known, and gets its name in one atomic rename when it is complete and on the disk.
/// </summary>
/// <param name="client">As <see cref="ArchHttp.CreateClient"/> makes it.</param>
/// <param name="reporter">Gets progress, and each retry as a verbose message.</param>
internal sealed class Downloader(HttpClient client, IReporter reporter)
{
    private const int BufferSize = 128 * 1024;

    /// <summary>Downloads <paramref name="uri"/> to <paramref name="path"/>.</summary>
    /// <exception cref="ArchAzureException"><c>UnsupportedAddress</c>, <c>FileExists</c>, <c>DownloadNotFound</c>, <c>DownloadDenied</c>,
    /// <c>DownloadFailed</c> (after all attempts; the part is kept), <c>DownloadTooLarge</c>, <c>DownloadInUse</c> or
    /// <c>DiskWriteFailed</c>.</exception>
    public async Task DownloadAsync(Uri uri, string path, DownloadOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(uri);
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(options);
        ArchHttp.CheckScheme(uri);
        if (!options.Overwrite && File.Exists(path))
        {
            throw Exists(path);
        }

        var transfer = new Transfer(client, reporter, uri, path, options);
        reporter.Progress(new ProgressUpdate(options.Activity, transfer.Status));
        try
        {
            await ArchHttp.Retries(options.Limits, reporter, WebText.Show(uri))
                .ExecuteAsync(async token => await transfer.AttemptAsync(token), cancellationToken);
            transfer.Publish();
        }
        catch (Exception e) when (e is TransientTransferException or PermanentTransferException)
        {
            throw ArchHttp.Failed(uri, e, options.Limits, transfer.Kept);
        }
        finally
        {
            reporter.Progress(new ProgressUpdate(options.Activity, transfer.Status, null, Completed: true, Minor: true));
        }
    }

    private static ArchAzureException Exists(string path) => new("FileExists", ErrorKind.InvalidInput,
        $"'{path}' exists already and is not overwritten. Remove it, or run the command with -Force.", path);

    private sealed class Transfer(HttpClient client, IReporter reporter, Uri uri, string path, DownloadOptions options)
    {
        private readonly string _part = path + ".part";
        private readonly string _name = Path.GetFileName(path);
        private readonly Stopwatch _sinceReport = Stopwatch.StartNew();

        public string Status { get; private set; } = $"downloading {Path.GetFileName(path)}";

        public string Kept => Resumable() is > 0 and var length
            ? $" {WebText.Size(length)} are kept in '{_part}'; the next run goes on from there."
            : "";

        public async Task AttemptAsync(CancellationToken cancellationToken)
        {
            var offset = OnDisk(Resumable);
            var rest = offset > 0 ? new RangeHeaderValue(offset, null) : null;
            using var response = await ArchHttp.GetAsync(
                client, uri, options.Limits, request => request.Headers.Range = rest, cancellationToken);
            var range = response.Content.Headers.ContentRange;
            if (offset > 0 && response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
            {
                // Nothing is left to send, or the part is longer than the file.
                if (range?.Length != offset)
                {
                    throw StartOver($"the server has {range?.Length?.ToString() ?? "fewer"} bytes, the part {offset}");
                }

                await CheckJoinedAsync(cancellationToken);
                return;
            }

            ArchHttp.CheckStatus(response, options.Limits);
            switch (response.StatusCode)
            {
                case HttpStatusCode.PartialContent when offset > 0 && range?.From == offset:
                    reporter.Verbose($"{_name}: going on after {WebText.Size(offset)}");
                    break;
                case HttpStatusCode.PartialContent:
                    throw StartOver("the server sent another range than asked for");
                case HttpStatusCode.OK:
                    if (offset > 0)
                    {
                        reporter.Verbose($"{_name}: the server sends the whole file (ranges are not supported); starting from zero");
                    }

                    offset = 0;
                    break;
                default:
                    throw new PermanentTransferException(
                        "DownloadFailed",
                        $"the server answered {(int)response.StatusCode}, which is not a file",
                        "Check the address, or choose another server");
            }

            var length = range?.Length ?? (response.Content.Headers.ContentLength + offset);
            if (length > options.MaxBytes)
            {
                throw TooLarge(length.Value);
            }

            await ReceiveAsync(response, offset, length, cancellationToken);
            if (offset > 0)
            {
                await CheckJoinedAsync(cancellationToken);
            }
        }

        public void Publish()
        {
            try
            {
                AtomicFile.Move(_part, path, options.Overwrite);
            }
            catch (IOException) when (!options.Overwrite && File.Exists(path))
            {
                throw Exists(path);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw WriteFailed(e);
            }
        }

        private async Task ReceiveAsync(HttpResponseMessage response, long offset, long? length, CancellationToken cancellationToken)
        {
            await using var file = OnDisk(() => Open(offset));
            await using var body = await ArchHttp.WithStallLimitAsync(
                response.Content.ReadAsStreamAsync, options.Limits, cancellationToken);
            var buffer = new byte[BufferSize];
            var total = offset;
            var speed = Stopwatch.StartNew();
            try
            {
                while (true)
                {
                    var read = await ArchHttp.WithStallLimitAsync(
                        token => body.ReadAsync(buffer, token).AsTask(), options.Limits, cancellationToken);
                    if (read == 0)
                    {
                        break;
                    }

                    total += read;
                    if (total > options.MaxBytes)
                    {
                        throw TooLarge(total);
                    }

                    OnDisk(() => file.Write(buffer, 0, read));
                    Report(total, length, (total - offset) / Math.Max(speed.Elapsed.TotalSeconds, 0.001));
                }

                if (length is not null && total != length)
                {
                    throw new TransientTransferException($"the transfer ended after {WebText.Size(total)} of {WebText.Size(length.Value)}");
                }
            }
            finally
            {
                // On the disk before the name says complete; what a failed attempt brought is kept for the next.
                OnDisk(() => file.Flush(flushToDisk: true));
            }
        }

        private FileStream Open(long offset)
        {
            NewFile.CreateFolder(Path.GetDirectoryName(Path.GetFullPath(_part))!);
            FileStream file;
            try
            {
                file = NewFile.OpenOrCreate(_part, FileShare.Read);
            }
            catch (IOException e) when (File.Exists(_part))
            {
                throw new ArchAzureException("DownloadInUse", ErrorKind.ResourceBusy,
                    $"'{_part}' is being written by another run ({e.Message}). Wait for it to end, or end it.", _part, e);
            }

            try
            {
                if (file.Length < offset)
                {
                    throw new TransientTransferException($"'{_part}' has changed meanwhile");
                }

                file.SetLength(offset);
                file.Position = offset;
                return file;
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }

        /// <summary>A part may be of another version of the file, or damaged on the disk.</summary>
        private async Task CheckJoinedAsync(CancellationToken cancellationToken)
        {
            string actual;
            try
            {
                await using var file = File.OpenRead(_part);
                actual = Convert.ToHexString(await SHA256.HashDataAsync(file, cancellationToken));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw WriteFailed(e);
            }

            if (!actual.Equals(options.ExpectedSha256, StringComparison.OrdinalIgnoreCase))
            {
                throw StartOver("the resumed file does not have the checksum of the release");
            }
        }

        private long Resumable() =>
            options.ExpectedSha256 is not null && new FileInfo(_part) is { Exists: true, LinkTarget: null } part ? part.Length : 0;

        private TransientTransferException StartOver(string reason)
        {
            OnDisk(() => File.Delete(_part));
            return new TransientTransferException(reason, TimeSpan.Zero);
        }

        private void Report(long total, long? length, double bytesPerSecond)
        {
            // Four times a second is enough for any display.
            if (_sinceReport.ElapsedMilliseconds < 250 && total != length)
            {
                return;
            }

            _sinceReport.Restart();
            var of = length is { } l ? $" of {WebText.Size(l)}" : "";
            Status = $"downloading {_name}: {WebText.Size(total)}{of}, {WebText.Size((long)bytesPerSecond)}/s";
            var percent = length is > 0 ? (int?)Math.Min(100, total * 100 / length.Value) : null;
            reporter.Progress(new ProgressUpdate(options.Activity, Status, percent, Minor: true));
        }

        private void OnDisk(Action action) =>
            OnDisk(() =>
            {
                action();
                return true;
            });

        private T OnDisk<T>(Func<T> action)
        {
            try
            {
                return action();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw WriteFailed(e);
            }
        }

        private ArchAzureException WriteFailed(Exception e) =>
            new(
                "DiskWriteFailed",
                e is UnauthorizedAccessException ? ErrorKind.PermissionDenied : ErrorKind.ResourceUnavailable,
                $"'{_part}' could not be written or read back: {e.Message.TrimEnd('.')}. "
                + "Free some space or choose a work directory you may write to, and run the command again.",
                _part,
                e);

        private ArchAzureException TooLarge(long length)
        {
            File.Delete(_part);
            return new ArchAzureException(
                "DownloadTooLarge",
                ErrorKind.InvalidData,
                $"{WebText.Show(uri)} is larger than {WebText.Size(options.MaxBytes)} ({WebText.Size(length)}), which no release is. "
                + "Check the address.",
                WebText.Show(uri));
        }
    }
}
