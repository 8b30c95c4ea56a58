using System.Management.Automation;
using ArchAzure.Builds;
using ArchAzure.Steps;
using ArchAzure.Vhd;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Step 5: makes the VHD of a build; or a VHD of any raw disk image.</summary>
[Cmdlet(VerbsData.ConvertTo, "AzureVhd", SupportsShouldProcess = true, DefaultParameterSetName = ByWorkDirectory)]
[OutputType(typeof(ArchBuild), ParameterSetName = [ByBuild, ByWorkDirectory])]
[OutputType(typeof(FileInfo), ParameterSetName = [ByPath])]
public sealed class ConvertToAzureVhdCommand : StepCmdlet
{
    private const string ByPath = "Path";

    /// <summary>A raw disk image.</summary>
    [Parameter(Mandatory = true, ParameterSetName = ByPath, ValueFromPipelineByPropertyName = true)]
    [Alias("PSPath", "LiteralPath")]
    [ValidateNotNullOrEmpty]
    public string Path { get; set; } = "";

    /// <summary>The VHD to make.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? Destination { get; set; }

    /// <summary>Turn the raw image itself into the VHD instead of copying it.</summary>
    [Parameter(ParameterSetName = ByPath)]
    public SwitchParameter InPlace { get; set; }

    /// <summary>Write the SHA-256 of the whole VHD to SHA256SUMS.</summary>
    [Parameter]
    public SwitchParameter Checksum { get; set; }

    /// <summary>Write the VHD compressed too.</summary>
    [Parameter]
    public SwitchParameter Compress { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        var destination = Destination is null ? null : FilePath(Destination);
        if (ParameterSetName != ByPath)
        {
            RunStep(
                StepName.Vhd,
                "Seal the target and write the VHD",
                new StepRequest { Parameters = GivenSettings(), Force = Force, Destination = destination });
            return;
        }

        var source = FilePath(Path);
        destination ??= System.IO.Path.ChangeExtension(source, ".vhd");
        if (!ShouldProcess(source, InPlace ? $"Turn it into the VHD '{destination}'" : $"Copy it as the VHD '{destination}'"))
        {
            return;
        }

        var conversion = new VhdConversion
        {
            SourcePath = source, DestinationPath = destination, InPlace = InPlace, Force = Force, Checksum = Checksum,
            Compress = Compress,
        };
        var vhd = TryRun(
            async (reporter, token) =>
            {
                var footer = await VhdConverter.ConvertAsync(conversion, reporter, token);
                reporter.Progress(new(StepName.Vhd, "done", 100, Completed: true));
                return footer;
            },
            out _);
        if (vhd)
        {
            WriteObject(new FileInfo(destination));
        }
    }
}
