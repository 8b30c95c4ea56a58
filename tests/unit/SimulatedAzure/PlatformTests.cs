using System.Globalization;
using System.Text;
using ArchAzure.SimulatedAzure;
using Xunit;

namespace ArchAzure.UnitTests.SimulatedAzure;

public sealed class PlatformTests : IDisposable
{
    private const string Ok = "text/xml;charset=utf-8";
    private readonly SimulatedPlatform _platform = new(new OvfEnvironment("web1", "azureuser"));

    public void Dispose() => _platform.Dispose();

    public static TheoryData<string, string, string?, string?, string, int> Refused() => new()
    {
        { "GET", "/machine/?comp=goalstate", null, null, "", 400 },
        { "GET", "/machine/other/other?comp=config&type=sharedConfig", "2012-11-30", null, "", 410 },
        { "POST", "/machine?comp=health", "2012-11-30", Ok, "<Health/>", 410 },
        { "POST", "/machine?comp=health", "2012-11-30", Ok, "<!DOCTYPE Health [<!ENTITY a 'b'>]><Health>&a;</Health>", 400 },
        { "PUT", "/status/x.status?sig=guessed", null, null, "{}", 403 },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public async Task RefusesWhatAzureRefusesAndRecordsIt(
        string method, string target, string? version, string? type, string body, int status)
    {
        var headers = new Dictionary<string, string>(StringComparer.Ordinal);
        if (version is not null)
        {
            headers["x-ms-version"] = version;
        }

        if (type is not null)
        {
            headers["Content-Type"] = type;
        }

        Assert.Equal(status, await Ask(_platform.WireServer.Http, method, target, headers, Encoding.UTF8.GetBytes(body)));
        var request = Assert.Single(_platform.Requests);
        Assert.Equal(status, request.Status);
        Assert.False(string.IsNullOrEmpty(request.Violation));
        Assert.DoesNotContain("guessed", request.Target, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http://168.63.129.16:80/artifacts/agent/manifest.xml", 200)]
    [InlineData("http://127.0.0.1/artifacts/agent/manifest.xml", 404)]
    [InlineData("http://168.63.129.16:80/machine/?comp=goalstate", 404)]
    [InlineData("file:///etc/passwd", 404)]
    public async Task HostPluginFetchesOnlyWhatIsTheGoalStates(string location, int status)
    {
        var response = await Ask(_platform.HostGaPlugin.Http, "GET", "/extensionArtifact", new()
        {
            ["x-ms-version"] = "2015-09-01",
            ["x-ms-containerid"] = _platform.Goal.ContainerId,
            ["x-ms-host-config-name"] = "x",
            ["x-ms-artifact-location"] = location,
        });
        Assert.Equal(status, response);
    }

    [Theory]
    [InlineData("nonsense\r\n\r\n", 400)]
    [InlineData("GET / HTTP/2\r\n\r\n", 400)]
    [InlineData("get / HTTP/1.1\r\n\r\n", 400)]
    [InlineData("GET nowhere HTTP/1.1\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\n: empty\r\n\r\n", 400)]
    [InlineData("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400)]
    [InlineData("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400)]
    [InlineData("POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n", 413)]
    [InlineData("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", 400)]
    [InlineData("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400)]
    [InlineData("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400)]
    [InlineData("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nHost", 400)]
    public async Task WhatIsNotHttpIsRefusedAndRecorded(string bytes, int status)
    {
        var response = await Raw(_platform.WireServer.Http, Encoding.Latin1.GetBytes(bytes));
        Assert.StartsWith($"HTTP/1.1 {status} ", response, StringComparison.Ordinal);
        Assert.NotNull(Assert.Single(_platform.Requests).Violation);
    }

    [Theory]
    [InlineData("Content-Length: 60000000\r\n\r\n")]
    [InlineData("Transfer-Encoding: chunked\r\n\r\n3000000\r\n")]
    public async Task MemoryIsTakenForWhatComesAndNotForWhatIsAnnounced(string announced)
    {
        // Other tests allocate in the same time: the least of some tries is near what this one takes.
        var least = long.MaxValue;
        for (var i = 0; i < 10; i++)
        {
            var before = GC.GetTotalAllocatedBytes();
            Assert.StartsWith(
                "HTTP/1.1 400 ", await Raw(_platform.WireServer.Http, Encoding.ASCII.GetBytes("POST / HTTP/1.1\r\n" + announced + "a")),
                StringComparison.Ordinal);
            least = Math.Min(least, GC.GetTotalAllocatedBytes() - before);
        }

        Assert.InRange(least, 0, 40_000_000);
    }

    [Fact]
    public async Task AnEndlessHeadEnds() =>
        Assert.StartsWith(
            "HTTP/1.1 431 ",
            await Raw(_platform.WireServer.Http, Encoding.ASCII.GetBytes(
                "GET / HTTP/1.1\r\n" + string.Concat(Enumerable.Repeat("a: b\r\n", 20000)))),
            StringComparison.Ordinal);

    [Fact]
    public async Task WhatTheGuestSaysCommandsNoTerminal()
    {
        await Raw(_platform.WireServer.Http, Encoding.Latin1.GetBytes("GET /\u001b[2J HTTP/1.1\r\n\r\n"));
        await Post("health", Health("NotReady", "<Details><SubStatus>\u009b2J</SubStatus><Description>a\u009b2J</Description></Details>"));
        var request = _platform.Requests[0];
        Assert.DoesNotContain(request.Target + request.Violation, char.IsControl);
        Assert.Equal(("?2J", "a?2J"), (_platform.HealthReports[0].SubStatus, _platform.HealthReports[0].Description));
    }

    private string Health(string state, string details) =>
        $"<?xml version=\"1.0\" "
        + $"encoding=\"utf-8\"?><Health><GoalStateIncarnation>1</GoalStateIncarnation><Container><ContainerId>"
        + $"{_platform.Goal.ContainerId}</ContainerId>"
        + $"<RoleInstanceList><Role><InstanceId>{_platform.Goal.InstanceId}</InstanceId><Health><State>{state}</State>{details}</Health>"
        + $"</Role></RoleInstanceList></Container></Health>";

    private Task<int> Post(string component, string body) => Ask(_platform.WireServer.Http, "POST", "/machine?comp=" + component,
        new() { ["x-ms-version"] = "2012-11-30", ["Content-Type"] = Ok }, Encoding.UTF8.GetBytes(body));

    private static async Task<int> Ask(
        HttpServer server, string method, string target, Dictionary<string, string> headers, byte[]? body = null)
    {
        var head = $"{method} {target} HTTP/1.1\r\nHost: 168.63.129.16\r\nConnection: close\r\nContent-Length: {body?.Length ?? 0}\r\n"
            + string.Concat(headers.Select(h => $"{h.Key}: {h.Value}\r\n")) + "\r\n";
        return int.Parse(
            (await Raw(server, [.. Encoding.ASCII.GetBytes(head), .. body ?? []])).Split(' ')[1], CultureInfo.InvariantCulture);
    }

    private static async Task<string> Raw(HttpServer server, byte[] bytes)
    {
        using var sent = new MemoryStream();
        using var connection = new Duplex(new MemoryStream(bytes), sent);
        await server.ServeAsync(connection, CancellationToken.None);
        return Encoding.Latin1.GetString(sent.ToArray());
    }
}
