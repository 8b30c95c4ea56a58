using System.Management.Automation;
using ArchAzure.Builds;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Shows the build of a work directory.</summary>
[Cmdlet(VerbsCommon.Get, "ArchBuild")]
[OutputType(typeof(ArchBuild))]
public sealed class GetArchBuildCommand : EngineCmdlet
{
    /// <summary>The work directory; the current folder if not given.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true, ValueFromPipelineByPropertyName = true)]
    [ValidateNotNullOrEmpty]
    public string WorkDirectory { get; set; } = ".";

    /// <inheritdoc/>
    protected override void Process()
    {
        var directory = new WorkDirectory(FilePath(WorkDirectory));
        if (TryRun((_, _) => Task.FromResult(BuildStore.Load(directory)), out var build))
        {
            WriteObject(build);
        }
    }
}
