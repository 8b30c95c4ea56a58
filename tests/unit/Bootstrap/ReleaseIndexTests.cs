using System.Text;
using ArchAzure.Bootstrap;

namespace ArchAzure.UnitTests.Bootstrap;

public sealed class ReleaseIndexTests : IDisposable
{
    private static readonly TransferLimits s_quick = new()
    {
        StallTimeout = TimeSpan.FromSeconds(20),
        FirstPause = TimeSpan.FromMilliseconds(5),
        MaxPause = TimeSpan.FromMilliseconds(10),
        MaxAttempts = 3,
    };

    private readonly Dictionary<string, string> _pages = new(StringComparer.Ordinal);
    private readonly RecordingReporter _reporter = new();
    private readonly HttpClient _client = ArchHttp.CreateClient();
    private readonly ScriptedServer _server;

    public ReleaseIndexTests() => _server = new ScriptedServer((r, _) =>
        _pages.TryGetValue(r.Path, out var text) ? new Answer(200, Encoding.UTF8.GetBytes(text)) : new Answer(404, []));

    private Uri Root => new(_server.Address, "iso/");

    public void Dispose()
    {
        _server.Dispose();
        _client.Dispose();
    }

    [Fact]
    public async Task Reads_the_latest_release_from_its_list()
    {
        _pages["/iso/latest/sha256sums.txt"] = Sums("2026.11.01");
        var release = await FindAsync("latest");
        Assert.Equal("2026.11.01", release.Version);
        Assert.Equal("archlinux-bootstrap-2026.11.01-x86_64.tar.zst", release.FileName);
        Assert.Equal(new Uri(Root, "latest/archlinux-bootstrap-2026.11.01-x86_64.tar.zst"), release.Uri);
        Assert.Equal(release.Uri + ".sig", release.SignatureUri.ToString());
        Assert.Equal(new string('c', 64), release.Sha256);
    }

    [Fact]
    public async Task Takes_an_address_without_a_final_slash()
    {
        _pages["/iso/latest/sha256sums.txt"] = Sums("2026.11.01");
        var release = await new ReleaseIndex(_client, _reporter, limits: s_quick)
            .FindAsync(new Uri(_server.Address, "iso"), "latest", default);
        Assert.Equal("2026.11.01", release.Version);
    }

    [Fact]
    public async Task Reads_a_dated_release_of_the_gzip_days()
    {
        _pages["/iso/2023.01.01/sha256sums.txt"] = $"{new string('d', 64)} *archlinux-bootstrap-2023.01.01-x86_64.tar.gz\r\n";
        var release = await FindAsync("2023.01.01");
        Assert.Equal("archlinux-bootstrap-2023.01.01-x86_64.tar.gz", release.FileName);
        Assert.Equal(new string('d', 64), release.Sha256);
    }

    [Theory]
    [InlineData("<a href=\"2026.11.01/\">2026.11.01/</a><a href='2026.10.01/'>x</a><a href=\"2026.12.01/\">not ready</a><a "
        + "href=\"../\">..</a>")]
    [InlineData("<A HREF=/iso/2026.10.01/>a</A><A HREF=\"/iso/2026.11.01\">b</A><a href=./2026.12.01/>c</a>")]
    public async Task Without_latest_takes_the_newest_complete_folder_of_the_listing(string listing)
    {
        _pages["/iso/"] = listing;
        _pages["/iso/2026.11.01/sha256sums.txt"] = Sums("2026.11.01");
        _pages["/iso/2026.10.01/sha256sums.txt"] = Sums("2026.10.01");
        Assert.Equal("2026.11.01", (await FindAsync("latest")).Version);
    }

    [Theory]
    [InlineData("2026.11.30", "2026.11.01")]
    [InlineData("2026.11.01", "2026.11.01")]
    [InlineData("2026.10.31", "2026.10.01")]
    public async Task The_newest_of_a_day_does_not_ask_for_latest(string day, string version)
    {
        _pages["/iso/"] = "<a href=\"2026.12.01/\">x</a> <a href=\"2026.11.01/\">x</a> <a href=\"2026.10.01/\">x</a> <a "
            + "href=\"latest/\">x</a>";
        foreach (var date in new[] { "2026.12.01", "2026.11.01", "2026.10.01" })
        {
            _pages[$"/iso/{date}/sha256sums.txt"] = Sums(date);
        }

        _pages["/iso/latest/sha256sums.txt"] = Sums("2026.12.01");
        Assert.Equal(version, (await Index().FindAsync(Root, "latest", default, notAfter: day)).Version);

        var error = await Assert.ThrowsAsync<ArchAzureException>(() => Index().FindAsync(Root, "latest", default, notAfter: "2026.09.30"));
        Assert.Equal("UnknownVersion", error.ErrorId);
        Assert.Contains("no release of 2026.09.30 or before. It offers 2026.12.01, 2026.11.01, 2026.10.01.", error.Message);

        ReleaseIndex Index() => new(_client, _reporter, limits: s_quick);
    }

