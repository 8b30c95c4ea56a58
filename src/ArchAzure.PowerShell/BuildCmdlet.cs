using System.Management.Automation;
using ArchAzure.Builds;

namespace ArchAzure.PowerShell;

/// <summary>A cmdlet on one build: given by the pipe or by its work directory.</summary>
public abstract class BuildCmdlet : EngineCmdlet
{
    /// <summary>The parameter set of a build from the pipe.</summary>
    protected const string ByBuild = "Build";

    /// <summary>The parameter set of a work directory.</summary>
    protected const string ByWorkDirectory = "WorkDirectory";

    /// <summary>The build, as the step before it gives it.</summary>
    [Parameter(Mandatory = true, ValueFromPipeline = true, ParameterSetName = ByBuild)]
    [ValidateNotNull]
    public ArchBuild InputObject { get; set; } = null!;

    /// <summary>The work directory of the build; the current folder if not given.</summary>
    [Parameter(Position = 0, ParameterSetName = ByWorkDirectory)]
    [ValidateNotNullOrEmpty]
    public string WorkDirectory { get; set; } = ".";

    /// <summary>The work directory meant.</summary>
    private protected WorkDirectory Directory => new(ParameterSetName == ByBuild ? InputObject.WorkDirectory : FilePath(WorkDirectory));
}
