using System.Net;
using System.Text.RegularExpressions;

namespace ArchAzure.SimulatedAzure;

/// <summary>One request that the machine made of the platform.</summary>
/// <param name="Time">When it came.</param>
/// <param name="Service">Which service answered: <c>WireServer</c>, <c>HostGAPlugin</c> or <c>InstanceMetadata</c>.</param>
/// <param name="Method">The HTTP method.</param>
/// <param name="Target">Path and query; signatures in it are masked.</param>
/// <param name="Headers">The headers that say who asks for what; certificates in them are masked.</param>
/// <param name="BodyBytes">The length of the request's body.</param>
/// <param name="Status">The HTTP status of the answer.</param>
/// <param name="Violation">What Azure would not have taken, or null.</param>
public sealed record PlatformRequest(
    DateTimeOffset Time,
    string Service,
    string Method,
    string Target,
    IReadOnlyDictionary<string, string> Headers,
    int BodyBytes,
    int Status,
    string? Violation);

/// <summary>What the machine said of its health (POST /machine?comp=health).</summary>
/// <param name="Time">When.</param>
/// <param name="State"><c>Ready</c> or <c>NotReady</c>.</param>
/// <param name="SubStatus">E.g. <c>Provisioning</c>, <c>ProvisioningFailed</c>, or null.</param>
/// <param name="Description">The agent's words, or null.</param>
/// <param name="Agent">Who said it: the header User-Agent, e.g. <c>Cloud-Init/25.3</c>, or null. (cloud-init, too, writes WALinuxAgent into x-ms-agent-name.)</param>
public sealed record HealthReport(DateTimeOffset Time, string State, string? SubStatus, string? Description, string? Agent);

/// <summary>One event of the agent's telemetry.</summary>
/// <param name="Time">When it came.</param>
/// <param name="Name">Who reports, e.g. <c>WALinuxAgent</c> or an extension's name.</param>
/// <param name="Operation">What was done, e.g. <c>Provision</c>, <c>HeartBeat</c>.</param>
/// <param name="IsSuccess">Whether it went well.</param>
/// <param name="Message">The words.</param>
public sealed record TelemetryEvent(DateTimeOffset Time, string Name, string Operation, bool IsSuccess, string Message);

/// <summary>
/// What the agent's status blob says of itself. After a machine's first boot this is the only sign of it: WALinuxAgent
/// posts a health report only when it has provisioned.
/// </summary>
/// <param name="Time">When it came.</param>
/// <param name="Version">The agent's version.</param>
/// <param name="Status">E.g. <c>Ready</c>.</param>
public sealed record AgentStatus(DateTimeOffset Time, string Version, string Status);

/// <summary>What the agent's status blob says of an extension handler.</summary>
/// <param name="Time">When it came.</param>
/// <param name="Name">The handler's name.</param>
/// <param name="Version">Its version.</param>
/// <param name="HandlerStatus">E.g. <c>Ready</c>, <c>NotReady</c>, <c>Installing</c>.</param>
/// <param name="Status">The status of the settings, e.g. <c>success</c>, <c>transitioning</c>, <c>error</c>, or null before there is one.</param>
/// <param name="Code">The status' code, or the handler's.</param>
/// <param name="Message">The words of the status, or the handler's.</param>
/// <param name="SequenceNumber">The number of the settings, or null.</param>
public sealed record ExtensionStatus(
    DateTimeOffset Time,
    string Name,
    string Version,
    string HandlerStatus,
    string? Status,
    int? Code,
    string? Message,
    int? SequenceNumber);

/// <summary>Something that the platform recorded.</summary>
/// <param name="item">What it is.</param>
public sealed class RecordedEventArgs<T>(T item) : EventArgs
{
    /// <summary>What was recorded.</summary>
    public T Item { get; } = item;
}

/// <summary>What the platform knows of the machine it simulates.</summary>
/// <param name="Environment">What the provisioning DVD says.</param>
public sealed record SimulatedPlatformOptions(OvfEnvironment Environment)
{
    /// <summary>The machine's id, which its firmware shows too.</summary>
    public Guid VmId { get; init; } = Guid.NewGuid();

    /// <summary>The network interface's hardware address, 6 bytes; 00-0D-3A is one of Microsoft's ranges.</summary>
    public IReadOnlyList<byte> MacAddress { get; init; } = [0x00, 0x0D, 0x3A, 0x11, 0x22, 0x33];

    /// <summary>The machine's address.</summary>
    public IPAddress Address { get; init; } = new VirtualNetworkOptions().GuestAddress;

