using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ArchAzure.SimulatedAzure;

/// <summary>The instance metadata service, 169.254.169.254:80, as far as agents and cloud-init ask for it.</summary>
/// <remarks>Source: Azure's documentation "Azure Instance Metadata Service", and cloud-init <c>sources/azure/imds.py</c>.</remarks>
internal sealed class InstanceMetadataService
{
    private static readonly string[] s_versions =
    [
        "2017-04-02", "2017-08-01", "2017-12-01", "2018-02-01", "2018-04-02", "2018-10-01", "2019-02-01", "2019-03-11",
        "2019-04-30", "2019-06-01", "2019-06-04", "2019-08-01", "2019-08-15", "2019-11-01", "2020-06-01", "2020-07-15",
        "2020-09-01", "2020-10-01", "2020-12-01", "2021-01-01", "2021-02-01", "2021-03-01", "2021-05-01", "2021-08-01",
        "2021-10-01", "2021-11-01", "2021-11-15", "2021-12-13", "2023-07-01", "2023-11-15",
    ];

    // The API version from which on a field is given; what is not here was there from the first. WALinuxAgent asks with
    // 2018-02-01 and warns of every field it does not know.
    private static readonly Dictionary<string, string> s_computeFieldsSince = new(StringComparer.Ordinal)
    {
        ["plan"] = "2018-04-02",
        ["publicKeys"] = "2018-04-02",
        ["azEnvironment"] = "2018-10-01",
        ["provider"] = "2018-10-01",
        ["customData"] = "2019-02-01",
        ["resourceId"] = "2019-03-11",
        ["storageProfile"] = "2019-06-01",
        ["tagsList"] = "2019-06-04",
        ["isHostCompatibilityLayerVm"] = "2020-06-01",
        ["securityProfile"] = "2020-06-01",
        ["osProfile"] = "2020-07-15",
        ["licenseType"] = "2020-09-01",
        ["priority"] = "2020-12-01",
        ["userData"] = "2021-01-01",
    };

    private readonly SimulatedPlatform _platform;

    public InstanceMetadataService(SimulatedPlatform platform)
    {
        _platform = platform;
        Http = platform.CreateServer("InstanceMetadata", Handle);
    }

    public HttpServer Http { get; }

    private HttpResponse Handle(HttpRequest request)
    {
        if (request.Path != "/metadata" && !request.Path.StartsWith("/metadata/", StringComparison.Ordinal))
        {
            throw new PlatformRefusalException(404, $"The metadata service has nothing at {request.Path}.");
        }

        if (request.Method != "GET")
        {
            throw new PlatformRefusalException(405, "The metadata service takes GET only.");
        }

        if (!string.Equals(request.Header("metadata"), "true", StringComparison.OrdinalIgnoreCase))
        {
            throw new PlatformRefusalException(400, "Bad request. Required metadata header not specified.");
        }

        if (request.Header("x-forwarded-for") is not null)
        {
            throw new PlatformRefusalException(400, "Bad request. A request that came through a proxy is not answered.");
        }

        if (request.Path == "/metadata/versions")
        {
            return Json(new JsonObject { ["apiVersions"] = new JsonArray([.. s_versions.Select(v => JsonValue.Create(v))]) });
        }

        var version = request.Query.GetValueOrDefault("api-version", "");
        if (!s_versions.Contains(version, StringComparer.Ordinal))
        {
            throw new PlatformRefusalException(400, version.Length == 0
                ? "Bad request. api-version is missing. Newest: " + s_versions[^1]
                : $"Bad request. api-version '{version}' is not supported. Newest: " + s_versions[^1]);
        }

        var parts = request.Path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        if (parts.Length < 2 || parts[1] != "instance")
        {
            throw new PlatformRefusalException(404, $"The metadata service of the simulated Azure has nothing at {request.Path}.");
        }

        var instance = Instance(string.Equals(request.Query.GetValueOrDefault("extended"), "true", StringComparison.OrdinalIgnoreCase));
        foreach (var (field, since) in s_computeFieldsSince)
        {
            if (string.CompareOrdinal(version, since) < 0)
            {
                instance["compute"]!.AsObject().Remove(field);
            }
        }

        JsonNode? node = instance;
        foreach (var part in parts.Skip(2))
        {
            node = node switch
            {
                JsonObject o when o.TryGetPropertyValue(part, out var value) => value,
                JsonArray a when int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var index) && index < a.Count =>
                    a[index],
                _ => throw new PlatformRefusalException(404, $"There is no metadata at {request.Path}."),
            };
        }

