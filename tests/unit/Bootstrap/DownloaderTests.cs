using System.Security.Cryptography;
using ArchAzure.Bootstrap;

namespace ArchAzure.UnitTests.Bootstrap;

public sealed class DownloaderTests : IDisposable
{
    private static readonly byte[] s_file = RandomNumberGenerator.GetBytes(700_001);
    private static readonly TransferLimits s_quick = new()
    {
        StallTimeout = TimeSpan.FromSeconds(20),
        FirstPause = TimeSpan.FromMilliseconds(5),
        MaxPause = TimeSpan.FromMilliseconds(20),
        MaxAttempts = 4,
    };

    private static readonly DownloadOptions s_withSum = new()
    {
        Limits = s_quick,
        ExpectedSha256 = Convert.ToHexString(SHA256.HashData(s_file)),
    };

    private readonly TempFolder _folder = new();
    private readonly RecordingReporter _reporter = new();
    private readonly HttpClient _client = ArchHttp.CreateClient();

    private string Target => _folder["file.tar.zst"];

    private string Part => Target + ".part";

    public void Dispose()
    {
        _client.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task Brings_the_file_and_leaves_nothing_else()
    {
        using var server = new ScriptedServer((r, _) => ScriptedServer.Proper(r, s_file));
        await GetAsync(server);
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
        Assert.Equal([Target], Directory.GetFiles(_folder.Path));
        Assert.Contains(_reporter.Updates, u => u.Percent == 100);
        Assert.True(_reporter.Updates.Last().Completed);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Goes_on_after_a_short_body_or_a_reset(bool reset)
    {
        using var server = new ScriptedServer((r, n) => n == 1
            ? ScriptedServer.Proper(r, s_file) with { Body = s_file[..200_000], Length = s_file.Length, Reset = reset }
            : ScriptedServer.Proper(r, s_file));
        await GetAsync(server, s_withSum);
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
        Assert.Equal([Target], Directory.GetFiles(_folder.Path));
        var second = server.Requests.Last();
        Assert.True(second.RangeStart is > 0 and <= 200_000, $"the second request began at {second.RangeStart}");
        Assert.Contains(_reporter.Details, m => m.Contains("attempt 2 of 4", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Gives_up_a_silent_server_and_goes_on()
    {
        using var server = new ScriptedServer((r, n) => n == 1
            ? ScriptedServer.Proper(r, s_file) with { Body = s_file[..100_000], Length = s_file.Length, Stall = true }
            : ScriptedServer.Proper(r, s_file));
        await GetAsync(server, s_withSum with { Limits = s_quick with { StallTimeout = TimeSpan.FromSeconds(1) } });
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
        Assert.Equal(100_000, server.Requests.Last().RangeStart);
        Assert.Contains(_reporter.Details, m => m.Contains("sent nothing for 1 s", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Goes_on_in_a_later_run_where_an_earlier_one_ended()
    {
        using var server = new ScriptedServer((r, n) => n <= 4
            ? ScriptedServer.Proper(r, s_file) is var a ? a with { Body = a.Body[..50_000], Length = a.Body.Length } : a
            : ScriptedServer.Proper(r, s_file));
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => GetAsync(server, s_withSum));
        Assert.Equal("DownloadFailed", error.ErrorId);
        Assert.Contains("tried 4 times", error.Message);
        Assert.Contains("195.3 KiB are kept", error.Message);
        Assert.False(File.Exists(Target));

        await GetAsync(server, s_withSum);
        Assert.Equal(200_000, server.Requests.Last().RangeStart);
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
    }

    [Fact]
    public async Task Does_not_join_parts_of_two_versions()
    {
        var other = RandomNumberGenerator.GetBytes(s_file.Length);
        using var server = new ScriptedServer((r, n) => n == 1
            ? ScriptedServer.Proper(r, other) with { Body = other[..300_000], Length = other.Length }
            : ScriptedServer.Proper(r, s_file));
        await GetAsync(server, s_withSum);
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
        Assert.Equal([0, 300_000, 0], server.Requests.Select(request => request.RangeStart));
        Assert.Contains(_reporter.Details, m => m.Contains("does not have the checksum", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Starts_from_zero_where_ranges_are_not_supported()
    {
        using var server = new ScriptedServer((_, n) => n == 1
            ? new Answer(200, s_file[..300_000]) { Length = s_file.Length }
            : new Answer(200, s_file));
        await GetAsync(server, s_withSum);
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
        Assert.Equal([0, 300_000], server.Requests.Select(request => request.RangeStart));
        Assert.Contains(_reporter.Details, m => m.Contains("sends the whole file", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Starts_from_zero_where_another_range_comes_than_asked_for()
    {
        using var server = new ScriptedServer((r, n) => n == 1
            ? ScriptedServer.Proper(r, s_file) with { Body = s_file[..300_000], Length = s_file.Length }
            : ScriptedServer.Proper(n == 2 ? r with { Headers = new() { ["Range"] = "bytes=200000-" } } : r, s_file));
        await GetAsync(server, s_withSum);
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
        Assert.Contains(_reporter.Details, m => m.Contains("another range", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Starts_from_zero_where_no_checksum_could_tell()
    {
        using var server = new ScriptedServer((r, n) => n <= 4
            ? ScriptedServer.Proper(r, s_file) with { Body = s_file[..300_000], Length = s_file.Length }
            : ScriptedServer.Proper(r, s_file));
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => GetAsync(server));
        Assert.DoesNotContain("kept", error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Target));

        await GetAsync(server);
        Assert.Equal(5, server.Requests.Count);
        Assert.All(server.Requests, request => Assert.Null(request["Range"]));
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
    }

    [Theory]
    [InlineData(300_000, "300000,0")]
    [InlineData(800_000, "800000,0")]
    [InlineData(700_001, "700001,0")]
    public async Task A_part_damaged_on_the_disk_or_longer_than_the_file_is_thrown_away(int length, string starts)
    {
        using var server = new ScriptedServer((r, _) => ScriptedServer.Proper(r, s_file));
        await File.WriteAllBytesAsync(Part, new byte[length]);
        await GetAsync(server, s_withSum);
        Assert.Equal(starts, string.Join(',', server.Requests.Select(request => request.RangeStart)));
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
    }

    [Fact]
    public async Task A_part_that_is_complete_already_needs_no_byte_more()
    {
        using var server = new ScriptedServer((r, _) => ScriptedServer.Proper(r, s_file));
        await File.WriteAllBytesAsync(Part, s_file);
        await GetAsync(server, s_withSum);
        Assert.Equal(s_file.Length, Assert.Single(server.Requests).RangeStart);
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
    }

    [Fact]
    public async Task Waits_as_long_as_a_busy_server_asks_within_limits()
    {
        using var server = new ScriptedServer((r, n) => n == 1
            ? new Answer(503, []) { Headers = { ["Retry-After"] = "3600" } }
            : ScriptedServer.Proper(r, s_file));
        await GetAsync(server);
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
        Assert.Contains(_reporter.Details, m => m.Contains("answered 503", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Follows_redirects()
    {
        using var server = new ScriptedServer((r, _) => r.Path == "/file"
            ? new Answer(302, []) { Headers = { ["Location"] = "/elsewhere" } }
            : ScriptedServer.Proper(r, s_file));
        await GetAsync(server);
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
    }

    [Theory]
    [InlineData(404, "DownloadNotFound", ErrorKind.NotFound)]
    [InlineData(403, "DownloadDenied", ErrorKind.ConnectionError)]
    [InlineData(400, "DownloadFailed", ErrorKind.ConnectionError)]
    public async Task Does_not_repeat_what_no_repetition_changes(int status, string errorId, ErrorKind kind)
    {
        using var server = new ScriptedServer((_, _) => new Answer(status, []));
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => GetAsync(server));
        Assert.Equal(errorId, error.ErrorId);
        Assert.Equal(kind, error.Kind);
        Assert.Contains($"{server.Address}file", error.Message);
        Assert.Contains(status.ToString(), error.Message);
        Assert.Single(server.Requests);
        Assert.Empty(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public async Task Says_so_when_nobody_answers()
    {
        var server = new ScriptedServer((_, _) => new Answer(200, []));
        server.Dispose();
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => GetAsync(server));
        Assert.Equal("DownloadFailed", error.ErrorId);
        Assert.Contains("refused", error.Message);
        Assert.Equal(3, _reporter.Details.Count);
    }

    [Fact]
    public async Task Leaves_an_existing_file_alone_unless_told()
    {
        using var server = new ScriptedServer((r, _) => ScriptedServer.Proper(r, s_file));
        await File.WriteAllTextAsync(Target, "mine");
        Assert.Equal("FileExists", (await Assert.ThrowsAsync<ArchAzureException>(() => GetAsync(server))).ErrorId);
        Assert.Empty(server.Requests);
        Assert.Equal("mine", await File.ReadAllTextAsync(Target));
        await GetAsync(server, new DownloadOptions { Limits = s_quick, Overwrite = true });
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
    }

    [Fact]
    public async Task Writes_through_no_link_planted_in_its_way()
    {
        using var server = new ScriptedServer((r, _) => ScriptedServer.Proper(r, s_file));
        var precious = _folder.Write("precious", "mine");
        File.CreateSymbolicLink(Part, precious);
        await GetAsync(server, s_withSum);
        Assert.Equal("mine", await File.ReadAllTextAsync(precious));
        Assert.Equal(s_file, await File.ReadAllBytesAsync(Target));
    }

    [Fact]
    public async Task A_password_in_an_address_is_neither_sent_nor_shown()
    {
        using var server = new ScriptedServer((r, n) => n == 1
            ? ScriptedServer.Proper(r, s_file) with { Body = s_file[..1000], Length = s_file.Length }
            : n == 2 ? new Answer(500, []) : new Answer(404, []));
        var address = new UriBuilder(server.Address) { UserName = "me", Password = "s3cret", Path = "file" }.Uri;
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => GetAsync(address, Target));
        Assert.All(server.Requests, request => Assert.Null(request["Authorization"]));
        Assert.DoesNotContain("s3cret", error.ToString());
        Assert.DoesNotContain("s3cret", _reporter.Everything);
        Assert.Equal([Part], Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public async Task Refuses_other_schemes_and_endless_files()
    {
        using var server = new ScriptedServer((r, _) => ScriptedServer.Proper(r, s_file));
        Assert.Equal("UnsupportedAddress", (await Assert.ThrowsAsync<ArchAzureException>(
            () => GetAsync(new Uri("file:///etc/passwd"), Target))).ErrorId);
        Assert.Equal("DownloadTooLarge", (await Assert.ThrowsAsync<ArchAzureException>(
            () => GetAsync(server, new DownloadOptions { Limits = s_quick, MaxBytes = 1000 }))).ErrorId);
        Assert.Empty(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public async Task A_folder_that_takes_no_file_is_named()
    {
        using var server = new ScriptedServer((r, _) => ScriptedServer.Proper(r, s_file));
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => GetAsync(new Uri(server.Address, "file"), "/proc/none/file"));
        Assert.Equal("DiskWriteFailed", error.ErrorId);
        Assert.Contains("/proc/none/file.part", error.Message);
    }

    [Fact]
    public async Task Ends_at_once_when_cancelled_and_keeps_the_part()
    {
        using var server = new ScriptedServer((r, _) =>
            ScriptedServer.Proper(r, s_file) with { Body = s_file[..100_000], Length = s_file.Length, Stall = true });
        using var cancel = new CancellationTokenSource();
        var options = s_withSum with { Limits = s_quick with { StallTimeout = TimeSpan.FromMinutes(1) } };
        var download = GetAsync(new Uri(server.Address, "file"), Target, options, cancel.Token);
        while (!File.Exists(Part) || new FileInfo(Part).Length < 100_000)
        {
            await Task.Delay(10);
        }

        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => download.WaitAsync(TimeSpan.FromSeconds(5)));
        Assert.Equal(100_000, new FileInfo(Part).Length);
    }

    private Task GetAsync(ScriptedServer server, DownloadOptions? options = null) =>
        GetAsync(new Uri(server.Address, "file"), Target, options);

    private Task GetAsync(Uri address, string path, DownloadOptions? options = null, CancellationToken cancellationToken = default) =>
        new Downloader(_client, _reporter)
            .DownloadAsync(address, path, options ?? new DownloadOptions { Limits = s_quick }, cancellationToken);
}
