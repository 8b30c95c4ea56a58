using System.Management.Automation;
using ArchAzure.Builds;
using ArchAzure.Steps;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Step 2: makes the sparse raw disk with its partitions.</summary>
[Cmdlet(VerbsCommon.New, "ArchDisk", SupportsShouldProcess = true, DefaultParameterSetName = ByWorkDirectory)]
[OutputType(typeof(ArchBuild))]
public sealed class NewArchDiskCommand : StepCmdlet
{
    /// <summary>The disk's size in MiB, a whole number; text so that a unit is refused with a clear word.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? SizeMiB { get; set; }

    /// <summary>The root file system.</summary>
    [Parameter]
    [AllowEmptyString]
    [ValidateSet("ext4", "btrfs", "")]
    public string? RootFileSystem { get; set; }

    /// <inheritdoc/>
    protected override void Process() =>
        RunStep(StepName.Disk, "Make a partitioned raw disk", new StepRequest { Parameters = GivenSettings(), Force = Force });
}
