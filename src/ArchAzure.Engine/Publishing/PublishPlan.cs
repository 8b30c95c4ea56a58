namespace ArchAzure.Publishing;

/// <summary>What a publication would do, in lines for -WhatIf and -Confirm. Nothing is asked of Azure for them.</summary>
internal static class PublishPlan
{
    /// <summary>For a managed disk.</summary>
    /// <param name="request">What is asked.</param>
    /// <param name="disk">The disk.</param>
    /// <param name="evidence">What is known of the image.</param>
    /// <exception cref="ArchAzureException">Those of <see cref="DiskRequest.Validate"/>, and the VHD is not there.</exception>
    public static IReadOnlyList<string> Of(PublishRequest request, DiskRequest disk, PublishEvidence evidence)
    {
        disk.Validate(request.Generation);
        var length = Vhd.FixedVhd.ReadFooter(request.VhdPath).CurrentSize;
        return
        [
            $"Make the managed disk '{disk.Name}' in the resource group '{disk.ResourceGroup}', {disk.Location}: {length >> 20} MiB, "
                + $"{disk.Sku}, Linux, generation {request.Generation}, x64, "
                + $"security type {(disk.TrustedLaunch ? "TrustedLaunch" : "Standard")}, "
                + $"accelerated networking {(evidence.AcceleratedNetworking ? "yes" : "not shown")}"
                + (request.Force ? "; a disk of that name that nothing uses is deleted before" : ""),
            $"Send the data of '{request.VhdPath}' to it, and revoke the access",
        ];
    }

    /// <summary>For an image version.</summary>
    /// <param name="request">What is asked.</param>
    /// <param name="image">The image version.</param>
    /// <param name="evidence">What is known of the image.</param>
    /// <exception cref="ArchAzureException">Those of <see cref="GalleryRequest.Validate"/>, and the VHD is not there.</exception>
    public static IReadOnlyList<string> Of(PublishRequest request, GalleryRequest image, PublishEvidence evidence)
    {
        image.Validate(request.Generation);
        var (gallery, definition, version) = image.Names;
        var features = string.Join(", ", ImageFeatures.Of(evidence).Select(feature => $"{feature.Name}={feature.Value}"));
        List<string> lines =
        [
            $"Make the gallery '{gallery}' in the resource group '{image.ResourceGroup}', {image.Location}, if it is missing",
            $"Make the image definition '{definition}', if it is missing: {image.Publisher}, {image.Offer ?? definition}, "
                + $"{image.ImageSku ?? $"gen{request.Generation}"}; Linux, Generalized, generation {request.Generation}, x64; {features}",
            .. Of(request, image.Disk, evidence),
            $"Make the image version '{version}' of that disk in {string.Join(", ", image.Regions.Select(region => region.Name))}, with "
                + $"{image.Replicas} {(image.Replicas == 1 ? "replica" : "replicas")} each"
                + (image.ExcludeFromLatest ? ", excluded from latest" : "")
                + (image.EndOfLife is { } end ? $", end of life {end:u}" : ""),
        ];
        if (!image.KeepDisk)
        {
            lines.Add($"Delete the managed disk '{image.Disk.Name}'");
        }

        return lines;
    }
}
