using System.Net;
using System.Text;
using ArchAzure.Bootstrap;
using CsCheck;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Fuzz;

/// <summary>A release server that answers with anything.</summary>
public sealed class ReleaseIndexFuzzTests(ITestOutputHelper output)
{
    private static readonly string s_sums = string.Concat(new[] { "2026.11.01", "2026.10.01" }.Select(date =>
        $"{new string('a', 64)}  archlinux-{date}-x86_64.iso\n{new string('b', 64)} "
        + $"*archlinux-bootstrap-{date}-x86_64.tar.zst\r\n{new string('c', 64)}  archlinux-bootstrap-{date}-x86_64.tar.gz\n"));

    private const string Listing = "<html><a href=\"../\">..</a><a href=\"2026.11.01/\">2026.11.01/</a> <A HREF=/iso/2026.10.01/>x</A><a "
        + "href='./2026.09.01'>y</a><a href=\"latest/\">latest/</a></html>";

    private static readonly string[] s_words =
        [
            "href=", "href = \"", "2026.11.01", "0001.01.01", "9999.99.99", "/", "../", "archlinux-bootstrap-", "-x86_64", ".tar.zst",
            ".tar.gz", "\n", "  ", " *", new('d', 64), new('e', 63), "٢٠٢٦.11.01",
        ];

    [Theory]
    [InlineData("latest")]
    [InlineData("2026.11.01")]
    public void A_release_is_found_or_refused(string version) =>
        Gen.Select(
            Mutations.Of([Encoding.ASCII.GetBytes(s_sums)], s_words), Mutations.Of([Encoding.ASCII.GetBytes(Listing)], s_words), Gen.Bool)
            .Run(output, pages => Find(version, pages.Item3 ? pages.Item1 : null, pages.Item1, pages.Item2), count: 1500);

    [Fact]
    public void A_version_of_any_text_is_looked_for_or_refused() =>
        Mutations.OfText(["latest", "2026.11.01"], "\0", "2026", ".", "/", "..", "%2e").Run(
            output,
            version => Find(version, null, Encoding.ASCII.GetBytes(s_sums), []),
            count: 3000);

    private static void Find(string version, byte[]? latest, byte[] dated, byte[] listing)
    {
        using var handler = new Server(path => path switch
        {
            "/iso/latest/sha256sums.txt" => latest,
            "/iso/" => listing,
            _ when path.EndsWith("/sha256sums.txt", StringComparison.Ordinal) => dated,
            _ => null,
        });
        using var client = new HttpClient(handler);
        var release = new ReleaseIndex(client, new RecordingReporter())
            .FindAsync(new Uri("https://m.example/iso/"), version, default)
            .GetAwaiter()
            .GetResult();

        // Nothing that a server says leads outside its folder, here or in the file system.
        Assert.Matches(@"^[0-9]{4}\.[0-9]{2}\.[0-9]{2}\z", release.Version);
        Assert.Matches(@"^archlinux-bootstrap-[0-9.]{10}-x86_64\.tar\.(zst|gz)\z", release.FileName);
        Assert.Matches("^[0-9a-f]{64}\\z", release.Sha256);
        Assert.StartsWith("https://m.example/iso/", release.Uri.AbsoluteUri, StringComparison.Ordinal);
        Assert.Equal(release.Uri.AbsoluteUri + ".sig", release.SignatureUri.AbsoluteUri);
        Assert.All(handler.Asked, path => Assert.StartsWith("/iso/", path, StringComparison.Ordinal));
    }

    private sealed class Server(Func<string, byte[]?> page) : HttpMessageHandler
    {
        public List<string> Asked { get; } = [];

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Asked.Add(request.RequestUri!.AbsolutePath);
            var answer = page(request.RequestUri.AbsolutePath) is { } bytes
                ? new HttpResponseMessage(HttpStatusCode.OK) { Content = new ByteArrayContent(bytes) }
                : new HttpResponseMessage(HttpStatusCode.NotFound);
            answer.RequestMessage = request;
            return Task.FromResult(answer);
        }
    }
}
