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
/// <param name="Agent">
/// Who said it: the header User-Agent, e.g. <c>Cloud-Init/25.3</c>, or null. (cloud-init, too, writes WALinuxAgent into x-ms-agent-name.)
/// </param>
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
