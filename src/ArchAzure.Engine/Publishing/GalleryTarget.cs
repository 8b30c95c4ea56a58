using Azure;
using Azure.Core;
using Azure.ResourceManager;
using Azure.ResourceManager.Compute;
using Azure.ResourceManager.Compute.Models;

namespace ArchAzure.Publishing;

/// <summary>
/// A VHD as an image version in a Compute Gallery, by way of a managed disk; Azure copies it to all regions. The version's tag says which
/// VHD it is of, by digest. A version is never overwritten: machines may have been made of it.
/// </summary>
/// <remarks>https://learn.microsoft.com/azure/virtual-machines/azure-compute-gallery.</remarks>
/// <param name="client">Azure.</param>
/// <param name="access">Which Azure.</param>
/// <param name="subscriptionId">The subscription.</param>
/// <param name="image">The image version; it has been validated.</param>
/// <param name="request">What is asked of the publication.</param>
/// <param name="reporter">Is told.</param>
internal sealed class GalleryTarget(
    ArmClient client, AzureAccess access, string subscriptionId, GalleryRequest image, PublishRequest request, IReporter reporter)
{
    private readonly (string Gallery, string Definition, string Version) _names = image.Names;
    private readonly ManagedDiskTarget _disk = new(client, subscriptionId, image.Disk, request, reporter);
    private readonly string _what = $"The image version '{image.Image}' in '{image.ResourceGroup}'";

    /// <summary>The version's resource id.</summary>
    public string Id => VersionId.ToString();

    /// <summary>The disk's resource id.</summary>
    public string DiskId => _disk.Id;

    private ResourceIdentifier GroupId => GalleryId.Parent!;

    private ResourceIdentifier GalleryId => GalleryResource.CreateResourceIdentifier(subscriptionId, image.ResourceGroup, _names.Gallery);

    private ResourceIdentifier DefinitionId =>
        GalleryImageResource.CreateResourceIdentifier(subscriptionId, image.ResourceGroup, _names.Gallery, _names.Definition);

    private ResourceIdentifier VersionId => GalleryImageVersionResource.CreateResourceIdentifier(
        subscriptionId, image.ResourceGroup, _names.Gallery, _names.Definition, _names.Version);

    /// <summary>Makes the version and what it needs, and waits until it is in all regions.</summary>
    /// <param name="vhd">The VHD.</param>
    /// <param name="evidence">What is known of the image.</param>
    /// <param name="activity">For the progress.</param>
    /// <param name="cancellationToken">Stops it; a later run goes on.</param>
    /// <exception cref="ArchAzureException"><c>ImageVersionExists</c>, <c>ImageVersionFailed</c>, those of <see cref="ImageFeatures"/>, of
    /// <see cref="ManagedDiskTarget"/> and of <see cref="AzureErrors"/>.</exception>
    public Task<UploadReport> PublishAsync(VhdSource vhd, PublishEvidence evidence, string activity, CancellationToken cancellationToken) =>
        AzureErrors.ExplainAsync(_what, async () =>
        {
            var version = await FindAsync(
                () => client.GetGalleryImageVersionResource(VersionId).GetAsync(cancellationToken: cancellationToken));
            var isToBeMade = version is null || !IsThere(vhd, version.Data);
            var report = new UploadReport(vhd.DataBytes, 0);
            ArmOperation<GalleryImageVersionResource>? operation = null;
            if (isToBeMade)
            {
                // What may be refused comes before the upload, which may take hours.
                var definition = await DefinitionAsync(evidence, cancellationToken);
                report = await _disk.UploadAsync(vhd, evidence, activity, cancellationToken);
                operation = await definition.GetGalleryImageVersions()
                    .CreateOrUpdateAsync(WaitUntil.Started, _names.Version, VersionData(vhd), cancellationToken);
            }
            else
            {
                reporter.Information($"{_what} is made of this VHD already.");
            }

            await ReplicateAsync(operation, activity, cancellationToken);
            if (!isToBeMade && await AddRegionsAsync(cancellationToken) is { } addition)
            {
                await ReplicateAsync(addition, activity, cancellationToken);
            }

            if (!image.KeepDisk)
            {
                await _disk.DeleteAsync(vhd, cancellationToken);
            }

            return report;
        });

    /// <summary>Whether a version is of this VHD, or is becoming so.</summary>
    private bool IsThere(VhdSource vhd, GalleryImageVersionData version)
    {
        if (!version.Tags.TryGetValue(ManagedDiskTarget.DigestTag, out var digest) || digest != vhd.Digest
            || version.ProvisioningState == GalleryProvisioningState.Deleting)
        {
            throw new ArchAzureException(
                "ImageVersionExists",
                ErrorKind.ResourceBusy,
                $"{_what} is there already"
                + $"{(version.ProvisioningState == GalleryProvisioningState.Deleting ? " and is being deleted" : ", of another VHD")}. "
                + "Versions are never overwritten, not with -Force either: name the next version.",
                Id);
        }

        return version.ProvisioningState != GalleryProvisioningState.Failed;
    }

    private static async Task<T?> FindAsync<T>(Func<Task<Response<T>>> get)
        where T : class
    {
        try
        {
            return (await get()).Value;
        }
        catch (RequestFailedException e) when (e.ErrorCode is "ResourceNotFound" or "ParentResourceNotFound")
        {
            return null;
        }
    }

    /// <summary>The definition in its gallery; both are made where they are missing.</summary>
    private Task<GalleryImageResource> DefinitionAsync(PublishEvidence evidence, CancellationToken cancellationToken)
    {
        var what = $"The image definition '{_names.Gallery}/{_names.Definition}' in '{image.ResourceGroup}'";
        return AzureErrors.ExplainAsync(what, async () =>
        {
            var there = await FindAsync(() => client.GetGalleryImageResource(DefinitionId).GetAsync(cancellationToken));
            if (there is not null)
            {
                ImageFeatures.RequireTrue(what, there.Data, request.Generation, evidence);
                return there;
            }

            var gallery = await FindAsync(() => client.GetGalleryResource(GalleryId).GetAsync(cancellationToken: cancellationToken));
            if (gallery is null)
            {
                reporter.Information($"Making the gallery '{_names.Gallery}'.");
                gallery = (await client.GetResourceGroupResource(GroupId).GetGalleries().CreateOrUpdateAsync(
                    WaitUntil.Completed, _names.Gallery, new GalleryData(new AzureLocation(image.Location)), cancellationToken)).Value;
            }

            reporter.Information($"Making the image definition '{_names.Definition}'.");
            return (await gallery.GetGalleryImages().CreateOrUpdateAsync(
                WaitUntil.Completed, _names.Definition, DefinitionData(evidence), cancellationToken)).Value;
        });
    }

    private GalleryImageData DefinitionData(PublishEvidence evidence)
    {
        var data = new GalleryImageData(new AzureLocation(image.Location))
        {
            OSType = SupportedOperatingSystemType.Linux,
            OSState = OperatingSystemStateType.Generalized,
            HyperVGeneration = request.Generation == 1 ? HyperVGeneration.V1 : HyperVGeneration.V2,
            Architecture = ArchitectureType.X64,
            Identifier = new GalleryImageIdentifier(
                image.Publisher, image.Offer ?? _names.Definition, image.ImageSku ?? $"gen{request.Generation}"),
        };
        foreach (var (name, value) in ImageFeatures.Of(evidence))
        {
            data.Features.Add(new GalleryImageFeature { Name = name, Value = value });
        }

        return data;
    }

    private GalleryImageVersionData VersionData(VhdSource vhd)
    {
        var profile = new GalleryImageVersionPublishingProfile
        {
            EndOfLifeOn = image.EndOfLife, IsExcludedFromLatest = image.ExcludeFromLatest, ReplicaCount = image.Replicas,
        };
        AddRegions(profile, image.Regions);
        return new GalleryImageVersionData(new AzureLocation(image.Location))
        {
            PublishingProfile = profile,
            StorageProfile = new GalleryImageVersionStorageProfile
            {
                OSDiskImage = new GalleryOSDiskImage
                {
                    GallerySource = new GalleryDiskImageSource { Id = new ResourceIdentifier(_disk.Id) },
                },
            },
            Tags = { [ManagedDiskTarget.DigestTag] = vhd.Digest },
        };
    }

    /// <summary>Adds the regions that a version lacks, with as many replicas as a new one would get; null if it lacks none.</summary>
    private async Task<ArmOperation<GalleryImageVersionResource>?> AddRegionsAsync(CancellationToken cancellationToken)
    {
        var version = (await client.GetGalleryImageVersionResource(VersionId).GetAsync(cancellationToken: cancellationToken)).Value;
        var profile = version.Data.PublishingProfile;
        var missing = image.Regions.Except(profile.TargetRegions.Select(region => new AzureLocation(region.Name))).ToList();
        if (missing.Count == 0)
        {
            return null;
        }

        reporter.Information($"{_what} gets more regions: {string.Join(", ", missing)}.");
        AddRegions(profile, missing);
        return await version.UpdateAsync(
            WaitUntil.Started, new GalleryImageVersionPatch { PublishingProfile = profile }, cancellationToken);
    }

    private void AddRegions(GalleryImageVersionPublishingProfile profile, IEnumerable<AzureLocation> regions)
    {
        foreach (var region in regions)
        {
            profile.TargetRegions.Add(new TargetRegion(region.Name) { RegionalReplicaCount = image.Replicas });
        }
    }

    /// <summary>Waits until the version is in all regions, whoever has begun it.</summary>
    private async Task ReplicateAsync(
        ArmOperation<GalleryImageVersionResource>? operation, string activity, CancellationToken cancellationToken)
    {
        var version = client.GetGalleryImageVersionResource(VersionId);
        while (true)
        {
            if (operation is { HasCompleted: false })
            {
                // Throws Azure's error if it has failed.
                await operation.UpdateStatusAsync(cancellationToken);
            }

            var data = (await version.GetAsync(ReplicationStatusType.ReplicationStatus, cancellationToken)).Value.Data;
            var regions = data.ReplicationStatus?.Summary ?? [];
            if (regions.Count > 0)
            {
                reporter.Progress(new(
                    activity, $"replicating: {string.Join(", ", regions.Select(region => $"{region.Region} {region.Progress ?? 0} %"))}",
                    (int)regions.Average(region => region.Progress ?? 0)));
            }

            var broken = string.Join("; ", regions.Where(region => region.State == RegionalReplicationState.Failed)
                .Select(region => $"{region.Region}: {region.Details?.TrimEnd('.')}"));
            if (data.ProvisioningState == GalleryProvisioningState.Succeeded)
            {
                if (broken.Length > 0)
                {
                    reporter.Warning($"{_what} is not in all regions: {broken}. Azure may repair that itself: az sig image-version show.");
                }

                return;
            }

            if (data.ProvisioningState == GalleryProvisioningState.Failed)
            {
                throw new ArchAzureException(
                    "ImageVersionFailed",
                    ErrorKind.ResourceUnavailable,
                    $"{_what} could not be made: {(broken.Length > 0 ? broken : "Azure does not say why")}. The disk is kept: "
                    + "run the command again, with other regions if need be.",
                    Id);
            }

            await Task.Delay(access.PollInterval, cancellationToken);
        }
    }
}