    /// <summary>The extension handlers of the first goal state.</summary>
    public IReadOnlyList<ExtensionHandler> Extensions { get; init; } = [];
}

/// <summary>
/// The platform's side of a machine's life: its goal state, and all that the machine says of itself. The services
/// (<see cref="WireServer"/>, <see cref="HostGaPlugin"/>, <see cref="InstanceMetadataService"/>) answer from it and
/// record into it.
/// </summary>
public sealed partial class SimulatedPlatform : IDisposable
{
    // A machine that boots makes some hundred requests, and one for each 6 s that it runs.
    private const int MostRecorded = 5000;
    private const int LongestText = 1000;
    private const int MostHeaders = 20;

    private readonly object _gate = new();
    private readonly TimeProvider _clock;
    private readonly Lazy<TenantCertificate> _certificate;
    private readonly List<PlatformRequest> _requests = [];
    private readonly List<HealthReport> _health = [];
    private readonly List<TelemetryEvent> _telemetry = [];
    private readonly List<string> _hostKeys = [];
    private readonly Dictionary<string, ExtensionStatus> _extensionStatuses = new(StringComparer.OrdinalIgnoreCase);
    private readonly TaskCompletionSource<HealthReport> _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private IReadOnlyList<ExtensionHandler> _extensions;
    private readonly List<AgentStatus> _agentStatuses = [];
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Creates a platform that waits for its machine.</summary>
    /// <param name="options">What it knows of the machine.</param>
    /// <param name="clock">The clock for what is recorded.</param>
    public SimulatedPlatform(SimulatedPlatformOptions options, TimeProvider? clock = null)
    {
        Options = options;
        _clock = clock ?? TimeProvider.System;
        _extensions = options.Extensions;
        GoalStateTime = Now;
        // A key of 2048 bits takes a moment to find, and a machine without extensions may never ask.
        _certificate = new Lazy<TenantCertificate>(() => new TenantCertificate(_clock.GetUtcNow()));
        WireServer = new WireServer(this);
        HostGaPlugin = new HostGaPlugin(this);
        InstanceMetadata = new InstanceMetadataService(this);
    }

    /// <summary>A health report came.</summary>
    public event EventHandler<RecordedEventArgs<HealthReport>>? HealthReported;

    /// <summary>A request was answered.</summary>
    public event EventHandler<RecordedEventArgs<PlatformRequest>>? RequestAnswered;

    /// <summary>What the platform knows of the machine.</summary>
    public SimulatedPlatformOptions Options { get; private set; }

    /// <summary>The pair with which protected settings are encrypted.</summary>
    public TenantCertificate Certificate => _certificate.Value;

    /// <summary>168.63.129.16:80.</summary>
    public WireServer WireServer { get; }

    /// <summary>168.63.129.16:32526.</summary>
    public HostGaPlugin HostGaPlugin { get; }

    /// <summary>169.254.169.254:80.</summary>
    public InstanceMetadataService InstanceMetadata { get; }

    /// <summary>The container's id in the goal state.</summary>
    public string ContainerId { get; private set; } = Guid.NewGuid().ToString();

    /// <summary>The deployment's id in the goal state.</summary>
    public string DeploymentId { get; private set; } = Guid.NewGuid().ToString();

    /// <summary>The role's name, the machine's host name with an underscore as Azure writes it.</summary>
    public string RoleName => "_" + Options.Environment.HostName;

    /// <summary>The role instance's id in the goal state.</summary>
    public string InstanceId => $"{DeploymentId}.{RoleName}";

    /// <summary>The number of the goal state, from 1.</summary>
    public int Incarnation { get; private set; } = 1;

    /// <summary>When the goal state was made.</summary>
    public DateTimeOffset GoalStateTime { get; private set; }

    /// <summary>The goal state's extension handlers.</summary>
    public IReadOnlyList<ExtensionHandler> Extensions
    {
        get
        {
            lock (_gate)
            {
                return _extensions;
            }
        }
    }

    /// <summary>All requests so far, in order; of more than 5000 the last ones. So it is with all else that is recorded.</summary>
    public IReadOnlyList<PlatformRequest> Requests => Copy(_requests);

    /// <summary>All health reports so far.</summary>
    public IReadOnlyList<HealthReport> HealthReports => Copy(_health);

    /// <summary>All telemetry so far.</summary>
    public IReadOnlyList<TelemetryEvent> Telemetry => Copy(_telemetry);