    [Fact]
    public async Task An_unknown_version_names_those_there_are()
    {
        _pages["/iso/"] = "<a href=\"2026.10.01/\">x</a> <a href=\"2026.11.01/\">x</a> <a href=\"2026.99.01/\">x</a>";
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => FindAsync("2020.01.01"));
        Assert.Equal("UnknownVersion", error.ErrorId);
        Assert.Equal(ErrorKind.NotFound, error.Kind);
        Assert.Contains("no release 2020.01.01", error.Message);
        Assert.Contains("It offers 2026.11.01, 2026.10.01.", error.Message);
        // Who names a server gets what that server has.
        Assert.DoesNotContain("archive", error.Message);
    }

    [Theory]
    [InlineData("href=")]
    [InlineData("href=/")]
    [InlineData("href = ")]
    [InlineData("href='2026.11.0/")]
    public async Task A_long_page_of_half_a_link_is_read_soon(string half)
    {
        _pages["/iso/"] = string.Concat(Enumerable.Repeat(half, (4 << 20) / half.Length));
        var finding = FindAsync("latest");
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => finding.WaitAsync(TimeSpan.FromSeconds(20)));
        Assert.Contains("shows no list of releases", error.Message);
    }

    [Theory]
    [InlineData("2026.11")]
    [InlineData("newest")]
    [InlineData("2026.02.30")]
    [InlineData("../../etc")]
    public async Task A_version_that_is_none_never_reaches_the_server(string version)
    {
        Assert.Equal("UnknownVersion", (await Assert.ThrowsAsync<ArchAzureException>(() => FindAsync(version))).ErrorId);
        Assert.Empty(_server.Requests);
    }

    [Fact]
    public async Task A_server_without_any_release_says_so()
    {
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => FindAsync("latest"));
        Assert.Equal("UnknownVersion", error.ErrorId);
        Assert.Contains("shows no list of releases", error.Message);
    }

    [Theory]
    [InlineData("")]
    [InlineData("<html>captive portal</html>")]
    [InlineData("cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc  archlinux-bootstrap-x86_64.tar.zst\n")]
    [InlineData("cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc  archlinux-bootstrap-2026.11.01-aarch64.tar.zst\n")]
    [InlineData("cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc  ../archlinux-bootstrap-2026.11.01-x86_64.tar.zst\n")]
    [InlineData("cccc  archlinux-bootstrap-2026.11.01-x86_64.tar.zst\n")]
    public async Task A_list_without_the_bootstrap_is_refused(string sums)
    {
        _pages["/iso/latest/sha256sums.txt"] = sums;
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => FindAsync("latest"));
        Assert.Equal("ReleaseIncomplete", error.ErrorId);
        Assert.Contains("sha256sums.txt", error.Message);
    }

    [Fact]
    public async Task Of_two_versions_in_latest_the_newer_counts_and_zst_before_gz()
    {
        _pages["/iso/latest/sha256sums.txt"] = Sums("2026.10.01") + Sums("2026.11.01")
            + $"{new string('e', 64)}  archlinux-bootstrap-2026.11.01-x86_64.tar.gz\n";
        var release = await FindAsync("latest");
        Assert.Equal("archlinux-bootstrap-2026.11.01-x86_64.tar.zst", release.FileName);
    }

    [Fact]
    public async Task Only_the_default_server_falls_back_to_the_archive()
    {
        using var handler = new Stub(
            uri => uri.Host == "archive.archlinux.org" && uri.AbsolutePath == "/iso/2021.01.01/sha256sums.txt" ? Sums("2021.01.01") : null);
        using var client = new HttpClient(handler);
        var index = new ReleaseIndex(client, _reporter, limits: s_quick);
        var release = await index.FindAsync(ReleaseIndex.DefaultReleaseUrl, "2021.01.01", default);
        Assert.Equal("archive.archlinux.org", release.Uri.Host);
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => index.FindAsync(ReleaseIndex.DefaultReleaseUrl, "2020.01.01", default));
        Assert.Contains("nor has https://archive.archlinux.org/iso/", error.Message);
    }

    [Fact]
    public async Task Repeats_what_may_pass_and_gives_up_after_its_attempts()
    {
        using var server = new ScriptedServer(
            (_, n) => n < 3 ? new Answer(502, []) : new Answer(200, Encoding.UTF8.GetBytes(Sums("2026.11.01"))));
        Assert.Equal(
            "2026.11.01",
            (await new ReleaseIndex(_client, _reporter, limits: s_quick).FindAsync(server.Address, "latest", default)).Version);

        using var dead = new ScriptedServer((_, _) => new Answer(200, []) { Length = 10, Stall = true });
        var impatient = s_quick with { StallTimeout = TimeSpan.FromMilliseconds(200) };
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => new ReleaseIndex(_client, _reporter, limits: impatient).FindAsync(dead.Address, "latest", default));
        Assert.Equal("DownloadFailed", error.ErrorId);
        Assert.Contains("tried 3 times", error.Message);
    }

    private static string Sums(string date) =>
        $"""
        {new string('a', 64)}  archlinux-{date}-x86_64.iso
        {new string('b', 64)}  archlinux-x86_64.iso
        {new string('C', 64)}  archlinux-bootstrap-{date}-x86_64.tar.zst
        {new string('c', 64)}  archlinux-bootstrap-x86_64.tar.zst

        """;

    private Task<ArchRelease> FindAsync(string version) =>
        new ReleaseIndex(_client, _reporter, limits: s_quick).FindAsync(Root, version, default);

    private sealed class Stub(Func<Uri, string?> page) : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            Task.FromResult(page(request.RequestUri!) is { } text
                ? new HttpResponseMessage { Content = new StringContent(text) }
                : new HttpResponseMessage(System.Net.HttpStatusCode.NotFound));
    }
}
