using ArchAzure.Target;

namespace ArchAzure.Readiness.Rules;

/// <summary>Something in the machine can report Ready to the platform; without that Azure restarts the machine and gives up.</summary>
internal sealed class AgentInstalled : ReadinessRule
{
    private const string Remedy = "Install WALinuxAgent (Install-WaAgent) or cloud-init.";

    public override string Wanted => $"{Agents.Names}, executable, with its interpreter";

    public override string Source => Sources.AzureProvisioning;

    public override Finding Check(CheckedDisk disk)
    {
        var root = disk.Root;
        string[] programs = [.. ProvisioningAgent.All.Select(agent => agent.ProgramIn(root)).OfType<string>()];
        if (programs.Length == 0)
        {
            return Fail($"no {Agents.Names}", Remedy);
        }

        return programs.Select(program => Programs.Problem(root, program)).FirstOrDefault(problem => problem is not null) is { } problem
            ? Fail(problem, Remedy)
            : Pass(string.Join(", ", programs));
    }
}
