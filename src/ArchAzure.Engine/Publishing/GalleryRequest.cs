using Azure.Core;

namespace ArchAzure.Publishing;

/// <summary>An image version in a Compute Gallery that is to be made of a VHD.</summary>
internal sealed record GalleryRequest
{
    /// <summary>gallery/definition/version.</summary>
    public required string Image { get; init; }

    /// <summary>The resource group of the gallery; it must exist.</summary>
    public required string ResourceGroup { get; init; }

    /// <summary>The region of what is made; the image is always there too.</summary>
    public required string Location { get; init; }

    /// <summary>More regions that get the image.</summary>
    public IReadOnlyList<string> TargetRegions { get; init; } = [];

    /// <summary>Copies in each region: about one for each 20 machines that start at the same time.</summary>
    public int Replicas { get; init; } = 1;

    /// <summary>When the version is out of date; null for never.</summary>
    public DateTimeOffset? EndOfLife { get; init; }

    /// <summary>Whether who asks for the latest version gets another one.</summary>
    public bool ExcludeFromLatest { get; init; }

    /// <summary>The publisher of a new definition.</summary>
    public string Publisher { get; init; } = "ArchAzure";

    /// <summary>The offer of a new definition; null for the definition's name.</summary>
    public string? Offer { get; init; }

    /// <summary>The SKU of a new definition; null for gen1 or gen2.</summary>
    public string? ImageSku { get; init; }

    /// <summary>Whether the managed disk that the version is made from stays.</summary>
    public bool KeepDisk { get; init; }

    /// <summary>The names in <see cref="Image"/>.</summary>
    public (string Gallery, string Definition, string Version) Names => AzureNames.GalleryImage(Image);

    /// <summary>All regions, each once.</summary>
    public IReadOnlyList<AzureLocation> Regions =>
        [.. TargetRegions.Prepend(Location).Select(region => new AzureLocation(region)).Distinct()];

    /// <summary>The disk that the version is made from.</summary>
    public DiskRequest Disk
    {
        get
        {
            var (_, definition, version) = Names;
            var most = AzureNames.LongestDisk - 1 - version.Length;
            return new DiskRequest
            {
                Name = $"{(definition.Length > most ? definition[..most] : definition)}-{version}",
                ResourceGroup = ResourceGroup,
                Location = Location,
            };
        }
    }

    /// <summary>Refuses what Azure would refuse, before anything is asked of it.</summary>
    /// <exception cref="ArchAzureException"><c>NameInvalid</c>, <c>GalleryImageInvalid</c>, <c>ReplicasInvalid</c> or
    /// <c>EndOfLifePassed</c>.</exception>
    public void Validate(int generation)
    {
        Disk.Validate(generation);
        foreach (var region in TargetRegions)
        {
            AzureNames.Region(region);
        }

        AzureNames.ImagePart(Publisher, "publisher");
        AzureNames.ImagePart(Offer ?? Names.Definition, "offer");
        AzureNames.ImagePart(ImageSku ?? "gen", "SKU");
        if (Replicas is < 1 or > 100)
        {
            throw new ArchAzureException(
                "ReplicasInvalid", ErrorKind.InvalidInput, $"{Replicas} replicas in a region: Azure takes 1 to 100.", Replicas);
        }

        if (EndOfLife < DateTimeOffset.UtcNow)
        {
            throw new ArchAzureException(
                "EndOfLifePassed", ErrorKind.InvalidInput, $"The end of life, {EndOfLife:u}, has passed. Name a time to come.", EndOfLife);
        }
    }
}
