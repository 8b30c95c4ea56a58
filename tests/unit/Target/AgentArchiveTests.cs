using ArchAzure.Target;

namespace ArchAzure.UnitTests.Target;

/// <summary>By lines as bsdtar 3.8 --list -vv --numeric-owner prints them.</summary>
public sealed class AgentArchiveTests
{
    private const string Location = "/home/ann/agent.tar";

    [Theory]
    [InlineData("-rw-r--r--  0 1000   1000        123 Jan  1  2026 WALinuxAgent-2.15/setup.py")]
    [InlineData("drwxr-xr-x  0 0      0             0 Nov 27 19:17 WALinuxAgent-2.15/")]
    [InlineData("drwxr-xr-x  0 0      0             0 Nov 27 19:17 ./")]
    [InlineData("-rw-r--r--  0 0      0             1 Jan  1  1970 top/na me\\nwith..dots")]
    [InlineData("lrwxrwxrwx  0 0      0             0 Jan  1  1970 top/bin/agent -> ../setup.py")]
    [InlineData("lrwxrwxrwx  0 0      0             0 Jan  1  1970 ./top/link -> ../README")]
    [InlineData("hrw-r--r--  0 0      0             0 Jan  1  1970 top/hard link to top/setup.py")]
    public void What_an_agent_holds_is_taken(string line) => new AgentArchive(Location).Check(line);

    [Theory]
    [InlineData("-rw-r--r--  0 0      0             1 Jan  1  1970 ../evil", "leads out")]
    [InlineData("-rw-r--r--  0 0      0             1 Jan  1  1970 top/../../evil", "leads out")]
    [InlineData("-rw-r--r--  0 0      0             1 Jan  1  1970 /etc/passwd", "leads out")]
    [InlineData("lrwxrwxrwx  0 0      0             0 Jan  1  1970 top/l -> /etc", "leads out")]
    [InlineData("lrwxrwxrwx  0 0      0             0 Jan  1  1970 top/l -> ../../etc", "leads out")]
    [InlineData("lrwxrwxrwx  0 0      0             0 Jan  1  1970 top/l -> a/../../../etc", "leads out")]
    [InlineData("lrwxrwxrwx  0 0      0             0 Jan  1  1970 top/a -> b -> /etc", "leads out")]
    [InlineData("hrw-r--r--  0 0      0             0 Jan  1  1970 top/h link to /etc/passwd", "leads out")]
    [InlineData("hrw-r--r--  0 0      0             0 Jan  1  1970 top/h link to ../x", "leads out")]
    [InlineData("prw-r--r--  0 0      0             0 Jan  1  1970 top/fifo", "neither a file")]
    [InlineData("brw-r--r--  0 0      0           8,0 Jan  1  1970 top/disk", "neither a file")]
    [InlineData("crw-r--r--  0 0      0           1,1 Jan  1  1970 top/memory", "neither a file")]
    [InlineData("srw-r--r--  0 0      0             0 Jan  1  1970 top/socket", "neither a file")]
    [InlineData("nothing of the kind", "no form")]
    public void What_reaches_out_is_refused_and_named(string line, string reason)
    {
        var error = Assert.Throws<ArchAzureException>(() => new AgentArchive(Location).Check(line));

        Assert.Equal("AgentSourceInvalid", error.ErrorId);
        Assert.All(
            [Location, reason, "-Source", line.Split(' ')[^1]], part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void Too_many_entries_are_refused()
    {
        var archive = new AgentArchive(Location);
        var error = Assert.Throws<ArchAzureException>(() =>
        {
            for (var i = 0; i <= 100_000; i++)
            {
                archive.Check($"-rw-r--r--  0 0      0             1 Jan  1  1970 top/{i}");
            }
        });
        Assert.Contains("100000", error.Message, StringComparison.Ordinal);
    }
}
