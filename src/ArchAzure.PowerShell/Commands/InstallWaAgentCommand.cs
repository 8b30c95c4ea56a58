using System.Management.Automation;
using ArchAzure.Builds;
using ArchAzure.Steps;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Step 4: installs the Azure Linux agent into the target.</summary>
[Cmdlet(VerbsLifecycle.Install, "WaAgent", SupportsShouldProcess = true, DefaultParameterSetName = ByWorkDirectory)]
[OutputType(typeof(ArchBuild))]
public sealed class InstallWaAgentCommand : StepCmdlet
{
    /// <summary>Where the agent comes from: a git address, an archive or a folder.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? Source { get; set; }

    /// <summary>The commit to take from a git repository, all 40 digits.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? Commit { get; set; }

    /// <summary>Who provisions the machine.</summary>
    [Parameter]
    [AllowEmptyString]
    [ValidateSet("waagent", "cloud-init", "")]
    public string? Agent { get; set; }

    /// <inheritdoc/>
    protected override void Process() =>
        RunStep(
            StepName.Agent,
            "Install the Azure Linux agent into the target",
            new StepRequest { Parameters = GivenSettings(), Force = Force });
}
