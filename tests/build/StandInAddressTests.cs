using ArchAzure.StandIn;

namespace ArchAzure.BuildTests;

/// <summary>Where the stand-in mirror is served: runs side by side do not get in each other's way.</summary>
public sealed class StandInAddressTests
{
    [Fact]
    public async Task A_taken_port_moves_the_mirror_on()
    {
        using var folder = new TempFolder();
        await using var one = await MirrorServer.StartAsync(folder.Path);
        var port = new Uri(one.BaseUrl).Port;
        await using var other = await MirrorServer.StartAtOrAfterAsync(folder.Path, port);
        Assert.InRange(new Uri(other.BaseUrl).Port, port + 1, port + 100);
    }

    [Fact]
    public async Task A_later_run_serves_where_the_settings_say_and_writes_only_an_address_that_moved()
    {
        using var folder = new TempFolder();
        const string text = "# http://127.0.0.1:21000/ stays in a "
            + "comment\nMIRROR=http://127.0.0.1:21000/$repo/os/$arch\nRELEASE_URL=http://127.0.0.1:21000/iso/\n"
            + "WAAGENT_SOURCE=http://127.0.0.1:2100/agent.tar.gz\nDISK_SIZE=4096\n";
        var settings = folder.Write("settings.env", text);
        Assert.Equal("21000\n", await CommonAsync("stand_in_port \"$1\"", settings));
        await CommonAsync("stand_in_url=http://127.0.0.1:21000; write_stand_in_settings \"$1\"", settings);
        Assert.Equal(text, await File.ReadAllTextAsync(settings));
        await CommonAsync("stand_in_url=http://127.0.0.1:21003; write_stand_in_settings \"$1\"", settings);
        Assert.Equal(
            text.Replace("=http://127.0.0.1:21000/", "=http://127.0.0.1:21003/", StringComparison.Ordinal),
            await File.ReadAllTextAsync(settings));
        var port = int.Parse(await CommonAsync("stand_in_port \"$1\"", folder["none.env"]));
        Assert.InRange(port, 20000, 29999);
    }

    private static Task<string> CommonAsync(string script, string settings) =>
        Tool.RunAsync(
            "bash", "-c", $"set -euo pipefail; here=$2; source \"$2/tools/common.sh\"; {script}", "bash", settings, TestSetup.Checkout);
}
