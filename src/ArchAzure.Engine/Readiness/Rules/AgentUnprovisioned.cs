using ArchAzure.FileSystems;
using ArchAzure.Target;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The agents hold no state of an earlier machine: with it they take the new machine for the old one and do not provision it.
/// </summary>
internal sealed class AgentUnprovisioned : ReadinessRule
{
    public override string Wanted => "no state of an earlier machine in /var/lib/waagent, /var/lib/cloud";

    public override string Source => Sources.WaAgent;

    public override Finding Check(CheckedDisk disk)
    {
        var patterns = ProvisioningAgent.All.SelectMany(agent => agent.MachineState);
        return PassIfNone(
            [.. patterns.SelectMany(pattern => Glob.Expand(disk.Root, pattern)).Distinct(StringComparer.Ordinal)],
            "none",
            $"Deprovision: {string.Join(", ", ProvisioningAgent.All.Select(agent => agent.Deprovision))}.");
    }
}
