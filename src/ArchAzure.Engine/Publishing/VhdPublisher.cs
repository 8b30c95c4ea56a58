using System.Diagnostics;
using ArchAzure.Readiness;
using Azure.Core;
using Azure.Identity;

namespace ArchAzure.Publishing;

/// <summary>What is asked of a publication, wherever it goes.</summary>
internal sealed record PublishRequest
{
    /// <summary>The VHD.</summary>
    public required string VhdPath { get; init; }

    /// <summary>The generation of virtual machines it is for: 1 or 2.</summary>
    public int Generation { get; init; } = 2;

    /// <summary>Whether it is sent although rules of Test-AzureVhd failed, or without asking them.</summary>
    public bool SkipTest { get; init; }

    /// <summary>Whether something else in its place is overwritten.</summary>
    public bool Force { get; init; }

    /// <summary>Whether a boot has shown that it starts from NVMe.</summary>
    public bool StartedFromNvme { get; init; }

    /// <summary>What <see cref="VhdPublisher.TestAsync"/> has found; null if it is still to be asked.</summary>
    public PublishEvidence? Evidence { get; init; }

    /// <summary>How it is sent.</summary>
    public UploadOptions Upload { get; init; } = new();
}

/// <summary>Brings a VHD to Azure.</summary>
internal static class VhdPublisher
{
    /// <summary>The cmdlet's name, in progress.</summary>
    public const string Activity = "Publish-AzureVhd";

    /// <summary>As a page blob.</summary>
    /// <param name="request">What is asked.</param>
    /// <param name="address">The blob's address, with a shared access signature or without.</param>
    /// <param name="connectionString">The storage account's, or null.</param>
    /// <param name="reporter">Is told.</param>
    /// <param name="cancellationToken">Stops it; a later run goes on.</param>
    /// <exception cref="ArchAzureException">The VHD is none that Azure takes (see <see cref="VhdSource.OpenAsync"/>, <c>VhdNotReady</c>),
    /// the address is wrong (<see cref="BlobAddress"/>), Azure refuses (<see cref="BlobTarget"/>).</exception>
    public static async Task<PublishedVhd> ToBlobAsync(
        PublishRequest request, Uri address, string? connectionString, IReporter reporter, CancellationToken cancellationToken)
    {
        var blob = BlobAddress.Open(address, connectionString, Credential, request.Upload.ForBlobs(reporter.Verbose));
        var plain = AzureErrors.Plain(blob.Uri);
        var published = await PublishAsync(
            request,
            (vhd, _) => new BlobTarget(blob, request.Upload, reporter).UploadAsync(vhd, request.Force, Activity, cancellationToken),
            NextSteps.OfBlob(plain, request.VhdPath, request.Generation),
            reporter,
            cancellationToken);
        return published with { BlobUri = new Uri(plain) };
    }

    /// <summary>As a managed disk.</summary>
    /// <param name="request">What is asked.</param>
    /// <param name="access">Which Azure, and as whom.</param>
    /// <param name="disk">The disk.</param>
    /// <param name="reporter">Is told.</param>
    /// <param name="cancellationToken">Stops it; a later run goes on.</param>
    /// <exception cref="ArchAzureException">What is asked for cannot be (<see cref="DiskRequest.Validate"/>), the VHD is none that Azure
    /// takes (see <see cref="VhdSource.OpenAsync"/>, <c>VhdNotReady</c>), Azure refuses (<see cref="ManagedDiskTarget"/>).</exception>
    public static async Task<PublishedVhd> ToDiskAsync(
        PublishRequest request, AzureAccess access, DiskRequest disk, IReporter reporter, CancellationToken cancellationToken)
    {
        disk.Validate(request.Generation);
        var client = access.Open(request.Upload, reporter.Verbose);
        var target = new ManagedDiskTarget(client, await access.SubscriptionIdAsync(client, cancellationToken), disk, request, reporter);
        var published = await PublishAsync(
            request,
            (vhd, evidence) => target.UploadAsync(vhd, evidence, Activity, cancellationToken),
            NextSteps.OfDisk(target.Id, disk, request.Generation),
            reporter,
            cancellationToken);
        return published with { DiskId = target.Id };
    }

