using System.Management.Automation;
using ArchAzure.Builds;
using ArchAzure.Steps;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Step 1: downloads and verifies an Arch release and makes the builder of it.</summary>
[Cmdlet(VerbsCommon.New, "ArchBootstrap", SupportsShouldProcess = true, DefaultParameterSetName = ByWorkDirectory)]
[OutputType(typeof(ArchBuild))]
public sealed class NewArchBootstrapCommand : StepCmdlet
{
    /// <summary>A settings file; it is copied into the work directory.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? Settings { get; set; }

    /// <summary>The release: latest, or its date as YYYY.MM.DD.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? Version { get; set; }

    /// <summary>The package mirror, with $repo and $arch in it.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? Mirror { get; set; }

    /// <summary>The day, as YYYY.MM.DD, whose packages and bootstrap the archive gives; empty for today's from the mirror again.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? Snapshot { get; set; }

    /// <summary>Build a byte-identical VHD from the same settings. Needs a snapshot.</summary>
    [Parameter]
    public SwitchParameter Reproducible { get; set; }

    /// <summary>What the identities of a reproducible build are made from: any word.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? Seed { get; set; }

    /// <summary>The release server's folder that holds latest/.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? ReleaseUrl { get; set; }

    /// <summary>An OpenPGP public key file to check the release with, instead of Arch's own.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? ReleaseKey { get; set; }

    /// <summary>A bootstrap archive that is here already; its signature lies beside it.</summary>
    [Parameter]
    [AllowEmptyString]
    public string? BootstrapPath { get; set; }

    /// <inheritdoc/>
    protected override void Process() => RunStep(
        StepName.Bootstrap,
        "Download and verify Arch's bootstrap, make the builder image",
        new StepRequest { Parameters = GivenSettings(), Force = Force, SettingsPath = Settings is null ? null : FilePath(Settings) });
}
