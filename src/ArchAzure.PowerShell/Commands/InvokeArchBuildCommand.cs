using System.Management.Automation;
using ArchAzure.Builds;
using ArchAzure.Steps;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Runs all steps in order, from where the last run stopped; or some of them again.</summary>
[Cmdlet(VerbsLifecycle.Invoke, "ArchBuild", SupportsShouldProcess = true)]
[OutputType(typeof(ArchBuild))]
public sealed class InvokeArchBuildCommand : EngineCmdlet
{
    /// <summary>The work directory.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipelineByPropertyName = true)]
    [ValidateNotNullOrEmpty]
    public string WorkDirectory { get; set; } = "";

    /// <summary>The step to begin with, by number or name; it and those after it run again.</summary>
    [Parameter(Position = 1)]
    [ValidateNotNullOrEmpty]
    [ArgumentCompleter(typeof(StepCompleter))]
    public string? First { get; set; }

    /// <summary>The step to end with, by number or name.</summary>
    [Parameter(Position = 2)]
    [ValidateNotNullOrEmpty]
    [ArgumentCompleter(typeof(StepCompleter))]
    public string? Last { get; set; }

    /// <summary>A settings file; it is copied into the work directory.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? Settings { get; set; }

    /// <summary>Write the SHA-256 of the whole VHD to SHA256SUMS.</summary>
    [Parameter]
    public SwitchParameter Checksum { get; set; }

    /// <summary>Write the VHD compressed too.</summary>
    [Parameter]
    public SwitchParameter Compress { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        var first = First is null ? 1 : Run(() => StepName.Parse(First));
        var last = Last is null ? StepName.All.Count : Run(() => StepName.Parse(Last));
        if (first > last)
        {
            ThrowTerminatingError(ErrorRecords.From(new ArchAzureException(
                "StepsOutOfOrder", ErrorKind.InvalidInput, $"-First {First} comes after -Last {Last}. Give the earlier step first.",
                First)));
        }

        var directory = new WorkDirectory(FilePath(WorkDirectory));
        if (!ShouldProcess(directory.Path, $"Run steps {first} to {last}"))
        {
            return;
        }

        var request = new StepRequest
        {
            Parameters = GivenSettings(), Force = First is not null, SettingsPath = Settings is null ? null : FilePath(Settings),
        };
        WriteObject(Run((reporter, token) => new BuildRunner(LayerFolder, reporter).RunAsync(directory, first, last, request, token)));
    }
}