        if (node is JsonObject or JsonArray)
        {
            return Json(node);
        }

        return request.Query.GetValueOrDefault("format") == "text"
            ? HttpResponse.Text(200, "text/plain; charset=utf-8", node?.ToString() ?? "")
            : throw new PlatformRefusalException(400, "Bad request. A single value is given with format=text only.");
    }

    private JsonObject Instance(bool extended)
    {
        var (environment, deployment) = (_platform.Goal.Environment, _platform.Goal.DeploymentId);
        var instance = new JsonObject
        {
            ["compute"] = new JsonObject
            {
                ["azEnvironment"] = "AzurePublicCloud",
                ["customData"] = "",
                ["isHostCompatibilityLayerVm"] = "false",
                ["licenseType"] = "",
                ["location"] = "westeurope",
                ["name"] = environment.HostName,
                ["offer"] = "",
                ["osProfile"] = new JsonObject
                {
                    ["adminUsername"] = environment.UserName,
                    ["computerName"] = environment.HostName,
                    ["disablePasswordAuthentication"] = environment.DisableSshPasswordAuthentication ? "true" : "false",
                },
                ["osType"] = "Linux",
                ["placementGroupId"] = "",
                ["plan"] = new JsonObject { ["name"] = "", ["product"] = "", ["publisher"] = "" },
                ["platformFaultDomain"] = "0",
                ["platformUpdateDomain"] = "0",
                ["priority"] = "",
                ["provider"] = "Microsoft.Compute",
                ["publicKeys"] = new JsonArray([.. environment.SshPublicKeys.Select(key => new JsonObject
                {
                    ["keyData"] = key,
                    ["path"] = $"/home/{environment.UserName}/.ssh/authorized_keys",
                })]),
                ["publisher"] = "",
                ["resourceGroupName"] = "simulated",
                ["resourceId"] =
                    $"/subscriptions/{deployment}/resourceGroups/simulated"
                    + $"/providers/Microsoft.Compute/virtualMachines/{environment.HostName}",
                ["securityProfile"] = new JsonObject { ["secureBootEnabled"] = "false", ["virtualTpmEnabled"] = "false" },
                ["sku"] = "",
                ["storageProfile"] = new JsonObject
                {
                    ["dataDisks"] = new JsonArray(),
                    ["imageReference"] = new JsonObject { ["id"] = "", ["offer"] = "", ["publisher"] = "", ["sku"] = "", ["version"] = "" },
                    ["osDisk"] = new JsonObject { ["caching"] = "ReadWrite", ["createOption"] = "FromImage",
                        ["name"] = environment.HostName + "_OsDisk", ["osType"] = "Linux" },
                    ["resourceDisk"] = new JsonObject { ["size"] = "0" },
                },
                ["subscriptionId"] = deployment,
                ["tags"] = "",
                ["tagsList"] = new JsonArray(),
                ["userData"] = "",
                ["version"] = "",
                ["vmId"] = _platform.VmId.ToString(),
                ["vmScaleSetName"] = "",
                ["vmSize"] = "Standard_B2s",
                ["zone"] = "",
            },
            ["network"] = new JsonObject
            {
                ["interface"] = new JsonArray(new JsonObject
                {
                    ["ipv4"] = new JsonObject
                    {
                        ["ipAddress"] = new JsonArray(
                            new JsonObject { ["privateIpAddress"] = VirtualNetwork.GuestAddress.ToString(), ["publicIpAddress"] = "" }),
                        ["subnet"] = new JsonArray(new JsonObject { ["address"] = VirtualNetwork.SubnetAddress, ["prefix"] = "24" }),
                    },
                    ["ipv6"] = new JsonObject { ["ipAddress"] = new JsonArray() },
                    ["macAddress"] = Convert.ToHexString(VirtualNetwork.GuestMac),
                }),
            },
        };
        if (extended)
        {
            instance["extended"] = new JsonObject
            {
                ["compute"] = new JsonObject { ["hasCustomData"] = false, ["ppsType"] = "None" },
            };
        }

        return instance;
    }

    private static HttpResponse Json(JsonNode node) =>
        HttpResponse.Text(200, "application/json; charset=utf-8", node.ToJsonString());
}
