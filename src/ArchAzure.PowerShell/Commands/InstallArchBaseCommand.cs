using System.Diagnostics.CodeAnalysis;
using System.Management.Automation;
using ArchAzure.Builds;
using ArchAzure.Steps;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Step 3: installs Arch and the layers base and azure into the target.</summary>
[Cmdlet(VerbsLifecycle.Install, "ArchBase", SupportsShouldProcess = true, DefaultParameterSetName = ByWorkDirectory)]
[OutputType(typeof(ArchBuild))]
[SuppressMessage("Performance", "CA1819", Justification = "Cmdlet parameters are arrays.")]
public sealed class InstallArchBaseCommand : StepCmdlet
{
    /// <summary>More packages.</summary>
    [Parameter]
    [ValidateNotNull]
    public string[]? Package { get; set; }

    /// <summary>The image's locale, as /etc/locale.gen names it.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? Locale { get; set; }

    /// <summary>The image's time zone.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? TimeZone { get; set; }

    /// <summary>The keymap of the image's console.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? Keymap { get; set; }

    /// <summary>The kernel's package.</summary>
    [Parameter]
    [AllowEmptyString]
    [ValidateSet("linux", "linux-lts", "")]
    public string? Kernel { get; set; }

    /// <summary>Folders of your own layers.</summary>
    [Parameter]
    [ValidateNotNull]
    public string[]? Layer { get; set; }

    /// <inheritdoc/>
    protected override void Process() =>
        RunStep(StepName.Base, "Install Arch Linux into the target", new StepRequest { Parameters = GivenSettings(), Force = Force });
}
