using System.Management.Automation;
using System.Net;
using System.Security;
using ArchAzure.Publishing;
using ArchAzure.SimulatedAzure;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Brings a VHD to Azure.</summary>
[Cmdlet(VerbsData.Publish, "AzureVhd", SupportsShouldProcess = true, DefaultParameterSetName = ByBlob)]
[OutputType(typeof(PublishedVhd))]
public sealed class PublishAzureVhdCommand : EngineCmdlet
{
    private const string ByBlob = "Blob";

    private readonly List<string> _paths = [];
    /// <summary>A fixed VHD; it is only read.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ValueFromPipelineByPropertyName = true)]
    [Alias("VhdPath", "PSPath", "LiteralPath")]
    [ValidateNotNullOrEmpty]
    public string Path { get; set; } = "";

    /// <summary>A boot of the VHD by Test-AzureVhd.</summary>
    [Parameter(ValueFromPipeline = true)]
    [ValidateNotNull]
    public BootReport? Boot { get; set; }

    /// <summary>The page blob to make.</summary>
    [Parameter(Mandatory = true, ParameterSetName = ByBlob)]
    [ValidateNotNull]
    public Uri BlobUri { get; set; } = null!;

    /// <summary>The storage account's connection string.</summary>
    [Parameter(ParameterSetName = ByBlob)]
    [ValidateNotNull]
    public SecureString? ConnectionString { get; set; }

    /// <summary>The generation of virtual machines: 1 (BIOS) or 2 (UEFI).</summary>
    [Parameter]
    [ValidateSet("1", "2")]
    public int Generation { get; set; } = 2;

    /// <summary>What is checked of the upload.</summary>
    [Parameter]
    public UploadVerification Verify { get; set; }

    /// <summary>Publish it although rules of Test-AzureVhd fail.</summary>
    [Parameter]
    public SwitchParameter SkipTest { get; set; }

    /// <summary>Overwrite something else in its place.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        var path = FilePath(Path);
        if (Boot is { Passed: false } && !SkipTest)
        {
            ThrowTerminatingError(ErrorRecords.From(new ArchAzureException(
                "VhdNotReady",
                ErrorKind.InvalidData,
                $"'{path}' did not start in generation {Boot.Generation}: {Boot.Error} -SkipTest publishes it all the same.",
                path)));
        }

        if (!_paths.Contains(path))
        {
            _paths.Add(path);
        }
    }

    /// <inheritdoc/>
    protected override void Finish()
    {
        if (_paths is not [var path])
        {
            if (_paths.Count > 1)
            {
                ThrowTerminatingError(ErrorRecords.From(new ArchAzureException(
                    "TooManyVhds",
                    ErrorKind.InvalidInput,
                    $"{_paths.Count} VHDs were given, but there is one place for one: '{_paths[0]}', '{_paths[1]}'. Publish them one by one.")));
            }

            return;
        }

        var request = new PublishRequest
        {
            VhdPath = path, Generation = Generation, SkipTest = SkipTest, Force = Force, Upload = new UploadOptions { Verification = Verify },
        };
        if (!ShouldProcess($"{BlobUri.GetLeftPart(UriPartial.Path)}", $"Send '{path}'"))
        {
            return;
        }

        // The Azure CLI's own variable.
        var connection = ConnectionString is null
            ? Environment.GetEnvironmentVariable("AZURE_STORAGE_CONNECTION_STRING") is { Length: > 0 } set ? set : null
            : new NetworkCredential("", ConnectionString).Password;
        var published = Run((reporter, token) => VhdPublisher.ToBlobAsync(request, BlobUri, connection, reporter, token));
        WriteObject(published);
    }
}
