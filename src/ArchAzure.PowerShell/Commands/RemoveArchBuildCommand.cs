using System.Management.Automation;
using ArchAzure.Builds;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Removes what a build has made: its state, disk, snapshots, cache, downloads and logs, and its Docker images.</summary>
[Cmdlet(
    VerbsCommon.Remove, "ArchBuild",
    SupportsShouldProcess = true, ConfirmImpact = ConfirmImpact.High, DefaultParameterSetName = ByWorkDirectory)]
public sealed class RemoveArchBuildCommand : BuildCmdlet
{
    /// <summary>Remove the VHD too; without this it stays, as do the settings.</summary>
    [Parameter]
    public SwitchParameter IncludeVhd { get; set; }

    /// <summary>Leave the Docker images, which other builds of the same release may use.</summary>
    [Parameter]
    public SwitchParameter KeepImage { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        var directory = Directory;
        if (ShouldProcess(directory.Path, IncludeVhd ? "Remove the build and its VHD" : "Remove the build, keep its VHD and settings"))
        {
            Run((reporter, token) => BuildRemoval.RunAsync(directory, IncludeVhd, KeepImage, reporter, token));
        }
    }
}
