using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Xml;
using System.Xml.Linq;

namespace ArchAzure.SimulatedAzure;

/// <summary>
/// The wire server, 168.63.129.16:80: versions, goal state, configurations, certificates, health, role properties,
/// telemetry; and, where Azure has storage accounts, the extensions' manifests and packages and the status blob.
/// </summary>
/// <remarks>
/// Source: what WALinuxAgent (<c>common/protocol/wire.py</c>, <c>goal_state.py</c>, 2.7 to 2.15) and cloud-init
/// (<c>sources/helpers/azure.py</c>) send and take.
/// </remarks>
internal sealed class WireServer
{
    /// <summary>The protocol's version, which every request but that for the versions must name in x-ms-version.</summary>
    public const string ProtocolVersion = "2012-11-30";

    public const string BaseUrl = "http://168.63.129.16:80";
    private static readonly string[] s_agentFamilies = ["Prod", "Test"];
    private const string AgentManifestPath = "/artifacts/agent/manifest.xml";
    private const string XmlType = "text/xml; charset=utf-8";
    private static readonly XNamespace s_xsi = "http://www.w3.org/2001/XMLSchema-instance";

    private readonly SimulatedPlatform _platform;

    public WireServer(SimulatedPlatform platform)
    {
        _platform = platform;
        Http = platform.CreateServer("WireServer", Handle);
        StatusUrl = $"{BaseUrl}/status/{platform.Goal.RoleName}.status?sr=b&sp=rw&sig={Guid.NewGuid():N}";
    }

    public HttpServer Http { get; }

    /// <summary>The address of the status blob, with a signature as storage wants it.</summary>
    public string StatusUrl { get; }

    private GoalState Goal => _platform.Goal;

    private HttpResponse Handle(HttpRequest request)
    {
        if (request.Path.StartsWith("/artifacts/", StringComparison.Ordinal))
        {
            Method(request, "GET");
            return Artifact(request.Path);
        }

        if (request.Path.StartsWith("/status/", StringComparison.Ordinal))
        {
            Method(request, "PUT");
            return PutStatusBlob(BaseUrl + request.Target, request.Header, request.Body);
        }

        if (request.Path == "/HealthService")
        {
            Method(request, "POST");
            Json(request.Body).Dispose();
            return new HttpResponse(200);
        }

        var comp = request.Query.GetValueOrDefault("comp", "");
        if (request.Path == "/" && comp == "versions")
        {
            Method(request, "GET");
            return Xml(Versions());
        }

        if (request.Path != "/machine" && !request.Path.StartsWith("/machine/", StringComparison.Ordinal))
        {
            throw new PlatformRefusalException(404, $"The wire server has nothing at {request.Path}.");
        }

        if (request.Header("x-ms-version") is not (ProtocolVersion or "2010-12-15"))
        {
            throw new PlatformRefusalException(
                400, $"The header x-ms-version is '{request.Header("x-ms-version")}'; it must be {ProtocolVersion}.");
        }

        switch (comp)
        {
            case "goalstate":
                Method(request, "GET");
                return Xml(GoalState());
            case "config":
                Method(request, "GET");
                OwnContainer(request);
                return Xml(request.Query.GetValueOrDefault("type", "") switch
                {
                    "hostingEnvironmentConfig" => HostingEnvironment(),
                    "sharedConfig" => SharedConfig(),
                    "extensionsConfig" => ExtensionsConfig(),
                    "fullConfig" => HostingEnvironment(),
                    var type => throw new PlatformRefusalException(400, $"There is no configuration of type '{type}'."),
                });
            case "certificates":
                Method(request, "GET");
                OwnContainer(request);
                return Xml(Certificates(request));
            case "health":
                Method(request, "POST");
                return Health(request);
            case "roleProperties":
                Method(request, "POST");
                return RoleProperties(request);
            case "telemetrydata":
                Method(request, "POST");
                return Telemetry(request);
            default:
                throw new PlatformRefusalException(400, $"The machine's resource has no component '{comp}'.");
        }
    }

    /// <summary>A manifest or a package that stands in a storage account on Azure.</summary>
    public HttpResponse Artifact(string path) =>
        // No newer agent is offered: what is tested is the image's own.
        path == AgentManifestPath ? Xml(new XElement("PluginVersionManifest", new XElement("Plugins"), new XElement("InternalPlugins")))
            : Goal.Artifacts.TryGetValue(path, out var artifact) ? artifact
            : throw new PlatformRefusalException(404, $"There is no artifact {path}.");

