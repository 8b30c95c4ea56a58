using System.Management.Automation;
using ArchAzure.Builds;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Opens a shell inside the target and keeps what is changed there.</summary>
[Cmdlet(VerbsCommon.Enter, "ArchTarget", SupportsShouldProcess = true, DefaultParameterSetName = ByWorkDirectory)]
public sealed class EnterArchTargetCommand : BuildCmdlet
{
    /// <summary>Throw away what is changed.</summary>
    [Parameter]
    public SwitchParameter Discard { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        var directory = Directory;
        if (ShouldProcess(directory.Path, "Open a shell in the target"))
        {
            Run((reporter, token) => new TargetAccess(directory, reporter).EnterAsync(!Discard, token));
        }
    }
}
