using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text.Json;
using ArchAzure.IO;

namespace ArchAzure.Bootstrap;

/// <summary>What a download may do.</summary>
public sealed record DownloadOptions
{
    /// <summary>The checksum the file should have, in hexadecimal. It only decides whether a resumed file was put together rightly; the file
    /// itself is judged by <see cref="ReleaseVerifier"/>. With it a part is resumed even where the server names no version of the file.</summary>
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
/// Downloads a file so that nothing is lost: it grows as <c>FILE.part</c>, is resumed where it broke off, in this run or a later one, and gets its
/// name in one atomic rename when it is complete and on the disk. <c>FILE.part.json</c> says which version of the file the part belongs to.
/// </summary>
/// <param name="client">As <see cref="ArchHttp.CreateClient"/> makes it.</param>
/// <param name="reporter">Gets progress, and each retry as a verbose message.</param>
public sealed class Downloader(HttpClient client, IReporter reporter)
{
    private const int BufferSize = 128 * 1024;

    /// <summary>Downloads <paramref name="uri"/> to <paramref name="path"/>.</summary>
    /// <exception cref="ArchAzureException"><c>UnsupportedAddress</c>, <c>FileExists</c>, <c>DownloadNotFound</c>, <c>DownloadDenied</c>,
    /// <c>DownloadFailed</c> (after all attempts; the part is kept), <c>DownloadTooLarge</c>, <c>DownloadInUse</c>, <c>DiskWriteFailed</c>.</exception>
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

    // What FILE.part is a part of. The address is kept without its password.
    private sealed record PartInfo(string Address, string? ETag, DateTimeOffset? LastModified, long? Length);

    private sealed class Transfer(HttpClient client, IReporter reporter, Uri uri, string path, DownloadOptions options)
    {
        private readonly string _part = path + ".part";
        private readonly string _info = path + ".part.json";
        private readonly string _name = Path.GetFileName(path);
        private readonly Stopwatch _sinceReport = Stopwatch.StartNew();
        private bool _resumed;

        public string Status { get; private set; } = $"downloading {Path.GetFileName(path)}";

        public string Kept => File.Exists(_part) && new FileInfo(_part).Length is > 0 and var length
            ? $" {WebText.Size(length)} are kept in '{_part}'; the next run goes on from there."
            : "";