    /// <summary>Takes the agent's status, which on Azure is a blob of a storage account.</summary>
    /// <param name="url">The blob's address.</param>
    /// <param name="header">The storage request's headers.</param>
    /// <param name="body">The JSON document.</param>
    public HttpResponse PutStatusBlob(string url, Func<string, string?> header, ReadOnlyMemory<byte> body)
    {
        if (url != StatusUrl)
        {
            throw new PlatformRefusalException(403, "The status blob's address or its signature is not the goal state's.");
        }

        if (header("x-ms-blob-type") != "BlockBlob" || string.IsNullOrEmpty(header("x-ms-version")))
        {
            throw new PlatformRefusalException(
                400, "The goal state names a BlockBlob: x-ms-blob-type must say so, and x-ms-version be there.");
        }

        using var document = Json(body);
        try
        {
            var aggregate = document.RootElement.GetProperty("aggregateStatus");
            var agent = aggregate.GetProperty("guestAgentStatus");
            _ = aggregate.GetProperty("handlerAggregateStatus").EnumerateArray();
            var version = agent.GetProperty("version").GetString() ?? "";
            _platform.RecordStatus(
                new AgentStatus(DateTimeOffset.UtcNow, version, agent.GetProperty("status").GetString() ?? ""), aggregate);
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new PlatformRefusalException(400, $"The status blob has not the shape of one: {e.Message}");
        }

        return new HttpResponse(201) { Headers = [("x-ms-version", "2014-02-14")] };
    }

    public static JsonDocument Json(ReadOnlyMemory<byte> body)
    {
        try
        {
            return JsonDocument.Parse(body);
        }
        catch (JsonException e)
        {
            throw new PlatformRefusalException(400, $"The body is not JSON: {e.Message}");
        }
    }

    private HttpResponse Health(HttpRequest request)
    {
        var root = XmlBody(request, "Health");
        var container = root.Element("Container");
        if (root.Element("GoalStateIncarnation")?.Value != Goal.Incarnation.ToString(CultureInfo.InvariantCulture)
            || container?.Element("ContainerId")?.Value != Goal.ContainerId)
        {
            throw new PlatformRefusalException(410, "The report is for another incarnation or container than the goal state's.");
        }

        var role = container.Element("RoleInstanceList")?.Element("Role");
        var health = role?.Element("Health");
        if (role?.Element("InstanceId")?.Value != Goal.InstanceId || health?.Element("State")?.Value is not ("Ready" or "NotReady"))
        {
            throw new PlatformRefusalException(
                400, "The report names no role instance of the goal state, or its State is neither Ready nor NotReady.");
        }

        var details = health.Element("Details");
        _platform.Record(new HealthReport(DateTimeOffset.UtcNow, health.Element("State")!.Value, details?.Element("SubStatus")?.Value,
            details?.Element("Description")?.Value, request.Header("user-agent")));
        return new HttpResponse(200);
    }

    private HttpResponse RoleProperties(HttpRequest request)
    {
        var container = XmlBody(request, "RoleProperties").Element("Container");
        var instance = container?.Element("RoleInstances")?.Element("RoleInstance");
        if (container?.Element("ContainerId")?.Value != Goal.ContainerId || instance?.Element("Id")?.Value != Goal.InstanceId)
        {
            throw new PlatformRefusalException(400, "The properties name another container or role instance than the goal state's.");
        }

        foreach (var property in instance.Elements("Properties").Elements("Property"))
        {
            if (property.Attribute("name")?.Value == "CertificateThumbprint")
            {
                _platform.RecordHostKey(property.Attribute("value")?.Value ?? "");
            }
        }

        return new HttpResponse(200);
    }

    private HttpResponse Telemetry(HttpRequest request)
    {
        var root = XmlBody(request, "TelemetryData");
        if (root.Attribute("version")?.Value != "1.0")
        {
            throw new PlatformRefusalException(400, "TelemetryData has not the version 1.0.");
        }

        foreach (var data in root.Elements("Provider").Elements("Event"))
        {
            XElement parameters;
            try
            {
                // The parameters stand as text (CDATA) in the event; the prefix mt: occurs only in attribute values.
                parameters = XElement.Parse($"<Event>{data.Value}</Event>");
            }
            catch (XmlException e)
            {
                throw new PlatformRefusalException(400, $"An event's parameters are not XML: {e.Message}");
            }

            string Value(string name) =>
                parameters.Elements("Param").FirstOrDefault(p => p.Attribute("Name")?.Value == name)?.Attribute("Value")?.Value ?? "";
            _platform.Record(new TelemetryEvent(DateTimeOffset.UtcNow, Value("Name"), Value("Operation"),
                !string.Equals(Value("OperationSuccess"), "false", StringComparison.OrdinalIgnoreCase), Value("Message")));
        }

        return new HttpResponse(200);
    }

