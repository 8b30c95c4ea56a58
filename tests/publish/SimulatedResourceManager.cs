using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ArchAzure.Publishing;
using ArchAzure.Vhd;
using Azure.Core;
using Azure.Core.Pipeline;
using Azure.ResourceManager;
using Azure.Storage.Blobs.Models;
using Azure.Storage.Sas;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Logging;

namespace ArchAzure.PublishTests;

/// <summary>
/// The part of Azure Resource Manager that the SDK asks: subscriptions, managed disks, galleries with their images and versions, and long
/// operations. A disk's data goes to Azurite. It refuses what Azure refuses.
/// </summary>
/// <remarks>
/// Shapes of requests and answers: the examples of Microsoft.Compute in Azure/azure-rest-api-specs (DiskRP 2023-04-02, GalleryRP
/// 2022-03-03). States of a disk: https://learn.microsoft.com/rest/api/compute/disks/get#diskstate.
/// </remarks>
internal sealed partial class SimulatedResourceManager : IAsyncDisposable
{
    public const string Subscription = "11111111-2222-3333-4444-555555555555";
    public const string Group = "images";

    /// <summary>A token that must be seen nowhere.</summary>
    public const string Token = "CANARY-TOKEN-eyJ0eXAiOiJKV1Qi";

    private static readonly string[] s_regions = ["westeurope", "northeurope", "eastus"];

    private readonly Azurite _azurite;
    private readonly WebApplication _server;
    private readonly X509Certificate2 _certificate;
    private readonly ConcurrentDictionary<string, Operation> _operations = new();
    private int _numbers;

    private SimulatedResourceManager(Azurite azurite, WebApplication server, X509Certificate2 certificate) =>
        (_azurite, _server, _certificate) = (azurite, server, certificate);

    /// <summary>All there is, by id in lower case.</summary>
    public ConcurrentDictionary<string, JsonObject> Resources { get; } = new();

    /// <summary>The blob of each disk, by the disk's id in lower case.</summary>
    public ConcurrentDictionary<string, Uri> Blobs { get; } = new();

    /// <summary>All requests: method, path after the resource group, and the answer's status.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    /// <summary>The rights that the requests took, as actions of a role.</summary>
    public IEnumerable<string> Actions =>
        Requests.Select(request => request.Split(' ')).Select(ActionOf).Distinct().Order(StringComparer.Ordinal);

    /// <summary>Requests that would change something.</summary>
    public IEnumerable<string> Changes => Requests.Where(request => !request.StartsWith("GET ", StringComparison.Ordinal));

    /// <summary>What goes wrong.</summary>
    public ConcurrentQueue<ArmFault> Faults { get; } = new();

    /// <summary>The signatures that were handed out.</summary>
    public ConcurrentQueue<string> Signatures { get; } = new();

    /// <summary>The subscriptions of the identity: id and name.</summary>
    public List<(string Id, string Name)> Subscriptions { get; } = [(Subscription, "Images")];

    /// <summary>How often a long operation is found in progress before it has ended.</summary>
    public int LooksNeeded { get; set; }

    /// <summary>How far a replication comes between two looks, in percent.</summary>
    public int ReplicationStep { get; set; } = 50;

    /// <summary>A region where replication fails.</summary>
    public string? BrokenRegion { get; set; }

    public AzureAccess Access => AccessTo(Address, CertificateHash);

    /// <summary>Where it listens.</summary>
    public Uri Address => new(_server.Urls.Single());

    /// <summary>The SHA-1 of its certificate, in hexadecimal digits.</summary>
    public string CertificateHash => _certificate.GetCertHashString();

    /// <summary>Access to a simulated Resource Manager, maybe of another process.</summary>
    public static AzureAccess AccessTo(Uri address, string certificateHash) => new()
    {
        Environment = new ArmEnvironment(address, "https://management.example/"),
        Credential = new FixedToken(),
        Subscription = Subscription,
        PollInterval = TimeSpan.FromMilliseconds(50),
        Transport = new HttpClientTransport(new HttpClient(new SocketsHttpHandler
        {
            UseProxy = false,
            SslOptions = new SslClientAuthenticationOptions
            {
                RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate?.GetCertHashString() == certificateHash,
            },
        })),
    };