        public async Task AttemptAsync(CancellationToken cancellationToken)
        {
            var known = OnDisk(ReadInfo);
            var offset = OnDisk(() => Resumable(known));
            using var response = await ArchHttp.GetAsync(client, uri, options.Limits, request => AskFor(request, known, offset), cancellationToken);

            if (offset > 0 && response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
            {
                // With If-Range this can only mean that nothing is left to send, or that the part is longer than the file.
                if (response.Content.Headers.ContentRange?.Length == offset)
                {
                    await FinishAsync(cancellationToken);
                    return;
                }

                StartOver($"the server has {response.Content.Headers.ContentRange?.Length?.ToString() ?? "fewer"} bytes, the part {offset}");
            }

            ArchHttp.CheckStatus(response, options.Limits);
            var headers = response.Content.Headers;
            var now = new PartInfo(WebText.Show(uri), response.Headers.ETag?.ToString(), headers.LastModified, headers.ContentLength);
            if (response.StatusCode == HttpStatusCode.PartialContent)
            {
                now = now with { Length = headers.ContentRange?.Length ?? (headers.ContentLength + offset) };
                if (offset == 0 || headers.ContentRange?.From != offset || !SameVersion(known!, now))
                {
                    StartOver("the file on the server has changed, or the server sent another range than asked for");
                }

                now = now with { ETag = now.ETag ?? known!.ETag, LastModified = now.LastModified ?? known!.LastModified, Length = now.Length ?? known!.Length };
                _resumed = true;
                reporter.Verbose($"{_name}: going on after {WebText.Size(offset)}");
            }
            else if (response.StatusCode == HttpStatusCode.OK)
            {
                if (offset > 0)
                {
                    reporter.Verbose($"{_name}: the server sends the whole file (it changed, or ranges are not supported); starting from zero");
                }

                offset = 0;
                _resumed = false;
            }
            else
            {
                throw new PermanentTransferException("DownloadFailed", $"the server answered {(int)response.StatusCode}, which is not a file", "Check the address, or choose another server");
            }

            if (now.Length > options.MaxBytes)
            {
                throw TooLarge(now.Length.Value);
            }

            await ReceiveAsync(response, now, offset, cancellationToken);
            await FinishAsync(cancellationToken);
        }

        public void Publish()
        {
            try
            {
                AtomicFile.Move(_part, path, options.Overwrite);
                File.Delete(_info);
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

        private static void AskFor(HttpRequestMessage request, PartInfo? known, long offset)
        {
            if (offset == 0)
            {
                return;
            }

            request.Headers.Range = new RangeHeaderValue(offset, null);
            // RFC 9110, 13.1.5: If-Range takes a strong entity tag or a date; with a weak tag the server would have to send everything.
            if (known?.ETag is { } tag && EntityTagHeaderValue.TryParse(tag, out var parsed) && !parsed.IsWeak)
            {
                request.Headers.IfRange = new RangeConditionHeaderValue(parsed);
            }
            else if (known?.LastModified is { } date)
            {
                request.Headers.IfRange = new RangeConditionHeaderValue(date);
            }
        }

        private async Task ReceiveAsync(HttpResponseMessage response, PartInfo info, long offset, CancellationToken cancellationToken)
        {
            await using var file = OnDisk(() => Open(info, offset));
            await using var body = await ArchHttp.WithStallLimitAsync(response.Content.ReadAsStreamAsync, options.Limits, cancellationToken);
            var buffer = new byte[BufferSize];
            var total = offset;
            var speed = Stopwatch.StartNew();
            try
            {
                while (true)
                {
                    var read = await ArchHttp.WithStallLimitAsync(token => body.ReadAsync(buffer, token).AsTask(), options.Limits, cancellationToken);
                    if (read == 0)
                    {
                        break;
                    }

                    total += read;
                    if (total > options.MaxBytes)
                    {
                        throw TooLarge(total);
                    }

                    OnDisk(() =>
                    {
                        file.Write(buffer, 0, read);
                        return 0;
                    });
                    Report(total, info.Length, (total - offset) / Math.Max(speed.Elapsed.TotalSeconds, 0.001));
                }

                if (info.Length is { } length && total != length)
                {
                    throw new TransientTransferException($"the transfer ended after {WebText.Size(total)} of {WebText.Size(length)}");
                }
            }
            finally
            {
                // On the disk before the name says complete; what a failed attempt brought is kept for the next.
                OnDisk(() =>
                {
                    file.Flush(flushToDisk: true);
                    return 0;
                });
            }
        }

        private FileStream Open(PartInfo info, long offset)
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

                // The order counts: cut first, so that the note never describes bytes of another version.
                file.SetLength(offset);
                file.Position = offset;
                using (var note = NewFile.Create(_info))
                {
                    JsonSerializer.Serialize(note, info);
                }

                return file;
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }

        private async Task FinishAsync(CancellationToken cancellationToken)
        {
            if (!_resumed && !new FileInfo(_part).Exists)
            {
                throw new TransientTransferException($"'{_part}' has vanished");
            }

            if (options.ExpectedSha256 is not { } expected || !_resumed)
            {
                return;
            }

            string actual;
            try
            {
                await using var file = new FileStream(_part, FileMode.Open, FileAccess.Read, FileShare.Read, BufferSize, FileOptions.SequentialScan);
                actual = Convert.ToHexString(await SHA256.HashDataAsync(file, cancellationToken));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw WriteFailed(e);
            }

            if (!actual.Equals(expected, StringComparison.OrdinalIgnoreCase))
            {
                StartOver("the resumed file does not have the checksum of the release");
            }
        }

        private long Resumable(PartInfo? info)
        {
            var part = new FileInfo(_part);
            if (!part.Exists || part.LinkTarget is not null || info is null || info.Address != WebText.Show(uri) || part.Length > info.Length)
            {
                return 0;
            }

            var identified = info.LastModified is not null || (info.ETag is { } tag && !tag.StartsWith("W/", StringComparison.Ordinal));
            if (!identified && options.ExpectedSha256 is null)
            {
                return 0;
            }

            _resumed = part.Length > 0;
            return part.Length;
        }

        private PartInfo? ReadInfo()
        {
            try
            {
                return File.Exists(_info) ? JsonSerializer.Deserialize<PartInfo>(File.ReadAllText(_info)) : null;
            }
            catch (JsonException)
            {
                return null;
            }
        }

        private static bool SameVersion(PartInfo a, PartInfo b) =>
            (a.ETag is null || b.ETag is null || a.ETag == b.ETag)
            && (a.LastModified is null || b.LastModified is null || a.LastModified == b.LastModified)
            && (a.Length is null || b.Length is null || a.Length == b.Length);

        private void StartOver(string reason)
        {
            OnDisk(() =>
            {
                File.Delete(_part);
                File.Delete(_info);
                return 0;
            });
            throw new TransientTransferException(reason, TimeSpan.Zero);
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
            reporter.Progress(new ProgressUpdate(options.Activity, Status, length is > 0 ? (int)Math.Min(100, total * 100 / length.Value) : null, Minor: true));
        }

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

        private ArchAzureException WriteFailed(Exception e) => new("DiskWriteFailed",
            e is UnauthorizedAccessException ? ErrorKind.PermissionDenied : ErrorKind.ResourceUnavailable,
            $"'{_part}' could not be written or read back: {e.Message.TrimEnd('.')}. Free some space or choose a work directory you may write to, and run the command again.", _part, e);

        private ArchAzureException TooLarge(long length)
        {
            File.Delete(_part);
            File.Delete(_info);
            return new("DownloadTooLarge", ErrorKind.InvalidData,
                $"{WebText.Show(uri)} is larger than {WebText.Size(options.MaxBytes)} ({WebText.Size(length)}), which no release is. Check the address.", WebText.Show(uri));
        }
    }
}
