namespace ArchAzure.Publishing;

/// <summary>What Publish-AzureVhd has made in Azure.</summary>
public sealed record PublishedVhd
{
    /// <summary>The VHD.</summary>
    public required string VhdPath { get; init; }

    /// <summary>The VHD's fs-verity digest, 64 hexadecimal digits; what it became in Azure has it in its metadata or tags.</summary>
    public required string Digest { get; init; }

    /// <summary>The data in the VHD, in bytes.</summary>
    public required long DataBytes { get; init; }

    /// <summary>What this run had to send of it; 0 if all was there.</summary>
    public required long SentBytes { get; init; }

    /// <summary>How long it took.</summary>
    public required TimeSpan Elapsed { get; init; }

    /// <summary>The page blob, without any signature; null if there is none.</summary>
    public Uri? BlobUri { get; init; }

    /// <summary>The managed disk's resource id; null if there is none.</summary>
    public string? DiskId { get; init; }

    /// <summary>The resource id of the gallery's image version; null if there is none.</summary>
    public string? ImageVersionId { get; init; }

    /// <summary>The commands that make a virtual machine of it, for the Azure CLI and for Az PowerShell.</summary>
    public required IReadOnlyList<string> NextSteps { get; init; }
}
