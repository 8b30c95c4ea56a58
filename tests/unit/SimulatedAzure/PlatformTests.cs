using System.Diagnostics;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Xml.Linq;
using ArchAzure.SimulatedAzure;
using CsCheck;
using Xunit;

namespace ArchAzure.UnitTests.SimulatedAzure;

public sealed class PlatformTests : IDisposable
{
    private const string Ok = "text/xml;charset=utf-8";
    private readonly SimulatedPlatform _platform;

    public PlatformTests()
    {
        var extension = ExtensionHandler.Pack("ArchAzure.Test", "1.0.0", new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["HandlerManifest.json"] = ExtensionHandler.Manifest("handler.sh"),
            ["handler.sh"] = "#!/bin/sh\n",
        }) with
        { PublicSettings = """{"a":"<&>"}""", ProtectedSettings = """{"secret":"canary"}""", SequenceNumber = 3 };
        _platform = new SimulatedPlatform(new SimulatedPlatformOptions(new OvfEnvironment("web1", "azureuser")
        {
            SshPublicKeys = ["ssh-ed25519 AAAA x"],
        })
        { Extensions = [extension] });
    }

    public void Dispose() => _platform.Dispose();

    [Fact]
    public async Task VersionsNeedNoHeader()
    {
        var versions = Xml(await Wire("GET", "/?comp=versions"));
        Assert.Equal("2012-11-30", versions.Element("Preferred")!.Element("Version")!.Value);
    }

    [Theory]
    [InlineData("/machine/?comp=goalstate")]
    [InlineData("/machine?comp=goalstate")]
    public async Task GoalStateLeadsToEveryConfiguration(string path)
    {
        var goal = Xml(await Wire("GET", path));
        Assert.Equal("1", goal.Element("Incarnation")!.Value);
        var instance = goal.Element("Container")!.Element("RoleInstanceList")!.Element("RoleInstance")!;
        Assert.Equal("Started", instance.Element("State")!.Value);
        var configuration = instance.Element("Configuration")!;
        foreach (var (name, root) in new[] { ("HostingEnvironmentConfig", "HostingEnvironmentConfig"), ("SharedConfig", "SharedConfig"), ("ExtensionsConfig", "Extensions") })
        {
            var uri = new Uri(configuration.Element(name)!.Value);
            Assert.Equal("168.63.129.16", uri.Host);
            Assert.Equal(root, Xml(await Wire("GET", uri.PathAndQuery)).Name.LocalName);
        }

        Assert.StartsWith(_platform.DeploymentId + ".", configuration.Element("ConfigName")!.Value, StringComparison.Ordinal);
        Assert.DoesNotContain(_platform.Requests, r => r.Violation is not null);
    }

    [Fact]
    public async Task HostingEnvironmentNamesTheMachine()
    {
        var root = Xml(await Wire("GET", Uri("HostingEnvironmentConfig")));
        Assert.Equal("_web1", root.Element("Incarnation")!.Attribute("instance")!.Value);
        Assert.Equal("_web1", root.Element("Role")!.Attribute("name")!.Value);
        Assert.NotNull(root.Element("Deployment")!.Attribute("name"));
    }

    [Fact]
    public async Task ExtensionsCarrySettingsManifestAndPackage()
    {
        var root = Xml(await Wire("GET", Uri("ExtensionsConfig")));
        var plugin = root.Element("Plugins")!.Element("Plugin")!;
        Assert.Equal("enabled", plugin.Attribute("state")!.Value);
        var settings = root.Element("PluginSettings")!.Element("Plugin")!.Element("RuntimeSettings")!;
        Assert.Equal("3", settings.Attribute("seqNo")!.Value);
        using var json = JsonDocument.Parse(settings.Value);
        var handler = json.RootElement.GetProperty("runtimeSettings")[0].GetProperty("handlerSettings");
        Assert.Equal("<&>", handler.GetProperty("publicSettings").GetProperty("a").GetString());
        Assert.Equal(_platform.Certificate.Thumbprint, handler.GetProperty("protectedSettingsCertThumbprint").GetString());
        Assert.DoesNotContain("canary", settings.Value, StringComparison.Ordinal);

        var manifest = Xml(await Wire("GET", new Uri(plugin.Attribute("location")!.Value).PathAndQuery));
        var package = manifest.Element("Plugins")!.Element("Plugin")!;
        Assert.Equal("1.0.0", package.Element("Version")!.Value);
        var zip = await Wire("GET", new Uri(package.Element("Uris")!.Element("Uri")!.Value).PathAndQuery);
        using var archive = new ZipArchive(new MemoryStream(zip.Body));
        Assert.Equal(["HandlerManifest.json", "handler.sh"], archive.Entries.Select(e => e.FullName));
    }

    [Fact]
    public async Task NewExtensionsMakeANewIncarnation()
    {
        _platform.SetExtensions([]);
        Assert.Equal("2", Xml(await Wire("GET", "/machine/?comp=goalstate")).Element("Incarnation")!.Value);
        Assert.Null(Xml(await Wire("GET", Uri("ExtensionsConfig"))).Element("Plugins"));
    }

    [Fact]
    public async Task ARedeployedMachineIsAnother()
    {
        _platform.SetExtensions([]);
        var (container, deployment) = (_platform.ContainerId, _platform.DeploymentId);
        _platform.Redeploy(new OvfEnvironment("web2", "grace"));

        var goal = Xml(await Wire("GET", "/machine/?comp=goalstate"));
        Assert.Equal("1", goal.Element("Incarnation")!.Value);
        Assert.Equal(_platform.ContainerId, goal.Element("Container")!.Element("ContainerId")!.Value);
        Assert.Equal($"{_platform.DeploymentId}._web2", goal.Descendants("RoleInstance").Single().Element("InstanceId")!.Value);
        Assert.NotEqual(container, _platform.ContainerId);
        Assert.NotEqual(deployment, _platform.DeploymentId);
    }

    [Fact]
    public async Task ReadyIsToldToWhoWaits()
    {
        var ready = _platform.WaitForReadyAsync(CancellationToken.None);
        Assert.Equal(200, (await Post("health", Health("NotReady", "<Details><SubStatus>Provisioning</SubStatus><Description>Starting</Description></Details>"))).Status);
        Assert.False(ready.IsCompleted);
        Assert.Equal(200, (await Post("health", Health("Ready", ""))).Status);
        await ready.WaitAsync(TimeSpan.FromSeconds(5));
        Assert.Equal([("NotReady", "Provisioning", "Starting"), ("Ready", null, null)], _platform.HealthReports.Select(r => (r.State, r.SubStatus, r.Description)));
    }

    [Fact]
    public async Task RolePropertiesTellTheHostKey()
    {
        var body = $"<RoleProperties><Container><ContainerId>{_platform.ContainerId}</ContainerId><RoleInstances><RoleInstance><Id>{_platform.InstanceId}</Id>"
            + "<Properties><Property name=\"CertificateThumbprint\" value=\"SHA256abc\" /></Properties></RoleInstance></RoleInstances></Container></RoleProperties>";
        Assert.Equal(200, (await Post("roleProperties", body)).Status);
        Assert.Equal(["SHA256abc"], _platform.HostKeyFingerprints);
    }

    [Fact]
    public async Task TelemetryIsUnderstood()
    {
        const string parameters = """<Param Name="Name" Value="WALinuxAgent" T="mt:wstr" /><Param Name="Operation" Value="Provision" T="mt:wstr" /><Param Name="OperationSuccess" Value="False" T="mt:bool" /><Param Name="Message" Value="a &lt; b" T="mt:wstr" />""";
        var body = $"<?xml version=\"1.0\"?><TelemetryData version=\"1.0\"><Provider id=\"p\"><Event id=\"1\"><![CDATA[{parameters}]]></Event></Provider></TelemetryData>";
        Assert.Equal(200, (await Post("telemetrydata", body)).Status);
        var telemetry = Assert.Single(_platform.Telemetry);
        Assert.Equal(("WALinuxAgent", "Provision", false, "a < b"), (telemetry.Name, telemetry.Operation, telemetry.IsSuccess, telemetry.Message));
    }

    public static TheoryData<string, string, string?, string?, string, int> Refused() => new()
    {
        { "GET", "/machine/?comp=goalstate", null, null, "", 400 },
        { "GET", "/machine/?comp=goalstate", "2099-01-01", null, "", 400 },
        { "POST", "/machine/?comp=goalstate", "2012-11-30", Ok, "<x/>", 405 },
        { "GET", "/machine?comp=health", "2012-11-30", null, "", 405 },
        { "GET", "/machine?comp=nothing", "2012-11-30", null, "", 400 },
        { "GET", "/nothing", "2012-11-30", null, "", 404 },
        { "GET", "/machine/other/other?comp=config&type=sharedConfig", "2012-11-30", null, "", 410 },
        { "POST", "/machine?comp=health", "2012-11-30", "application/json", "{}", 415 },
        { "POST", "/machine?comp=health", "2012-11-30", Ok, "<Health>", 400 },
        { "POST", "/machine?comp=health", "2012-11-30", Ok, "", 400 },
        { "POST", "/machine?comp=health", "2012-11-30", Ok, "<Wealth/>", 400 },
        { "POST", "/machine?comp=health", "2012-11-30", Ok, "<Health/>", 410 },
        { "POST", "/machine?comp=health", "2012-11-30", Ok, "<!DOCTYPE Health [<!ENTITY a 'b'>]><Health>&a;</Health>", 400 },
        { "POST", "/machine?comp=roleProperties", "2012-11-30", Ok, "<RoleProperties/>", 400 },
        { "POST", "/machine?comp=telemetrydata", "2012-11-30", Ok, "<TelemetryData/>", 400 },
        { "POST", "/machine?comp=telemetrydata", "2012-11-30", Ok, "<TelemetryData version='1.0'><Provider><Event>&lt;x</Event></Provider></TelemetryData>", 400 },
        { "GET", "/artifacts/Unknown/manifest.xml", null, null, "", 404 },
        { "GET", "/artifacts/ArchAzure.Test/9.9.9.zip", null, null, "", 404 },
        { "PUT", "/status/x.status?sig=guessed", null, null, "{}", 403 },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public async Task RefusesWhatAzureRefusesAndRecordsIt(string method, string target, string? version, string? type, string body, int status)
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

        Assert.Equal(status, (await Ask(_platform.WireServer.Http, method, target, headers, Encoding.UTF8.GetBytes(body))).Status);
        var request = Assert.Single(_platform.Requests);
        Assert.Equal(status, request.Status);
        Assert.False(string.IsNullOrEmpty(request.Violation));
        Assert.DoesNotContain("guessed", request.Target, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AReportForAnotherIncarnationIsGone()
    {
        var report = Health("Ready", "");
        _platform.SetExtensions([]);
        Assert.Equal(410, (await Post("health", report)).Status);
        Assert.Empty(_platform.HealthReports);
    }

    /// <summary>The two commands with which the agent unpacks the certificates (WALinuxAgent, cryptutil.py).</summary>
    [SkippableTheory]
    [InlineData("DES_EDE3_CBC")]
    [InlineData("AES128_CBC")]
    public async Task OpensslUnpacksTheCertificatesAsTheAgentDoes(string cipher)
    {
        Skip.IfNot(File.Exists("/usr/bin/openssl"), "openssl is not installed");
        var directory = Directory.CreateTempSubdirectory();
        try
        {
            string At(string name) => Path.Combine(directory.FullName, name);
            Openssl("req", "-x509", "-nodes", "-subj", "/CN=LinuxTransport", "-days", "730", "-newkey", "rsa:2048", "-keyout", At("prv"), "-out", At("crt"));
            var transport = string.Concat(File.ReadLines(At("crt")).Where(line => !line.StartsWith('-')));
            var response = await Ask(_platform.WireServer.Http, "GET", Uri("Certificates"), new()
            {
                ["x-ms-version"] = "2012-11-30",
                ["x-ms-cipher-name"] = cipher,
                ["x-ms-guest-agent-public-x509-cert"] = transport,
            });
            var root = Xml(response);
            Assert.Equal("Pkcs7BlobWithPfxContents", root.Element("Format")!.Value);
            File.WriteAllText(At("p7m"), "MIME-Version:1.0\nContent-Disposition: attachment; filename=\"x\"\nContent-Type: application/x-pkcs7-mime; name=\"x\"\n"
                + "Content-Transfer-Encoding: base64\n\n" + root.Element("Data")!.Value);
            Openssl("cms", "-decrypt", "-in", At("p7m"), "-inkey", At("prv"), "-recip", At("crt"), "-out", At("pfx"));
            Openssl("pkcs12", "-nodes", "-password", "pass:", "-in", At("pfx"), "-out", At("pem"));
            using var certificate = X509Certificate2.CreateFromPemFile(At("pem"));
            Assert.Equal(_platform.Certificate.Thumbprint, certificate.Thumbprint);

            // And with the pair the protected settings can be read, as a handler does.
            var extensions = Xml(await Wire("GET", Uri("ExtensionsConfig")));
            using var json = JsonDocument.Parse(extensions.Descendants("RuntimeSettings").Single().Value);
            File.WriteAllBytes(At("settings"), json.RootElement.GetProperty("runtimeSettings")[0].GetProperty("handlerSettings").GetProperty("protectedSettings").GetBytesFromBase64());
            Openssl("cms", "-decrypt", "-inform", "DER", "-in", At("settings"), "-inkey", At("pem"), "-recip", At("pem"), "-out", At("plain"));
            Assert.Equal("""{"secret":"canary"}""", File.ReadAllText(At("plain")));

            var recorded = _platform.Requests[0];
            Assert.DoesNotContain(transport[..40], string.Concat(recorded.Headers.Values), StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Theory]
    [InlineData("not base64!", "AES128_CBC")]
    [InlineData("AAAA", "AES128_CBC")]
    [InlineData("", "AES128_CBC")]
    [InlineData("valid", "ROT13")]
    public async Task CertificatesForAStrangerAreRefused(string certificate, string cipher)
    {
        if (certificate == "valid")
        {
            using var key = RSA.Create(2048);
            using var made = new CertificateRequest("CN=x", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSelfSigned(DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddDays(1));
            certificate = Convert.ToBase64String(made.RawData);
        }

        var response = await Ask(_platform.WireServer.Http, "GET", Uri("Certificates"), new()
        {
            ["x-ms-version"] = "2012-11-30",
            ["x-ms-cipher-name"] = cipher,
            ["x-ms-guest-agent-public-x509-cert"] = certificate,
        });
        Assert.Equal(400, response.Status);
    }

    [Fact]
    public async Task StatusComesThroughTheHostPlugin()
    {
        Assert.Equal(200, (await PutStatus(_platform.ContainerId, StatusUrl())).Status);
        var status = Assert.Single(_platform.ExtensionStatuses);
        Assert.Equal(("ArchAzure.Test", "1.0.0", "Ready", "success", 0, "done", 3),
            (status.Name, status.Version, status.HandlerStatus, status.Status, status.Code, status.Message, status.SequenceNumber));
        Assert.Equal([("2.7.3.0", "Ready")], _platform.AgentStatuses.Select(s => (s.Version, s.Status)));
        Assert.DoesNotContain(_platform.Requests, r => r.Target.Contains(StatusUrl().Split("sig=")[1], StringComparison.Ordinal));

        Assert.Equal(410, (await PutStatus("other", StatusUrl())).Status);
        Assert.Equal(403, (await PutStatus(_platform.ContainerId, "http://elsewhere/")).Status);
    }

    [Theory]
    [InlineData("GET", "/versions", 200)]
    [InlineData("GET", "/health", 200)]
    [InlineData("GET", "/vmSettings", 404)]
    [InlineData("PUT", "/versions", 405)]
    [InlineData("GET", "/nothing", 404)]
    [InlineData("GET", "/extensionArtifact", 400)]
    public async Task HostPluginAnswersLikeOneWithoutVmSettings(string method, string path, int status) =>
        Assert.Equal(status, (await Ask(_platform.HostGaPlugin.Http, method, path, [])).Status);

    [Theory]
    [InlineData("http://168.63.129.16:80/artifacts/ArchAzure.Test/manifest.xml", 200)]
    [InlineData("http://127.0.0.1/artifacts/ArchAzure.Test/manifest.xml", 404)]
    [InlineData("http://168.63.129.16:80/machine/?comp=goalstate", 404)]
    [InlineData("file:///etc/passwd", 404)]
    public async Task HostPluginFetchesOnlyWhatIsTheGoalStates(string location, int status)
    {
        var response = await Ask(_platform.HostGaPlugin.Http, "GET", "/extensionArtifact", new()
        {
            ["x-ms-version"] = "2015-09-01",
            ["x-ms-containerid"] = _platform.ContainerId,
            ["x-ms-host-config-name"] = "x",
            ["x-ms-artifact-location"] = location,
        });
        Assert.Equal(status, response.Status);
    }

    [Fact]
    public async Task MetadataTellsWhatCloudInitWantsToKnow()
    {
        var response = await Metadata("/metadata/instance?api-version=2021-08-01&extended=true");
        using var json = JsonDocument.Parse(response.Body);
        var compute = json.RootElement.GetProperty("compute");
        Assert.Equal("azureuser", compute.GetProperty("osProfile").GetProperty("adminUsername").GetString());
        Assert.Equal("web1", compute.GetProperty("osProfile").GetProperty("computerName").GetString());
        Assert.Equal("true", compute.GetProperty("osProfile").GetProperty("disablePasswordAuthentication").GetString());
        Assert.Equal("ssh-ed25519 AAAA x", compute.GetProperty("publicKeys")[0].GetProperty("keyData").GetString());
        var network = json.RootElement.GetProperty("network").GetProperty("interface")[0];
        Assert.Equal("000D3A112233", network.GetProperty("macAddress").GetString());
        Assert.Equal("10.0.0.4", network.GetProperty("ipv4").GetProperty("ipAddress")[0].GetProperty("privateIpAddress").GetString());
        Assert.False(json.RootElement.GetProperty("extended").GetProperty("compute").GetProperty("hasCustomData").GetBoolean());
        Assert.Equal("web1", Encoding.UTF8.GetString((await Metadata("/metadata/instance/compute/name?api-version=2021-02-01&format=text")).Body));
        Assert.Contains("2019-06-01", Encoding.UTF8.GetString((await Metadata("/metadata/versions")).Body), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/metadata/instance", 400)]
    [InlineData("/metadata/instance?api-version=1999-01-01", 400)]
    [InlineData("/metadata/instance/compute/name?api-version=2021-02-01", 400)]
    [InlineData("/metadata/instance/compute/nothing?api-version=2021-02-01", 404)]
    [InlineData("/metadata/identity?api-version=2021-02-01", 404)]
    [InlineData("/", 404)]
    public async Task MetadataIsStrict(string target, int status)
    {
        Assert.Equal(status, (await Metadata(target)).Status);
        Assert.Contains(_platform.Requests, r => r.Violation is not null);
    }

    [Fact]
    public async Task MetadataWantsItsHeaderAndNoProxy()
    {
        const string target = "/metadata/instance?api-version=2021-08-01";
        Assert.Equal(400, (await Ask(_platform.InstanceMetadata.Http, "GET", target, [])).Status);
        Assert.Equal(400, (await Ask(_platform.InstanceMetadata.Http, "GET", target, new() { ["Metadata"] = "true", ["X-Forwarded-For"] = "1.2.3.4" })).Status);
        Assert.Equal(405, (await Ask(_platform.InstanceMetadata.Http, "POST", target, new() { ["Metadata"] = "true" })).Status);
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
            Assert.StartsWith("HTTP/1.1 400 ", await Raw(_platform.WireServer.Http, Encoding.ASCII.GetBytes("POST / HTTP/1.1\r\n" + announced + "a")), StringComparison.Ordinal);
            least = Math.Min(least, GC.GetTotalAllocatedBytes() - before);
        }

        Assert.InRange(least, 0, 40_000_000);
    }

    [Fact]
    public async Task AnEndlessHeadEnds() =>
        Assert.StartsWith("HTTP/1.1 431 ", await Raw(_platform.WireServer.Http, Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\n" + string.Concat(Enumerable.Repeat("a: b\r\n", 20000)))), StringComparison.Ordinal);

    [Fact]
    public async Task WhatTheGuestSaysCommandsNoTerminal()
    {
        await Raw(_platform.WireServer.Http, Encoding.Latin1.GetBytes("GET /\u001b[2J HTTP/1.1\r\n\r\n"));
        await Post("health", Health("NotReady", "<Details><SubStatus>\u009b2J</SubStatus><Description>a\u009b2J</Description></Details>"));
        var request = _platform.Requests[0];
        Assert.DoesNotContain(request.Target + request.Violation, char.IsControl);
        Assert.Equal(("?2J", "a?2J"), (_platform.HealthReports[0].SubStatus, _platform.HealthReports[0].Description));
    }

    [Fact]
    public void NoBytesBringTheServerDown() =>
        Gen.OneOf(
            Gen.Byte.Array[0, 300],
            Gen.String[Gen.Char["GET POST/?&=:%machinegoalstatecomphealth1.0\r\n <>&;\"'"], 0, 400].Select(Encoding.Latin1.GetBytes),
            Gen.String[Gen.Char["<>/&;\"' HealthContainer!DOCTYPE[]ab"], 0, 200].Select(body => Encoding.Latin1.GetBytes(
                $"POST /machine?comp=health HTTP/1.1\r\nx-ms-version: 2012-11-30\r\nContent-Type: {Ok}\r\nContent-Length: {body.Length}\r\n\r\n{body}")))
        .Sample(
            bytes =>
            {
                var response = Raw(_platform.WireServer.Http, bytes).GetAwaiter().GetResult();
                Assert.DoesNotContain("HTTP/1.1 500", response, StringComparison.Ordinal);
            },
            iter: 500, threads: 1);

    [Fact]
    public async Task ConnectionsAreKeptAndChunksRead()
    {
        var response = await Raw(_platform.WireServer.Http, Encoding.ASCII.GetBytes(
            "GET /?comp=versions HTTP/1.1\r\n\r\n"
            + "POST /HealthService HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n"
            + "GET http://168.63.129.16/?comp=versions HTTP/1.1\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n"));
        Assert.Equal(3, response.Split("HTTP/1.1 200 OK").Length - 1);
        Assert.Equal(3, _platform.Requests.Count);
    }

    private string Health(string state, string details) =>
        $"<?xml version=\"1.0\" encoding=\"utf-8\"?><Health><GoalStateIncarnation>1</GoalStateIncarnation><Container><ContainerId>{_platform.ContainerId}</ContainerId>"
        + $"<RoleInstanceList><Role><InstanceId>{_platform.InstanceId}</InstanceId><Health><State>{state}</State>{details}</Health></Role></RoleInstanceList></Container></Health>";

    private string StatusUrl() => XDocument.Parse(Encoding.UTF8.GetString(Wire("GET", Uri("ExtensionsConfig")).GetAwaiter().GetResult().Body)).Root!.Element("StatusUploadBlob")!.Value;

    private Task<Answer> PutStatus(string container, string url)
    {
        const string status = """
            {"version":"1.1","aggregateStatus":{"guestAgentStatus":{"version":"2.7.3.0","status":"Ready"},"handlerAggregateStatus":[
            {"handlerName":"ArchAzure.Test","handlerVersion":"1.0.0","status":"Ready","code":0,"runtimeSettingsStatus":{"sequenceNumber":3,
            "settingsStatus":{"status":{"name":"x","status":"success","code":0,"formattedMessage":{"lang":"en-US","message":"done"}}}}}]}}
            """;
        var body = JsonSerializer.Serialize(new
        {
            requestUri = url,
            headers = new[] { new { headerName = "x-ms-blob-type", headerValue = "BlockBlob" }, new { headerName = "x-ms-version", headerValue = "2014-02-14" } },
            content = Convert.ToBase64String(Encoding.UTF8.GetBytes(status)),
        });
        return Ask(_platform.HostGaPlugin.Http, "PUT", "/status", new()
        {
            ["x-ms-version"] = "2015-09-01",
            ["x-ms-containerid"] = container,
            ["x-ms-host-config-name"] = "x",
            ["Content-Type"] = "application/json",
        }, Encoding.UTF8.GetBytes(body));
    }

    private string Uri(string configuration) => new Uri(
        Xml(Wire("GET", "/machine/?comp=goalstate").GetAwaiter().GetResult()).Descendants(configuration).Single().Value).PathAndQuery;

    private Task<Answer> Wire(string method, string target) => Ask(_platform.WireServer.Http, method, target, new() { ["x-ms-version"] = "2012-11-30" });

    private Task<Answer> Post(string component, string body) => Ask(_platform.WireServer.Http, "POST", "/machine?comp=" + component,
        new() { ["x-ms-version"] = "2012-11-30", ["Content-Type"] = Ok }, Encoding.UTF8.GetBytes(body));

    private Task<Answer> Metadata(string target) => Ask(_platform.InstanceMetadata.Http, "GET", target, new() { ["Metadata"] = "true" });

    private static XElement Xml(Answer answer)
    {
        Assert.Equal(200, answer.Status);
        return XDocument.Load(new MemoryStream(answer.Body)).Root!;
    }

    private static void Openssl(params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("/usr/bin/openssl", arguments) { RedirectStandardError = true, UseShellExecute = false })!;
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, error);
    }

    private static async Task<Answer> Ask(HttpServer server, string method, string target, Dictionary<string, string> headers, byte[]? body = null)
    {
        var head = $"{method} {target} HTTP/1.1\r\nHost: 168.63.129.16\r\nConnection: close\r\nContent-Length: {body?.Length ?? 0}\r\n"
            + string.Concat(headers.Select(h => $"{h.Key}: {h.Value}\r\n")) + "\r\n";
        var connection = new Conversation([.. Encoding.ASCII.GetBytes(head), .. body ?? []]);
        await server.ServeAsync(connection, CancellationToken.None);
        var bytes = connection.Sent.ToArray();
        var end = bytes.AsSpan().IndexOf("\r\n\r\n"u8);
        var lines = Encoding.ASCII.GetString(bytes, 0, end).Split("\r\n");
        return new Answer(int.Parse(lines[0].Split(' ')[1]), bytes[(end + 4)..]);
    }

    private static async Task<string> Raw(HttpServer server, byte[] bytes)
    {
        var connection = new Conversation(bytes);
        await server.ServeAsync(connection, CancellationToken.None);
        return Encoding.Latin1.GetString(connection.Sent.ToArray());
    }

    private sealed record Answer(int Status, byte[] Body);

    /// <summary>A connection on which the client has said all it will.</summary>
    private sealed class Conversation(byte[] said) : Stream
    {
        private readonly MemoryStream _said = new(said);

        public MemoryStream Sent { get; } = new();

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => _said.Read(buffer, offset, count);

        public override void Write(byte[] buffer, int offset, int count) => Sent.Write(buffer, offset, count);

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
