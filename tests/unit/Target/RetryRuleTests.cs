using ArchAzure.Target;

namespace ArchAzure.UnitTests.Target;

/// <summary>Which words of pacman and git leave hope for another attempt.</summary>
public sealed class RetryRuleTests
{
    [Fact]
    public void Each_pause_is_longer_than_the_one_before()
    {
        for (var i = 0; i < 1000; i++)
        {
            var pauses = Enumerable.Range(0, 6).Select(attempt => ArchAzure.Retries.Pause(TimeSpan.FromSeconds(1), attempt)).ToList();
            Assert.Equal(pauses.Order(), pauses);
            Assert.InRange(pauses[0].TotalSeconds, 0.75, 1.25);
            Assert.InRange(pauses[5].TotalSeconds, 24, 40);
        }
    }

    [Theory]
    [InlineData("Operation too slow. Less than 1 bytes/sec transferred the last 10 seconds", true)]
    [InlineData("Recv failure: Connection reset by peer", true)]
    [InlineData("transfer closed with 26471810 bytes remaining to read", true)]
    [InlineData("Could not resolve host: mirror.example.org", true)]
    [InlineData("The requested URL returned error: 503", true)]
    [InlineData("The requested URL returned error: 429", true)]
    [InlineData("The requested URL returned error: 416", true)]
    [InlineData("The requested URL returned error: 404", false)]
    [InlineData("The requested URL returned error: 403", false)]
    [InlineData("SSL certificate problem: unable to get local issuer certificate", false)]
    public void A_package(string reason, bool isTransient) =>
        Assert.Equal(
            isTransient,
            Pacman.IsTransient($"error: failed retrieving file 'linux-6.1-1-x86_64.pkg.tar.zst' from mirror.example.org : {reason}"));

    /// <summary>pacman tells of a full disk in a line for each file, and not by that name.</summary>
    [Fact]
    public void A_full_disk_is_named_in_few_lines()
    {
        string[] lines =
        [
            .. Enumerable.Range(1, 500).Select(i => $"error: could not extract /target/usr/share/{i} (Write failed)"),
            "error: failed to commit transaction (transaction aborted)",
        ];
        var error = Pacman.Explain(lines, new InvalidOperationException());
        Assert.Equal("NotEnoughSpace", error?.ErrorId);
        Assert.Contains("no space left in the Docker engine's data folder", error!.Message, StringComparison.Ordinal);
        Assert.Contains("/target/usr/share/1 (Write failed)", error.Message, StringComparison.Ordinal);
        Assert.Contains("(492 more)", error.Message, StringComparison.Ordinal);
        Assert.Contains(lines[^1], error.Message, StringComparison.Ordinal);
        Assert.InRange(error.Message.Split('\n').Length, 11, 13);
    }

    /// <summary>What pacman 7 says of a whole package in the cache that still has the name of a part.</summary>
    [Fact]
    public void A_package_that_is_lost_in_the_cache_is_named_with_its_folder()
    {
        var error = Pacman.Explain(
            ["error: sudo: could not find package in cache", "error: failed to commit transaction (could not find or read package)"],
            new InvalidOperationException());
        Assert.Equal("PackageCacheDamaged", error?.ErrorId);
        Assert.Contains("error: sudo: could not find package in cache", error!.Message, StringComparison.Ordinal);
        Assert.Contains("folder 'cache'", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("fatal: unable to access 'https://github.com/x/': Could not resolve host: github.com", true)]
    [InlineData("fatal: unable to access 'https://github.com/x/': The requested URL returned error: 502", true)]
    [InlineData("error: RPC failed; curl 28 Operation too slow. Less than 1 bytes/sec transferred the last 30 seconds fatal: expected "
        + "flush after ref listing", true)]
    [InlineData("fatal: the remote end hung up unexpectedly fatal: early EOF", true)]
    [InlineData("fatal: unable to connect to 127.0.0.1: 127.0.0.1[0: 127.0.0.1]: errno=Connection refused", true)]
    [InlineData("fatal: Could not read from remote repository. Please make sure you have the correct access rights and the repository "
        + "exists.", true)]
    [InlineData("git@github.com: Permission denied (publickey). fatal: Could not read from remote repository.", false)]
    [InlineData("fatal: repository 'https://github.com/x/' not found", false)]
    [InlineData("fatal: could not read Username for 'https://github.com': terminal prompts disabled", false)]
    [InlineData("fatal: remote error: access denied or repository not exported: /x", false)]
    [InlineData("fatal: unable to access 'https://github.com/x/': SSL certificate problem: certificate has expired", false)]
    public void Git(string said, bool isTransient) => Assert.Equal(isTransient, AgentSource.IsTransient(said));
}