    /// <summary>As an image version in a Compute Gallery.</summary>
    /// <param name="request">What is asked.</param>
    /// <param name="access">Which Azure, and as whom.</param>
    /// <param name="image">The image version.</param>
    /// <param name="reporter">Is told.</param>
    /// <param name="cancellationToken">Stops it; a later run goes on.</param>
    /// <exception cref="ArchAzureException">What is asked for cannot be (<see cref="GalleryRequest.Validate"/>), the VHD is none that
    /// Azure takes (see <see cref="VhdSource.OpenAsync"/>, <c>VhdNotReady</c>), Azure refuses (<see cref="GalleryTarget"/>).</exception>
    public static async Task<PublishedVhd> ToGalleryAsync(
        PublishRequest request, AzureAccess access, GalleryRequest image, IReporter reporter, CancellationToken cancellationToken)
    {
        image.Validate(request.Generation);
        var client = access.Open(request.Upload, reporter.Verbose);
        var target = new GalleryTarget(
            client, access, await access.SubscriptionIdAsync(client, cancellationToken), image, request, reporter);
        var published = await PublishAsync(
            request,
            (vhd, evidence) => target.PublishAsync(vhd, evidence, Activity, cancellationToken),
            NextSteps.OfImageVersion(target.Id, image),
            reporter,
            cancellationToken);
        return published with { ImageVersionId = target.Id, DiskId = image.KeepDisk ? target.DiskId : null };
    }

    /// <summary>Whoever is signed in: environment, workload or managed identity, Azure CLI, Az PowerShell, ...</summary>
    /// <remarks>https://learn.microsoft.com/dotnet/azure/sdk/authentication/credential-chains</remarks>
    private static TokenCredential Credential() => new DefaultAzureCredential();

    /// <summary>Refuses a VHD that fails a rule of Test-AzureVhd for its generation, and returns what the rules have shown.</summary>
    /// <exception cref="ArchAzureException"><c>VhdNotReady</c>, and those of <see cref="ReadinessCheck"/>.</exception>
    public static async Task<PublishEvidence> TestAsync(PublishRequest request, IReporter reporter, CancellationToken cancellationToken)
    {
        if (request.SkipTest)
        {
            return new PublishEvidence();
        }

        var results = await ReadinessCheck.RunAsync(
            request.VhdPath, new ReadinessOptions { Generation = request.Generation }, reporter, cancellationToken);
        var failed = results.Where(result => result.Verdict == ReadinessOutcome.Failed).Select(result => result.Rule).ToList();
        if (failed.Count > 0)
        {
            throw new ArchAzureException(
                "VhdNotReady",
                ErrorKind.InvalidData,
                $"'{request.VhdPath}' fails {failed.Count} of the rules of Test-AzureVhd for generation {request.Generation}: "
                + $"{string.Join(", ", failed)}. Test-AzureVhd says what to do; -SkipTest publishes it all the same.",
                request.VhdPath);
        }

        var unknown = results.Count(result => result.Verdict == ReadinessOutcome.Unknown);
        if (unknown > 0)
        {
            reporter.Warning(
                $"{unknown} of the rules of Test-AzureVhd could not look into '{request.VhdPath}': whether it starts is not known.");
        }

        return PublishEvidence.Of(results, request.StartedFromNvme);
    }

    /// <summary>Tests, opens and sends the VHD.</summary>
    private static async Task<PublishedVhd> PublishAsync(
        PublishRequest request, Func<VhdSource, PublishEvidence, Task<UploadReport>> send, IReadOnlyList<string> nextSteps,
        IReporter reporter, CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        var evidence = request.Evidence ?? await TestAsync(request, reporter, cancellationToken);
        reporter.Progress(new(Activity, $"reading {Path.GetFileName(request.VhdPath)}"));
        try
        {
            using var vhd = await VhdSource.OpenAsync(request.VhdPath, cancellationToken);
            var report = await send(vhd, evidence);
            return new PublishedVhd
            {
                VhdPath = vhd.Path,
                Digest = vhd.Digest,
                DataBytes = report.DataBytes,
                SentBytes = report.SentBytes,
                Elapsed = clock.Elapsed,
                NextSteps = nextSteps,
            };
        }
        finally
        {
            reporter.Progress(new(Activity, "done", Completed: true));
        }
    }
}
