using System.Management.Automation;
using ArchAzure.Builds;
using ArchAzure.Steps;

namespace ArchAzure.PowerShell;

/// <summary>A cmdlet that is one of the five steps: parameters become settings, the runner does the rest.</summary>
public abstract class StepCmdlet : BuildCmdlet
{
    /// <summary>Run although nothing has changed since the last good run, and replace what is there.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <summary>Runs a step after confirmation and writes the build.</summary>
    private protected void RunStep(string name, string action, StepRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var directory = Directory;
        if (!ShouldProcess(directory.Path, action))
        {
            return;
        }

        var step = StepName.Number(name);
        WriteObject(Run((reporter, token) => new BuildRunner(LayerFolder, reporter).RunAsync(directory, step, step, request, token)));
    }
}
