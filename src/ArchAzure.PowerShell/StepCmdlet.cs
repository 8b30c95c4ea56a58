using System.Management.Automation;
using System.Runtime.CompilerServices;
using ArchAzure.Builds;
using ArchAzure.Steps;
using ArchAzure.Target;

namespace ArchAzure.PowerShell;

/// <summary>A cmdlet that is one of the five steps: parameters become settings, the runner does the rest.</summary>
public abstract class StepCmdlet : BuildCmdlet
{
    /// <summary>Targets that stay in their builders for the next step of a pipeline, by the build that goes down it.</summary>
    private static readonly ConditionalWeakTable<ArchBuild, TargetSession> s_kept = [];

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
        TargetSession? target = null;
        if (ParameterSetName == ByBuild && s_kept.TryGetValue(InputObject, out target))
        {
            s_kept.Remove(InputObject);
        }

        var build = Run(async (reporter, token) =>
        {
            var runner = new BuildRunner(LayerFolder, reporter)
            {
                Target = target, KeepsTarget = MyInvocation.PipelinePosition < MyInvocation.PipelineLength,
            };
            var result = await runner.RunAsync(directory, step, step, request, token);
            target = runner.Target;
            return result;
        });
        if (target is not null)
        {
            s_kept.Add(build, target);
        }

        try
        {
            // The rest of the pipeline works within this call.
            WriteObject(build);
        }
        finally
        {
            if (s_kept.Remove(build))
            {
                BuildRunner.EndAsync(target!).GetAwaiter().GetResult();
            }
        }
    }
}