    private static XElement XmlBody(HttpRequest request, string rootName)
    {
        // The agent writes "text/xml;charset=utf-8", cloud-init the same with a space.
        var type = (request.Header("content-type") ?? "").Replace(" ", "", StringComparison.Ordinal);
        if (!type.Equals("text/xml;charset=utf-8", StringComparison.OrdinalIgnoreCase))
        {
            throw new PlatformRefusalException(415, $"The body's type is '{type}'; it must be text/xml with charset utf-8.");
        }

        // The agent's telemetry, the longest of these, is sent in pieces of 64 KiB.
        const int MostBytes = 1 << 20;
        if (request.Body.Length > MostBytes)
        {
            throw new PlatformRefusalException(413, $"The document is longer than {MostBytes} bytes.");
        }

        try
        {
            using var stream = new MemoryStream(request.Body.ToArray(), writable: false);
            using var reader = XmlReader.Create(stream, new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit });
            var root = XElement.Load(reader);
            return root.Name == rootName ? root
                : throw new PlatformRefusalException(400, $"The document's root is {root.Name}; it must be {rootName}.");
        }
        catch (XmlException e)
        {
            throw new PlatformRefusalException(400, $"The body is not well-formed XML: {e.Message}");
        }
    }

    private void OwnContainer(HttpRequest request)
    {
        if (request.Path != $"/machine/{Goal.ContainerId}/{Uri.EscapeDataString(Goal.InstanceId)}")
        {
            throw new PlatformRefusalException(410, "The address is for another container than the goal state's.");
        }
    }

    private static void Method(HttpRequest request, string method)
    {
        if (request.Method != method)
        {
            throw new PlatformRefusalException(405, $"{request.Path} takes {method}, not {request.Method}.");
        }
    }

    private static XElement Versions() => new("Versions",
        new XElement("Preferred", new XElement("Version", ProtocolVersion)),
        new XElement("Supported", new XElement("Version", ProtocolVersion), new XElement("Version", "2010-12-15")));

    private XElement GoalState()
    {
        var incarnation = Goal.Incarnation;
        var machine = $"{BaseUrl}/machine/{Goal.ContainerId}/{Uri.EscapeDataString(Goal.InstanceId)}";
        string Config(string type) => $"{machine}?comp=config&type={type}&incarnation={incarnation}";
        return new XElement("GoalState",
            new XAttribute(XNamespace.Xmlns + "xsi", s_xsi),
            new XAttribute(s_xsi + "noNamespaceSchemaLocation", "goalstate10.xsd"),
            new XElement("Version", ProtocolVersion),
            new XElement("Incarnation", incarnation),
            new XElement("Machine",
                new XElement("ExpectedState", "Started"),
                new XElement("StopRolesDeadlineHint", 300000),
                new XElement("LBProbePorts", new XElement("Port", 16001)),
                new XElement("ExpectHealthReport", "FALSE")),
            new XElement("Container",
                new XElement("ContainerId", Goal.ContainerId),
                new XElement("RoleInstanceList",
                    new XElement("RoleInstance",
                        new XElement("InstanceId", Goal.InstanceId),
                        new XElement("State", "Started"),
                        new XElement("Configuration",
                            new XElement("HostingEnvironmentConfig", Config("hostingEnvironmentConfig")),
                            new XElement("SharedConfig", Config("sharedConfig")),
                            new XElement("ExtensionsConfig", Config("extensionsConfig")),
                            new XElement("FullConfig", Config("fullConfig")),
                            new XElement("Certificates", $"{machine}?comp=certificates&incarnation={incarnation}"),
                            new XElement(
                                "ConfigName", $"{Goal.DeploymentId}.{incarnation}.{Goal.DeploymentId}.1.{Goal.RoleName}.1.xml"))))));
    }

    private XElement HostingEnvironment() => new("HostingEnvironmentConfig",
        new XAttribute("version", "1.0.0.0"),
        new XAttribute("goalStateIncarnation", Goal.Incarnation),
        new XElement("StoredCertificates",
            new XElement("StoredCertificate",
                new XAttribute("name", "TenantEncryptionCert"),
                new XAttribute("certificateId", "sha1:" + _platform.Certificate.Thumbprint),
                new XAttribute("storeName", "My"),
                new XAttribute("configurationLevel", "System"))),
        Deployment(),
        Instance(),
        new XElement("Role", new XAttribute("guid", $"{{{_platform.VmId}}}"), new XAttribute("name", Goal.RoleName),
            new XAttribute("hostingEnvironmentVersion", "1"), new XAttribute("software", ""),
            new XAttribute("softwareType", "ApplicationPackage"),
            new XAttribute("entryPoint", ""), new XAttribute("parameters", ""), new XAttribute("settleTimeSeconds", "0")),
        new XElement("HostingEnvironmentSettings", new XAttribute("name", "full"), new XAttribute("runtime", ""),
            new XElement("CAS", new XAttribute("mode", "full")),
            new XElement("PrivilegeLevel", new XAttribute("mode", "max")),
            new XElement("AdditionalProperties", new XElement("CgiHandlers"))),
        new XElement("ApplicationSettings"),
        new XElement("ResourceReferences"));

    private XElement SharedConfig() => new("SharedConfig",
        new XAttribute("version", "1.0.0.0"),
        new XAttribute("goalStateIncarnation", Goal.Incarnation),
        Deployment(),
        Instance(),
        new XElement(
            "Role", new XAttribute("guid", $"{{{_platform.VmId}}}"), new XAttribute("name", Goal.RoleName),
            new XAttribute("settleTimeSeconds", "0")),
        new XElement(
            "LoadBalancerSettings", new XAttribute("timeoutSeconds", "0"), new XAttribute("waitLoadBalancerProbeCount", "8"),
            new XElement("Probes")),
        new XElement("OutputEndpoints"),
        new XElement("Instances",
            new XElement("Instance", new XAttribute("id", Goal.RoleName), new XAttribute("address", VirtualNetwork.GuestAddress),
                new XElement(
                    "FaultDomains", new XAttribute("randomId", "0"), new XAttribute("updateId", "0"), new XAttribute("updateCount", "0")),
                new XElement("InputEndpoints"))));

    private XElement Deployment() => new("Deployment",
        new XAttribute("name", Goal.DeploymentId),
        new XAttribute("guid", $"{{{Goal.DeploymentId}}}"),
        new XAttribute("incarnation", "0"),
        new XAttribute("isNonCancellableTopologyChangeEnabled", "false"),
        new XElement(
            "Service", new XAttribute("name", Goal.DeploymentId), new XAttribute("guid", "{00000000-0000-0000-0000-000000000000}")),
        new XElement(
            "ServiceInstance", new XAttribute("name", Goal.DeploymentId + ".0"), new XAttribute("guid", $"{{{Goal.DeploymentId}}}")));

    private XElement Instance() => new("Incarnation",
        new XAttribute("number", "1"), new XAttribute("instance", Goal.RoleName), new XAttribute("guid", $"{{{_platform.VmId}}}"));

    private XElement ExtensionsConfig() => new("Extensions",
        new XAttribute("version", "1.0.0.0"),
        new XAttribute("goalStateIncarnation", Goal.Incarnation),
        new XElement("GuestAgentExtension",
            new XElement("GAFamilies", s_agentFamilies.Select(family => new XElement("GAFamily",
                new XElement("Name", family),
                new XElement("Uris", new XElement("Uri", BaseUrl + AgentManifestPath)))))),
        new XElement("StatusUploadBlob", new XAttribute("statusBlobType", "BlockBlob"), StatusUrl),
        Goal.Extensions.Select(element => new XElement(element)),
        // Without it agents since 2.8 cannot tell an old goal state from a new one.
        new XElement("InVMGoalStateMetaData",
            new XAttribute("inSvdSeqNo", Goal.Incarnation),
            new XAttribute("createdOnTicks", Goal.Time.UtcTicks),
            new XAttribute("activityId", Goal.DeploymentId),
            new XAttribute("correlationId", Goal.DeploymentId)));

    private XElement Certificates(HttpRequest request)
    {
        byte[] transport;
        try
        {
            transport = Convert.FromBase64String(request.Header("x-ms-guest-agent-public-x509-cert")
                ?? throw new PlatformRefusalException(400, "The header x-ms-guest-agent-public-x509-cert is missing."));
        }
        catch (FormatException)
        {
            throw new PlatformRefusalException(400, "The header x-ms-guest-agent-public-x509-cert is not base64.");
        }

        try
        {
            var envelope = _platform.Certificate.EncryptFor(transport, request.Header("x-ms-cipher-name"));
            return new XElement("CertificateFile",
                new XAttribute(XNamespace.Xmlns + "xsi", s_xsi),
                new XAttribute(s_xsi + "noNamespaceSchemaLocation", "certificates10.xsd"),
                new XElement("Version", ProtocolVersion),
                new XElement("Incarnation", Goal.Incarnation),
                new XElement("Format", "Pkcs7BlobWithPfxContents"),
                // openssl's MIME reader, which the agents use, takes base64 in short lines only.
                new XElement("Data", Convert.ToBase64String(envelope, Base64FormattingOptions.InsertLineBreaks).ReplaceLineEndings("\n")));
        }
        catch (ArchAzureException e)
        {
            throw new PlatformRefusalException(400, e.Message);
        }
    }

    private static HttpResponse Xml(XElement root)
    {
        using var bytes = new MemoryStream();
        using (var writer = XmlWriter.Create(
            bytes, new XmlWriterSettings { Encoding = new UTF8Encoding(false), Indent = true, NewLineChars = "\n" }))
        {
            new XDocument(root).Save(writer);
        }

        return new HttpResponse(200, XmlType, bytes.ToArray()) { Headers = [("x-ms-version", ProtocolVersion)] };
    }
}
