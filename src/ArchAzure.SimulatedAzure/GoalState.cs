using System.Xml.Linq;

namespace ArchAzure.SimulatedAzure;

/// <summary>What the platform wants of its machine: one deployment in one incarnation. It is replaced, never changed.</summary>
/// <param name="Environment">What the provisioning DVD says.</param>
internal sealed record GoalState(OvfEnvironment Environment)
{
    public string ContainerId { get; init; } = Guid.NewGuid().ToString();

    public string DeploymentId { get; init; } = Guid.NewGuid().ToString();

    /// <summary>Its number, from 1.</summary>
    public int Incarnation { get; init; } = 1;

    /// <summary>When it was made: agents tell an old one from a new one by that.</summary>
    public DateTimeOffset Time { get; init; } = DateTimeOffset.UtcNow;

    /// <summary>What the machine is to install, as elements of the extensions' configuration.</summary>
    public IReadOnlyList<XElement> Extensions { get; init; } = [];

    /// <summary>What stands in storage accounts on Azure, by its path on the wire server.</summary>
    public IReadOnlyDictionary<string, HttpResponse> Artifacts { get; init; } =
        new Dictionary<string, HttpResponse>(StringComparer.Ordinal);

    /// <summary>The machine's host name with an underscore, as Azure writes it.</summary>
    public string RoleName => "_" + Environment.HostName;

    public string InstanceId => $"{DeploymentId}.{RoleName}";
}
