using System.Text.Json;

namespace ArchAzure.SimulatedAzure;

/// <summary>
/// The host's guest agent plugin, 168.63.129.16:32526: a proxy to storage for machines without a way out. This one
/// answers like an older plugin, without vmSettings (Fast Track), so that agents take the goal state from the wire server.
/// </summary>
/// <remarks>Source: WALinuxAgent <c>common/protocol/hostplugin.py</c>.</remarks>
internal sealed class HostGaPlugin
{
    public const int Port = 32526;

    private const string ApiVersion = "2015-09-01";
    private readonly SimulatedPlatform _platform;

    public HostGaPlugin(SimulatedPlatform platform)
    {
        _platform = platform;
        Http = platform.CreateServer("HostGAPlugin", Handle);
    }

    public HttpServer Http { get; }

    private HttpResponse Handle(HttpRequest request)
    {
        switch (request.Path, request.Method)
        {
            case ("/health", "GET"):
                return new HttpResponse(200);
            case ("/versions", "GET"):
                return HttpResponse.Text(200, "application/json", $"[\"{ApiVersion}\"]");
            case ("/vmSettings", "GET"):
                // What a plugin before 1.0.8.115 says; it is an answer, not a fault of the agent's.
                return new HttpResponse(404);
            case ("/extensionArtifact", "GET"):
                Version(request);
                Container(request);
                var location = request.Header("x-ms-artifact-location") ?? "";
                return location.StartsWith(WireServer.BaseUrl + "/", StringComparison.Ordinal)
                    && Uri.TryCreate(location, UriKind.Absolute, out var uri)
                    ? _platform.WireServer.Artifact(uri.AbsolutePath)
                    : throw new PlatformRefusalException(
                        404, "x-ms-artifact-location names nothing of this goal state; other places are not asked.");
            case ("/status", "PUT"):
                Version(request);
                Container(request);
                return PutStatus(request);
            case ("/vmAgentLog", "PUT"):
                Version(request);
                return new HttpResponse(200);
            case ("/health" or "/versions" or "/vmSettings" or "/extensionArtifact" or "/status" or "/vmAgentLog", _):
                throw new PlatformRefusalException(405, $"{request.Path} does not take {request.Method}.");
            default:
                throw new PlatformRefusalException(404, $"The host plugin has nothing at {request.Path}.");
        }
    }

    private HttpResponse PutStatus(HttpRequest request)
    {
        using var document = WireServer.Json(request.Body);
        try
        {
            var root = document.RootElement;
            var headers = root.GetProperty("headers").EnumerateArray().ToDictionary(
                header => header.GetProperty("headerName").GetString() ?? "",
                header => header.GetProperty("headerValue").ToString(),
                StringComparer.OrdinalIgnoreCase);
            _platform.WireServer.PutStatusBlob(root.GetProperty("requestUri").GetString() ?? "", name => headers.GetValueOrDefault(name),
                root.GetProperty("content").GetBytesFromBase64());
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException or ArgumentException)
        {
            throw new PlatformRefusalException(400, $"The body is not a request to storage (requestUri, headers, content): {e.Message}");
        }

        return new HttpResponse(200);
    }

    private static void Version(HttpRequest request)
    {
        if (request.Header("x-ms-version") != ApiVersion)
        {
            throw new PlatformRefusalException(
                400, $"The header x-ms-version is '{request.Header("x-ms-version")}'; it must be {ApiVersion}.");
        }
    }

    private void Container(HttpRequest request)
    {
        if (request.Header("x-ms-containerid") != _platform.Goal.ContainerId
            || string.IsNullOrEmpty(request.Header("x-ms-host-config-name")))
        {
            throw new PlatformRefusalException(410, "x-ms-containerid or x-ms-host-config-name are not the goal state's.");
        }
    }
}
