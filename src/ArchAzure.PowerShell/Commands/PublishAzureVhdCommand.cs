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
    private const string ByDisk = "Disk";
    private const string ByGallery = "Gallery";

    private readonly List<string> _paths = [];
    private bool _startedFromNvme;

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

    /// <summary>The managed disk to make.</summary>
    [Parameter(Mandatory = true, ParameterSetName = ByDisk)]
    [ValidateNotNullOrEmpty]
    public string DiskName { get; set; } = "";

    /// <summary>The image version to make, as gallery/definition/version.</summary>
    [Parameter(Mandatory = true, ParameterSetName = ByGallery)]
    [ValidateNotNullOrEmpty]
    public string GalleryImage { get; set; } = "";

    /// <summary>The resource group.</summary>
    [Parameter(Mandatory = true, ParameterSetName = ByDisk)]
    [Parameter(Mandatory = true, ParameterSetName = ByGallery)]
    [ValidateNotNullOrEmpty]
    public string ResourceGroup { get; set; } = "";

    /// <summary>The region.</summary>
    [Parameter(Mandatory = true, ParameterSetName = ByDisk)]
    [Parameter(Mandatory = true, ParameterSetName = ByGallery)]
    [ValidateNotNullOrEmpty]
    public string Location { get; set; } = "";

    /// <summary>The subscription, by id or name.</summary>
    [Parameter(ParameterSetName = ByDisk)]
    [Parameter(ParameterSetName = ByGallery)]
    [ValidateNotNullOrEmpty]
    public string? Subscription { get; set; }

    /// <summary>The cloud.</summary>
    [Parameter(ParameterSetName = ByDisk)]
    [Parameter(ParameterSetName = ByGallery)]
    [ValidateSet("AzureCloud", "AzureChinaCloud", "AzureUSGovernment")]
    public string Environment { get; set; } = "AzureCloud";

    /// <summary>The disk's kind of storage.</summary>
    [Parameter(ParameterSetName = ByDisk)]
    [ValidateSet("Standard_LRS", "StandardSSD_LRS", "StandardSSD_ZRS", "Premium_LRS", "Premium_ZRS")]
    public string Sku { get; set; } = "Standard_LRS";

    /// <summary>The security type of machines that are made of the disk.</summary>
    [Parameter(ParameterSetName = ByDisk)]
    [ValidateSet("Standard", "TrustedLaunch")]
    public string SecurityType { get; set; } = "Standard";

    /// <summary>More regions that get the image.</summary>
    [Parameter(ParameterSetName = ByGallery)]
    [ValidateNotNullOrEmpty]
    public string[]? TargetRegion { get; set; }

    /// <summary>Copies of the image in each region.</summary>
    [Parameter(ParameterSetName = ByGallery)]
    public int Replica { get; set; } = 1;

    /// <summary>When the version is out of date.</summary>
    [Parameter(ParameterSetName = ByGallery)]
    public DateTime EndOfLife { get; set; }

    /// <summary>Who asks for the latest version gets another one.</summary>
    [Parameter(ParameterSetName = ByGallery)]
    public SwitchParameter ExcludeFromLatest { get; set; }

    /// <summary>The publisher of a new definition.</summary>
    [Parameter(ParameterSetName = ByGallery)]
    [ValidateNotNullOrEmpty]
    public string Publisher { get; set; } = "ArchAzure";

    /// <summary>The offer of a new definition.</summary>
    [Parameter(ParameterSetName = ByGallery)]
    [ValidateNotNullOrEmpty]
    public string? Offer { get; set; }

    /// <summary>The SKU of a new definition.</summary>
    [Parameter(ParameterSetName = ByGallery)]
    [ValidateNotNullOrEmpty]
    public string? ImageSku { get; set; }

    /// <summary>Keep the managed disk that the version is made from.</summary>
    [Parameter(ParameterSetName = ByGallery)]
    public SwitchParameter KeepDisk { get; set; }

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

        _startedFromNvme |= Boot is { Passed: true, DiskController: DiskController.NVMe };
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
                    $"{_paths.Count} VHDs were given, but there is one place for one: '{_paths[0]}', '{_paths[1]}'. "
                    + "Publish them one by one.")));
            }

            return;
        }

        var request = new PublishRequest
        {
            VhdPath = path, Generation = Generation, SkipTest = SkipTest, Force = Force, 
            StartedFromNvme = _startedFromNvme,
            Upload = new UploadOptions { Verification = Verify },
        };
        if (ParameterSetName == ByBlob)
        {
            ToBlob(request);
        }
        else
        {
            // What it shows is a part of what -WhatIf tells.
            ToResourceManager(request with { Evidence = Run((reporter, token) => VhdPublisher.TestAsync(request, reporter, token)) });
        }
    }

    private void ToBlob(PublishRequest request)
    {
        if (!ShouldProcess($"{BlobUri.GetLeftPart(UriPartial.Path)}", $"Send '{request.VhdPath}'"))
        {
            return;
        }

        // The Azure CLI's own variable.
        var connection = ConnectionString is null
            ? System.Environment.GetEnvironmentVariable("AZURE_STORAGE_CONNECTION_STRING") is { Length: > 0 } set ? set : null
            : new NetworkCredential("", ConnectionString).Password;
        WriteObject(Run((reporter, token) => VhdPublisher.ToBlobAsync(request, BlobUri, connection, reporter, token)));
    }

    private void ToResourceManager(PublishRequest request)
    {
        var disk = new DiskRequest
        {
            Name = DiskName, ResourceGroup = ResourceGroup, Location = Location, Sku = Sku, TrustedLaunch = SecurityType == "TrustedLaunch",
        };
        var image = new GalleryRequest
        {
            Image = GalleryImage,
            ResourceGroup = ResourceGroup,
            Location = Location,
            TargetRegions = TargetRegion ?? [],
            Replicas = Replica,
            EndOfLife = EndOfLife == default ? null : new DateTimeOffset(EndOfLife),
            ExcludeFromLatest = ExcludeFromLatest,
            Publisher = Publisher,
            Offer = Offer,
            ImageSku = ImageSku,
            KeepDisk = KeepDisk,
        };
        var isDisk = ParameterSetName == ByDisk;
        var plan = Run(() => isDisk ? PublishPlan.Of(request, disk, request.Evidence!) : PublishPlan.Of(request, image, request.Evidence!));
        var lines = $"Publish '{request.VhdPath}':" + string.Concat(plan.Select(line => $"\n  {line}."));
        if (!ShouldProcess(lines, lines + "\nGo on?", "Publish-AzureVhd"))
        {
            return;
        }

        var access = AzureAccess.SignedIn(Environment, Subscription);
        WriteObject(Run((reporter, token) => isDisk
            ? VhdPublisher.ToDiskAsync(request, access, disk, reporter, token)
            : VhdPublisher.ToGalleryAsync(request, access, image, reporter, token)));
    }
}
