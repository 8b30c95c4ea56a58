using Azure.Core;
using Azure.Storage.Blobs;
using Azure.Storage.Blobs.Specialized;

namespace ArchAzure.Publishing;

/// <summary>The address of a blob, and by which right it is written.</summary>
internal static class BlobAddress
{
    /// <summary>Makes the client; nothing is asked yet.</summary>
    /// <param name="address">The blob's address, with a shared access signature or without.</param>
    /// <param name="connectionString">The storage account's, or null.</param>
    /// <param name="credential">Used if neither of them gives a right.</param>
    /// <param name="options">The client's options.</param>
    /// <exception cref="ArchAzureException"><c>BlobUriInvalid</c>, <c>ConnectionStringInvalid</c> or <c>WrongAccount</c>.</exception>
    public static PageBlobClient Open(Uri address, string? connectionString, Func<TokenCredential> credential, BlobClientOptions options)
    {
        if (!address.IsAbsoluteUri
            || (address.Scheme != Uri.UriSchemeHttps && !(address.Scheme == Uri.UriSchemeHttp && address.IsLoopback)))
        {
            throw Invalid(address, "begins with https://");
        }

        var parts = new BlobUriBuilder(address);
        if (parts.BlobContainerName.Length == 0 || parts.BlobName.Length == 0)
        {
            throw Invalid(address, "names an account, a container and a blob");
        }

        if (parts.Sas is not null)
        {
            return new PageBlobClient(address, options);
        }

        if (connectionString is null)
        {
            return new PageBlobClient(address, credential(), options);
        }

        PageBlobClient client;
        try
        {
            client = new PageBlobClient(connectionString, parts.BlobContainerName, parts.BlobName, options);
        }
        catch (Exception e) when (e is FormatException or ArgumentException or InvalidOperationException)
        {
            throw new ArchAzureException(
                "ConnectionStringInvalid",
                ErrorKind.InvalidInput,
                "The connection string is none of a storage account. Copy it whole: az storage account show-connection-string.",
                AzureErrors.Plain(address));
        }

        return AzureErrors.Plain(client.Uri) == AzureErrors.Plain(address)
            ? client
            : throw new ArchAzureException(
                "WrongAccount",
                ErrorKind.InvalidInput,
                $"The connection string is of '{client.Uri.Host}', the blob's address of '{address.Host}'. Use those of one account.",
                AzureErrors.Plain(address));
    }

    private static ArchAzureException Invalid(Uri address, string want)
    {
        var shown = address.IsAbsoluteUri ? AzureErrors.Plain(address) : AzureErrors.Mask(address.OriginalString);
        return new ArchAzureException(
            "BlobUriInvalid",
            ErrorKind.InvalidInput,
            $"'{shown}' is not the address of a blob: it {want}, as https://ACCOUNT.blob.core.windows.net/CONTAINER/NAME.vhd.",
            shown);
    }
}
