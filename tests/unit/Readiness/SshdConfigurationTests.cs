using ArchAzure.FileSystems;
using ArchAzure.Readiness;
using ArchAzure.UnitTests.FileSystems;
using Xunit;

namespace ArchAzure.UnitTests.Readiness;

public sealed class SshdConfigurationTests
{
    [Fact]
    public void First_value_wins_and_includes_stand_where_they_are()
    {
        var configuration = Read(new()
        {
            ["/etc/ssh/sshd_config"] = "Port 22\nInclude sshd_config.d/*.conf\nX11Forwarding yes\nport 2222\n",
            ["/etc/ssh/sshd_config.d/20-b.conf"] = "ClientAliveInterval 20\nX11Forwarding no\n",
            ["/etc/ssh/sshd_config.d/10-a.conf"] = "ClientAliveInterval 10\n",
            ["/etc/ssh/sshd_config.d/00-c.conf.bak"] = "ClientAliveInterval 5\n",
        });

        Assert.Equal("22", configuration.Effective("Port")!.Value);
        Assert.Equal("10", configuration.Effective("clientaliveinterval")!.Value);
        Assert.Equal("no", configuration.Effective("X11Forwarding")!.Value);
        Assert.Null(configuration.Effective("PermitRootLogin"));
    }

    [Fact]
    public void Match_blocks_hold_for_some_and_end_with_their_file()
    {
        var configuration = Read(new()
        {
            ["/etc/ssh/sshd_config"] = "Include /etc/ssh/a.conf\nPermitRootLogin no\nMatch User git\nPermitRootLogin yes\nInclude "
                + "/etc/ssh/b.conf\nMatch all\nMaxAuthTries 3\n",
            ["/etc/ssh/a.conf"] = "Match Address 10.0.0.0/8\nPermitRootLogin forced-commands-only\n",
            ["/etc/ssh/b.conf"] = "MaxSessions 1\n",
        });

        Assert.Equal("no", configuration.Effective("PermitRootLogin")!.Value);
        Assert.Equal(["forced-commands-only", "yes", "no"], configuration.All("PermitRootLogin").Select(setting => setting.Value));
        Assert.Null(configuration.Effective("MaxSessions"));
        Assert.Equal("User git", configuration.All("MaxSessions").Single().Condition);
        Assert.Equal("3", configuration.Effective("MaxAuthTries")!.Value);
    }

    [Theory]
    [InlineData("ClientAliveInterval=180")]
    [InlineData("ClientAliveInterval = 180")]
    [InlineData("  clientaliveinterval\t180  # comment")]
    [InlineData("ClientAliveInterval \"180\"\r")]
    public void Lines_are_split_as_sshd_does(string line) =>
        Assert.Equal(
            "180",
            Read(new() { ["/etc/ssh/sshd_config"] = "#ClientAliveInterval 1\n" + line + "\n" }).Effective("ClientAliveInterval")!.Value);

    [Theory]
    [InlineData("180", 180L)]
    [InlineData("3m", 180L)]
    [InlineData("1h30M", 5400L)]
    [InlineData("0", 0L)]
    [InlineData("", null)]
    [InlineData("m", null)]
    [InlineData("3x", null)]
    [InlineData("99999999999999999999", null)]
    public void Times_are_read(string text, long? seconds) => Assert.Equal(seconds, SshdConfiguration.ParseTime(text));

    [Fact]
    public void Files_that_include_themselves_end()
    {
        var error = Assert.Throws<ArchAzureException>(
            () => Read(new() { ["/etc/ssh/sshd_config"] = "Include sshd_config\nInclude sshd_config\n" }));

        Assert.Contains("too often or too deep", error.Message, StringComparison.Ordinal);
    }

    private static SshdConfiguration Read(Dictionary<string, string> files) => SshdConfiguration.Read(new MemoryFileSystem(files));
}
