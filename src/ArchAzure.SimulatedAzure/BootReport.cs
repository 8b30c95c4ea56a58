namespace ArchAzure.SimulatedAzure;

/// <summary>A point on the way, in the order of time.</summary>
/// <param name="Name">
/// What was reached: <c>Start</c>, <c>Kernel</c>, <c>Initramfs</c>, <c>Systemd</c>, <c>Network</c>, <c>LoginPrompt</c>, <c>Agent</c>,
/// <c>Provisioning</c>, <c>Ready</c>, <c>Ssh</c>.
/// </param>
/// <param name="Elapsed">Since the machine's start.</param>
public sealed record BootMilestone(string Name, TimeSpan Elapsed);

/// <summary>What a boot test found.</summary>
public sealed record BootReport
{
    /// <summary>The VHD.</summary>
    public required string VhdPath { get; init; }

    /// <summary>1 or 2.</summary>
    public required int Generation { get; init; }

    /// <summary>The controller of the OS disk.</summary>
    public required DiskController DiskController { get; init; }

    /// <summary>True only when the guest's own agent reported Ready and the login with the key worked.</summary>
    public required bool Passed { get; init; }

    /// <summary>Why it did not pass, in whole sentences; null when it did.</summary>
    public required string? Error { get; init; }

    /// <summary>
    /// A stable PascalCase id of the reason: <c>GuestDied</c>, <c>GuestTimeout</c>, <c>GuestNotReady</c>, <c>QemuEnded</c>; null when it
    /// passed.
    /// </summary>
    public required string? ErrorId { get; init; }

    /// <summary>Whether the processor was the host's (KVM) or emulated.</summary>
    public required bool UsedKvm { get; init; }

    /// <summary>What was reached when.</summary>
    public required IReadOnlyList<BootMilestone> Timeline { get; init; }

    /// <summary>What the machine said of its health.</summary>
    public required IReadOnlyList<HealthReport> HealthReports { get; init; }

    /// <summary>What the agent said of itself in its status blobs.</summary>
    public required IReadOnlyList<AgentStatus> AgentStatuses { get; init; }

    /// <summary>All telemetry.</summary>
    public required IReadOnlyList<TelemetryEvent> Telemetry { get; init; }

    /// <summary>All requests of the machine.</summary>
    public required IReadOnlyList<PlatformRequest> Requests { get; init; }

    /// <summary>The requests that Azure would not have taken.</summary>
    public IReadOnlyList<PlatformRequest> Violations => Requests.Where(request => request.Violation is not null).ToArray();

    /// <summary>The ssh host key's fingerprint as the machine told the platform, or null.</summary>
    public required string? ReportedHostKey { get; init; }

    /// <summary>The fingerprint of the host key that sshd showed, or null.</summary>
    public required string? SeenHostKey { get; init; }

    /// <summary>What the guest shows, or null where nobody got in.</summary>
    public required GuestFacts? Guest { get; init; }

    /// <summary>The last lines of the serial console.</summary>
    public required IReadOnlyList<string> LastSerialLines { get; init; }

    /// <summary>The whole serial log.</summary>
    public required string SerialLogPath { get; init; }

    /// <summary>A PNG of the screen at the end, or null where none could be taken.</summary>
    public required string? ScreenPath { get; init; }
}
