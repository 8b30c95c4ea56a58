using ArchAzure.Target;

namespace ArchAzure.Readiness.Rules;

/// <summary>The agent is started at boot.</summary>
internal sealed class AgentEnabled : ReadinessRule
{
    public override string Wanted => $"{Agents.Names} enabled";

    public override string Source => Sources.AzureProvisioning;

    public override Finding Check(CheckedDisk disk)
    {
        string[] links = [.. ProvisioningAgent.All.Select(agent => agent.EnabledBy(disk.Root)).OfType<string>()];
        return links.Length > 0
            ? Pass(string.Join(", ", links))
            : Fail($"no link starts {Agents.Names}", "Enable it: systemctl enable waagent.");
    }
}
