using System.Text.Json;
using System.Text.RegularExpressions;

namespace ArchAzure.SimulatedAzure;

/// <summary>
/// The platform's side of a machine's life: its goal state, and all that the machine says of itself. The services
/// (<see cref="WireServer"/>, <see cref="HostGaPlugin"/>, <see cref="InstanceMetadataService"/>) answer from it and
/// record into it.
/// </summary>
internal sealed partial class SimulatedPlatform : IDisposable
{
    // A machine that boots makes some hundred requests, and one for each 6 s that it runs.
    private const int MostRecorded = 5000;
    private const int LongestText = 1000;
    private const int MostHeaders = 20;

    private readonly object _gate = new();
    private readonly Lazy<TenantCertificate> _certificate;
    private readonly List<PlatformRequest> _requests = [];
    private readonly List<HealthReport> _health = [];
    private readonly List<TelemetryEvent> _telemetry = [];
    private readonly List<string> _hostKeys = [];
    private readonly List<AgentStatus> _agentStatuses = [];
    private volatile GoalState _goal;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public SimulatedPlatform(OvfEnvironment environment)
    {
        _goal = new GoalState(environment);

        // A key of 2048 bits takes a moment to find, and not every agent asks.
        _certificate = new Lazy<TenantCertificate>(() => new TenantCertificate());
        WireServer = new WireServer(this);
        HostGaPlugin = new HostGaPlugin(this);
        InstanceMetadata = new InstanceMetadataService(this);
    }

    /// <summary>A health report came.</summary>
    public Action<HealthReport>? HealthReported { get; set; }

    /// <summary>A request was answered.</summary>
    public Action<PlatformRequest>? RequestAnswered { get; set; }

    /// <summary>A status blob came; this is what it aggregates, as long as the call lasts.</summary>
    public Action<JsonElement>? StatusReported { get; set; }

    public GoalState Goal { get => _goal; set => _goal = value; }

    /// <summary>The machine's id, which its firmware shows too.</summary>
    public Guid VmId { get; } = Guid.NewGuid();

    /// <summary>The pair with which protected settings would be encrypted.</summary>
    public TenantCertificate Certificate => _certificate.Value;

    /// <summary>168.63.129.16:80.</summary>
    public WireServer WireServer { get; }

    /// <summary>168.63.129.16:32526.</summary>
    public HostGaPlugin HostGaPlugin { get; }

    /// <summary>169.254.169.254:80.</summary>
    public InstanceMetadataService InstanceMetadata { get; }

    /// <summary>All requests so far, in order; of more than 5000 the last ones. So it is with all else that is recorded.</summary>
    public IReadOnlyList<PlatformRequest> Requests => Copy(_requests);

    public IReadOnlyList<HealthReport> HealthReports => Copy(_health);

    public IReadOnlyList<TelemetryEvent> Telemetry => Copy(_telemetry);

    /// <summary>The fingerprints of ssh host keys that the machine told (POST /machine?comp=roleProperties).</summary>
    public IReadOnlyList<string> HostKeyFingerprints => Copy(_hostKeys);

    public IReadOnlyList<AgentStatus> AgentStatuses => Copy(_agentStatuses);

    /// <summary>Ends when what was recorded meets a condition.</summary>
    public async Task WaitForAsync(Func<SimulatedPlatform, bool> condition, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task changed;
            lock (_gate)
            {
                changed = _changed.Task;
            }

            if (condition(this))
            {
                return;
            }

            await changed.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Puts the services at their addresses in a network.</summary>
    public void Attach(VirtualNetwork network)
    {
        network.Listen(VirtualNetwork.WireServerAddress, 80, WireServer.Http.ServeAsync);
        network.Listen(VirtualNetwork.WireServerAddress, HostGaPlugin.Port, HostGaPlugin.Http.ServeAsync);
        network.Listen(VirtualNetwork.MetadataAddress, 80, InstanceMetadata.Http.ServeAsync);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_certificate.IsValueCreated)
        {
            _certificate.Value.Dispose();
        }
    }

