namespace ArchAzure.Readiness.Rules;

/// <summary>Something in the machine can report Ready to the platform; without that Azure restarts the machine and gives up.</summary>
internal sealed class AgentInstalled : ReadinessRule
{
    private const string Remedy = "Install WALinuxAgent (Install-WaAgent) or cloud-init.";

    public override string Wanted => "waagent or cloud-init, executable, with its interpreter";

    public override string Source => Sources.AzureProvisioning;

    public override Finding Check(ReadinessImage image)
    {
        var root = image.Root;
        string[] programs = [.. new[] { Agents.WaAgent(root), Agents.CloudInit(root) }.OfType<string>()];
        if (programs.Length == 0)
        {
            return Fail("neither waagent nor cloud-init", Remedy);
        }

        return programs.Select(program => Programs.Problem(root, program)).FirstOrDefault(problem => problem is not null) is { } problem ? Fail(problem, Remedy) : Pass(string.Join(", ", programs));
    }
}