    public static async Task<SimulatedResourceManager> StartAsync(Azurite azurite)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var certificate = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(options => options.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps(certificate)));
        var manager = new SimulatedResourceManager(azurite, builder.Build(), certificate);
        manager._server.Run(manager.AnswerAsync);
        await manager._server.StartAsync();
        return manager;
    }

    public async ValueTask DisposeAsync()
    {
        await _server.StopAsync(new CancellationToken(canceled: true));
        await _server.DisposeAsync();
        _certificate.Dispose();
    }

    /// <summary>The id of something in the group, as 'disks/name'.</summary>
    public static string Id(string name) =>
        $"/subscriptions/{Subscription}/resourceGroups/{Group}/providers/Microsoft.Compute/{name}";

    /// <summary>Something in the group, or null.</summary>
    public JsonObject? Find(string name) => Resources.GetValueOrDefault(Key(Id(name)));

    /// <summary>A property of something in the group.</summary>
    public string? Property(string name, string property) => Find(name)?["properties"]?[property]?.ToString();

    /// <summary>Requires that no signature and no token is in a text.</summary>
    public void RequireNoSecret(string told)
    {
        foreach (var secret in Signatures.SelectMany(item => new[] { item, Uri.EscapeDataString(item) }).Append(Token))
        {
            Assert.DoesNotContain(secret, told, StringComparison.Ordinal);
        }
    }

    /// <summary>disks/NAME, images/NAME and so on by their types; what is left over is an action.</summary>
    private static string ActionOf(string[] request)
    {
        var parts = request[1].Replace("providers/Microsoft.Compute/", "", StringComparison.Ordinal).Split('/');
        var types = string.Join('/', parts.Where((part, index) => index % 2 == 0));
        return $"Microsoft.Compute/{types}/" + request[0] switch
        {
            "GET" => "read", "DELETE" => "delete", "POST" => "action", _ => "write",
        };
    }

    private static string Key(string id) => id.ToLowerInvariant();

    private async Task AnswerAsync(HttpContext context)
    {
        var (method, path) = (context.Request.Method, context.Request.Path.Value!);
        var answer = await AnswerAsync(context, method, path);
        var shown = ShownPath().Replace(path, "");
        Requests.Enqueue($"{method} {shown} {answer.Status}");
        context.Response.StatusCode = answer.Status;
        if (answer.RetryAfter is { } seconds)
        {
            context.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
        }

        if (answer.Operation is { } operation)
        {
            operation.Kind = path.Contains("/galleries/", StringComparison.OrdinalIgnoreCase) ? "capsOperations" : "diskOperations";
            var id = $"{Interlocked.Increment(ref _numbers)}";
            _operations[id] = operation;
            var address =
                $"{_server.Urls.Single()}/subscriptions/{Subscription}/providers/Microsoft.Compute/locations/westeurope/"
                + $"{operation.Kind}/{id}";
            context.Response.Headers["Azure-AsyncOperation"] = $"{address}?api-version=2023-04-02";
            context.Response.Headers.Location = $"{address}?monitor=true&api-version=2023-04-02";
        }

        if (answer.Body is { } body && answer.Status != 204)
        {
            context.Response.ContentType = "application/json";
            await context.Response.WriteAsync(body.ToJsonString());
        }
    }

    private async Task<Answer> AnswerAsync(HttpContext context, string method, string path)
    {
        if (context.Request.Headers.Authorization != $"Bearer {Token}")
        {
            return Refused(401, "InvalidAuthenticationToken", "The access token is invalid.");
        }

        if (Faults.FirstOrDefault(fault => fault.Strikes(method, path, isLate: false)) is { } fault)
        {
            return Refused(fault.Status, fault.Code, fault.Message) with { RetryAfter = fault.RetryAfter };
        }

        var body = context.Request.ContentLength > 0 ? (JsonObject)(await JsonNode.ParseAsync(context.Request.Body))! : null;
        if (method == "GET" && path.TrimEnd('/') == "/subscriptions")
        {
            return new Answer(200, new JsonObject
            {
                ["value"] = new JsonArray([.. Subscriptions.Select(item => (JsonNode)new JsonObject
                {
                    ["id"] = $"/subscriptions/{item.Id}", ["subscriptionId"] = item.Id, ["displayName"] = item.Name, ["state"] = "Enabled",
                })]),
            });
        }

        var parts = path.Trim('/').Split('/');
        if (parts is ["subscriptions", _, "providers", "Microsoft.Compute", "locations", _, _, var id])
        {
            return Poll(_operations[id], context.Request.Query.ContainsKey("monitor"));
        }

        if (parts is not ["subscriptions", var subscription, "resourceGroups", var group, "providers", "Microsoft.Compute", .. var rest])
        {
            return Refused(404, "NotFound", $"Nothing is simulated at '{path}'.");
        }

        if (subscription != Subscription)
        {
            return Refused(404, "SubscriptionNotFound", $"The subscription '{subscription}' could not be found.");
        }

        if (!string.Equals(group, Group, StringComparison.OrdinalIgnoreCase))
        {
            return Refused(404, "ResourceGroupNotFound", $"Resource group '{group}' could not be found.");
        }

        var late = Faults.FirstOrDefault(fault => fault.Strikes(method, path, isLate: true));
        var answer = (method, rest) switch
        {
            ("PUT", ["disks", var name]) => await PutDiskAsync(path, name, body!),
            ("POST", ["disks", _, "beginGetAccess"]) => BeginGetAccess(Parent(path), body!),
            ("POST", ["disks", _, "endGetAccess"]) => await EndGetAccessAsync(Parent(path)),
            ("PUT", ["galleries", var name]) => PutGallery(path, name, body!),
            ("PUT", ["galleries", _, "images", var name]) => PutDefinition(path, name, body!),
            ("PUT", ["galleries", _, "images", _, "versions", var name]) => PutVersion(path, name, body!),
            ("GET", _) => Get(path, context.Request.Query["$expand"] == "ReplicationStatus"),
            ("PATCH", ["galleries", _, "images", _, "versions", _]) => PatchVersion(path, body!),
            ("PATCH", _) => Patch(path, body!),
            ("DELETE", _) => Delete(path),
            _ => Refused(405, "MethodNotAllowed", $"{method} {path}"),
        };
        if (late is not null && answer.Operation is { } operation)
        {
            answer = answer with { Operation = operation with { Error = (late.Code, late.Message) } };
            if (method == "PUT" && Resources.TryRemove(Key(path), out var there) && path.Contains("/versions/", StringComparison.Ordinal))
            {
                // A version that has failed stays, other things do not.
                there["properties"]!["provisioningState"] = "Failed";
                Resources[Key(path)] = there;
            }
        }

        return answer;
    }

    private static string Parent(string path) => path[..path.LastIndexOf('/')];

    private static Answer Refused(int status, string code, string message) =>
        new(status, new JsonObject { ["error"] = new JsonObject { ["code"] = code, ["message"] = message } });

    private static Answer NotFound(string path) =>
        Refused(404, "ResourceNotFound", $"The Resource '{ShownPath().Replace(path, "")}' under resource group '{Group}' was not found.");

    /// <summary>First it is in progress; then it has ended, and gives its result to who asks for it.</summary>
    private Answer Poll(Operation operation, bool isForResult)
    {
        if (isForResult)
        {
            return operation.Result is null ? new Answer(204) : new Answer(200, (JsonObject)operation.Result.DeepClone());
        }

        if (operation.Looks++ < LooksNeeded)
        {
            return new Answer(200, new JsonObject { ["status"] = "InProgress" }) { RetryAfter = 1 };
        }

        return new Answer(200, operation.Error is var (code, message)
            ? new JsonObject { ["status"] = "Failed", ["error"] = new JsonObject { ["code"] = code, ["message"] = message } }
            : new JsonObject { ["status"] = "Succeeded" });
    }

    private Answer Get(string path, bool withReplication)
    {
        if (!Resources.TryGetValue(Key(path), out var there))
        {
            return NotFound(path);
        }

        Replicate(there);
        var shown = (JsonObject)there.DeepClone();
        if (!withReplication && shown["properties"] is JsonObject properties)
        {
            properties.Remove("replicationStatus");
        }

        return new Answer(200, shown);
    }

    private Answer Patch(string path, JsonObject body)
    {
        if (!Resources.TryGetValue(Key(path), out var there))
        {
            return NotFound(path);
        }

        there["tags"] = body["tags"]?.DeepClone();
        return new Answer(200, (JsonObject)there.DeepClone());
    }

    private Answer Delete(string path)
    {
        if (!Resources.TryGetValue(Key(path), out var there))
        {
            return new Answer(204);
        }

        if (there["properties"]!["diskState"]?.ToString() is "Attached" or "ActiveSAS" or "Reserved")
        {
            return Refused(409, "OperationNotAllowed", $"Disk '{there["name"]}' is in use.");
        }

        Resources.TryRemove(Key(path), out _);
        if (Blobs.TryRemove(Key(path), out var blob))
        {
            _azurite.Proxy.DiskBlobs[blob.AbsolutePath] = false;
        }

        return new Answer(202) { Operation = new Operation() };
    }

    private Answer Put(string path, string name, JsonObject body)
    {
        body["id"] = path;
        body["name"] = name;
        body["properties"]!["provisioningState"] ??= "Succeeded";
        Resources[Key(path)] = body;
        return new Answer(202, (JsonObject)body.DeepClone()) { Operation = new Operation() };
    }

    private static Answer? RefusedRegion(string? region, string type) =>
        s_regions.Contains(Region(region))
            ? null
            : Refused(
                400, "LocationNotAvailableForResourceType",
                $"The provided location '{region}' is not available for resource type 'Microsoft.Compute/{type}'.");

    private static string Region(string? region) => (region ?? "").Replace(" ", "", StringComparison.Ordinal).ToLowerInvariant();

    private async Task<Answer> PutDiskAsync(string path, string name, JsonObject body)
    {
        if (!Regex.IsMatch(name, "^[A-Za-z0-9][A-Za-z0-9_.-]{0,78}[A-Za-z0-9_]$", RegexOptions.None, TimeSpan.FromSeconds(1)))
        {
            return Refused(400, "InvalidParameter", $"The value of parameter disk.name is invalid: '{name}'.");
        }

        if (RefusedRegion(body["location"]?.ToString(), "disks") is { } refused)
        {
            return refused;
        }

        if (Resources.ContainsKey(Key(path)))
        {
            return Refused(409, "PropertyChangeNotAllowed", "Changing property 'creationData' is not allowed.");
        }

        var properties = body["properties"]!;
        var size = properties["creationData"]!["uploadSizeBytes"]!.GetValue<long>();
        if (size % (1 << 20) != 512)
        {
            return Refused(400, "InvalidParameter", $"The value {size} of parameter uploadSizeBytes is out of range.");
        }

        properties["diskState"] = "ReadyToUpload";
        var blob = _azurite.NewBlob();
        await _azurite.Direct(blob).CreateAsync(size);
        Blobs[Key(path)] = blob;
        _azurite.Proxy.DiskBlobs[blob.AbsolutePath] = false;
        return Put(path, name, body);
    }

    private Answer BeginGetAccess(string path, JsonObject body)
    {
        if (!Resources.TryGetValue(Key(path), out var disk))
        {
            return NotFound(path);
        }

        var state = disk["properties"]!["diskState"]!.ToString();
        if (body["access"]!.ToString() != "Write" || state is not ("ReadyToUpload" or "ActiveUpload"))
        {
            return Refused(409, "Conflict", $"Access {body["access"]} is not for a disk in the state {state}.");
        }

        disk["properties"]!["diskState"] = "ActiveUpload";
        var blob = Blobs[Key(path)];
        _azurite.Proxy.DiskBlobs[blob.AbsolutePath] = true;
        var access = Azurite.WithSas(
            blob, BlobSasPermissions.Read | BlobSasPermissions.Write, TimeSpan.FromSeconds(body["durationInSeconds"]!.GetValue<int>()));
        Signatures.Enqueue(System.Web.HttpUtility.ParseQueryString(access.Query)["sig"]!);
        return new Answer(202) { Operation = new Operation { Result = new JsonObject { ["accessSAS"] = access.AbsoluteUri } } };
    }

    private async Task<Answer> EndGetAccessAsync(string path)
    {
        if (!Resources.TryGetValue(Key(path), out var disk))
        {
            return NotFound(path);
        }

        var properties = disk["properties"]!;
        if (properties["diskState"]!.ToString() == "ActiveUpload")
        {
            var size = properties["creationData"]!["uploadSizeBytes"]!.GetValue<long>();
            var last = await _azurite.Direct(Blobs[Key(path)]).DownloadContentAsync(
                new BlobDownloadOptions { Range = new Azure.HttpRange(size - VhdFooter.Size, VhdFooter.Size) });
            if (!last.Value.Content.ToArray().AsSpan().StartsWith("conectix"u8))
            {
                // The access goes on.
                return new Answer(202)
                {
                    Operation = new Operation
                    {
                        Error = (
                            "InvalidVhd",
                            "The specified cookie value in VHD footer indicates that disk 'abcd' is not a supported VHD. Disk is expected "
                            + "to have cookie value 'conectix'."),
                    },
                };
            }

            properties["diskState"] = "Unattached";
        }

        _azurite.Proxy.DiskBlobs[Blobs[Key(path)].AbsolutePath] = false;
        return new Answer(202) { Operation = new Operation() };
    }

    [GeneratedRegex("^/subscriptions/[^/]+/(resourceGroups/[^/]+/providers/Microsoft.Compute/)?", RegexOptions.IgnoreCase, 1000)]
    private static partial Regex ShownPath();

    /// <param name="Status">The status.</param>
    /// <param name="Body">The body, or null.</param>
    private sealed record Answer(int Status, JsonObject? Body = null)
    {
        public int? RetryAfter { get; init; }

        public Operation? Operation { get; init; }
    }

    /// <summary>Something that takes a while.</summary>
    private sealed record Operation
    {
        public int Looks { get; set; }

        /// <summary>The part of its address that says of what it is.</summary>
        public string Kind { get; set; } = "";

        public JsonObject? Result { get; init; }

        public (string Code, string Message)? Error { get; init; }
    }

    private sealed class FixedToken : TokenCredential
    {
        public override AccessToken GetToken(TokenRequestContext requestContext, CancellationToken cancellationToken) =>
            new(Token, DateTimeOffset.UtcNow.AddHours(1));

        public override ValueTask<AccessToken> GetTokenAsync(TokenRequestContext requestContext, CancellationToken cancellationToken) =>
            new(GetToken(requestContext, cancellationToken));
    }
}
