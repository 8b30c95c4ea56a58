namespace ArchAzure.Readiness.Rules;

/// <summary>The agent is started at boot.</summary>
internal sealed class AgentEnabled : ReadinessRule
{
    public override string Wanted => "waagent.service or cloud-init enabled";

    public override string Source => Sources.AzureProvisioning;

    public override Finding Check(ReadinessImage image)
    {
        string[] links = [.. new[] { Agents.WaAgentEnabledBy(image.Root), Agents.CloudInitEnabledBy(image.Root) }.OfType<string>()];
        return links.Length > 0
            ? Pass(string.Join(", ", links))
            : Fail("no link starts waagent or cloud-init", "Enable it: systemctl enable waagent.");
    }
}