    public void Record(HealthReport report)
    {
        // The guest's words, here and in its status, go to the terminal of who runs the test.
        report = report with { SubStatus = Showable(report.SubStatus), Description = Showable(report.Description) };
        Add(_health, report);
        HealthReported?.Invoke(report);
    }

    public void RecordHostKey(string fingerprint) => Add(_hostKeys, Short(fingerprint));

    public void Record(TelemetryEvent telemetry) =>
        Add(_telemetry,
            telemetry with { Name = Short(telemetry.Name), Operation = Short(telemetry.Operation), Message = Short(telemetry.Message) });

    /// <summary>Takes what a status blob aggregates.</summary>
    public void RecordStatus(AgentStatus agent, JsonElement aggregate)
    {
        StatusReported?.Invoke(aggregate);
        Add(_agentStatuses, agent with { Version = Short(agent.Version), Status = Short(agent.Status) });
    }

    /// <summary>Runs a service's handler and records the request with its answer.</summary>
    public HttpServer CreateServer(string service, Func<HttpRequest, HttpResponse> handle) => new(
        (request, _) =>
        {
            HttpResponse response;
            string? violation = null;
            try
            {
                response = handle(request);
            }
            catch (PlatformRefusalException e)
            {
                response = e.Response;
                violation = e.Message;
            }

            RecordRequest(new PlatformRequest(
                DateTimeOffset.UtcNow, service, request.Method, Mask(request.Target), Headers(request), request.Body.Length,
                response.Status, violation));
            return Task.FromResult(response);
        },
        (response, firstLine) => RecordRequest(new PlatformRequest(
            DateTimeOffset.UtcNow, service, "", Mask(firstLine), new Dictionary<string, string>(), 0, response.Status,
            "This is not a request of HTTP/1.1 that can be answered.")));

    private static Dictionary<string, string> Headers(HttpRequest request)
    {
        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var (name, value) in request.Headers.Where(header => header.Key.Length <= LongestText))
        {
            if (headers.Count == MostHeaders)
            {
                break;
            }

            if (name.Contains("cert", StringComparison.OrdinalIgnoreCase)
                || string.Equals(name, "authorization", StringComparison.OrdinalIgnoreCase))
            {
                headers[name] = $"({value.Length} characters)";
            }
            else if (name.StartsWith("x-ms-", StringComparison.OrdinalIgnoreCase)
                || name.ToUpperInvariant() is "CONTENT-TYPE" or "USER-AGENT" or "METADATA" or "HOST")
            {
                headers[name] = Mask(value);
            }
        }

        return headers;
    }

    private static string? Showable(string? text) => text is null ? null : ArchAzureException.Showable(Short(text));

    private static string Mask(string text) => Short(ArchAzureException.Showable(Signature().Replace(text, "$1(masked)")));

    private static string Short(string text) =>
        text.Length <= LongestText ? text : $"{text[..LongestText]}... ({text.Length - LongestText} more characters)";

    [GeneratedRegex("([?&]sig=)[^&\\s]*", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Signature();

    private void RecordRequest(PlatformRequest request)
    {
        Add(_requests, request);
        RequestAnswered?.Invoke(request);
    }

    private void Add<T>(List<T> list, T item)
    {
        lock (_gate)
        {
            if (list.Count == MostRecorded)
            {
                list.RemoveAt(0);
            }

            list.Add(item);
            _changed.SetResult();
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    private T[] Copy<T>(List<T> list)
    {
        lock (_gate)
        {
            return [.. list];
        }
    }
}

/// <summary>A request that Azure would not have taken: the answer, and what was wrong with it.</summary>
internal sealed class PlatformRefusalException(int status, string message) : Exception(ArchAzureException.Showable(message))
{
    public HttpResponse Response { get; } = HttpResponse.Text(status, "text/plain; charset=utf-8", message);
}