    /// <summary>The fingerprints of ssh host keys that the machine told (POST /machine?comp=roleProperties).</summary>
    public IReadOnlyList<string> HostKeyFingerprints => Copy(_hostKeys);

    /// <summary>The last status of each extension handler.</summary>
    public IReadOnlyList<ExtensionStatus> ExtensionStatuses
    {
        get
        {
            lock (_gate)
            {
                return [.. _extensionStatuses.Values];
            }
        }
    }

    /// <summary>What the agent said of itself in its status blobs, in order.</summary>
    public IReadOnlyList<AgentStatus> AgentStatuses => Copy(_agentStatuses);

    /// <summary>Ends when the machine reports Ready.</summary>
    public Task<HealthReport> WaitForReadyAsync(CancellationToken cancellationToken) => _ready.Task.WaitAsync(cancellationToken);

    /// <summary>Ends when what was recorded meets a condition.</summary>
    /// <param name="condition">Looked at whenever something new came.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
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

    /// <summary>Publishes a new goal state with these extension handlers.</summary>
    public void SetExtensions(IReadOnlyList<ExtensionHandler> extensions)
    {
        lock (_gate)
        {
            _extensions = extensions;
            Incarnation++;
            GoalStateTime = Now;
        }
    }

    /// <summary>
    /// Takes the machine, which was deprovisioned, for a new one: another deployment with its first goal state, without
    /// extensions. What was recorded stays, but for the extensions' statuses.
    /// </summary>
    /// <param name="environment">What the new machine's provisioning DVD says.</param>
    public void Redeploy(OvfEnvironment environment)
    {
        lock (_gate)
        {
            Options = Options with { Environment = environment, Extensions = [] };
            ContainerId = Guid.NewGuid().ToString();
            DeploymentId = Guid.NewGuid().ToString();
            _extensions = [];
            _extensionStatuses.Clear();
            Incarnation = 1;
            GoalStateTime = Now;
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

    internal void Record(HealthReport report)
    {
        // The guest's words, here and in its status, go to the terminal of who runs the test.
        report = report with { SubStatus = Showable(report.SubStatus), Description = Showable(report.Description) };
        Add(_health, report);
        if (report.State == "Ready")
        {
            _ready.TrySetResult(report);
        }

        HealthReported?.Invoke(this, new RecordedEventArgs<HealthReport>(report));
    }

    internal void RecordHostKey(string fingerprint) => Add(_hostKeys, Short(fingerprint));

    internal void Record(TelemetryEvent telemetry) =>
        Add(_telemetry, telemetry with { Name = Short(telemetry.Name), Operation = Short(telemetry.Operation), Message = Short(telemetry.Message) });

    internal void RecordStatus(AgentStatus agent, IEnumerable<ExtensionStatus> statuses)
    {
        Add(_agentStatuses, agent with { Version = Short(agent.Version), Status = Short(agent.Status) });
        lock (_gate)
        {
            foreach (var status in statuses.Where(status => status.Name.Length <= LongestText && (_extensionStatuses.Count < MostRecorded || _extensionStatuses.ContainsKey(status.Name))))
            {
                _extensionStatuses[status.Name] = status with { Status = Showable(status.Status), Message = Showable(status.Message) };
            }
        }

        Changed();
    }

    internal DateTimeOffset Now => _clock.GetUtcNow();

    /// <summary>Runs a service's handler and records the request with its answer.</summary>
    internal HttpServer CreateServer(string service, Func<HttpRequest, HttpResponse> handle) => new(
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

            RecordRequest(new PlatformRequest(Now, service, request.Method, Mask(request.Target), Headers(request), request.Body.Length, response.Status, violation));
            return Task.FromResult(response);
        },
        (response, firstLine) => RecordRequest(new PlatformRequest(Now, service, "", Mask(firstLine), new Dictionary<string, string>(), 0, response.Status,
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

            if (name.Contains("cert", StringComparison.OrdinalIgnoreCase) || string.Equals(name, "authorization", StringComparison.OrdinalIgnoreCase))
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

    private static string Short(string text) => text.Length <= LongestText ? text : $"{text[..LongestText]}... ({text.Length - LongestText} more characters)";

    [GeneratedRegex("([?&]sig=)[^&\\s]*", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Signature();

    private void RecordRequest(PlatformRequest request)
    {
        Add(_requests, request);
        RequestAnswered?.Invoke(this, new RecordedEventArgs<PlatformRequest>(request));
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
        }

        Changed();
    }

    private void Changed()
    {
        TaskCompletionSource changed;
        lock (_gate)
        {
            changed = _changed;
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        changed.TrySetResult();
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
