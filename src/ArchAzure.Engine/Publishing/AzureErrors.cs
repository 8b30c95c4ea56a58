using System.Globalization;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Azure;
using Azure.Identity;
using Azure.Storage.Blobs;

namespace ArchAzure.Publishing;

/// <summary>Azure's errors, in words that name the thing, the reason and the remedy. Never a secret: signatures are masked.</summary>
internal static partial class AzureErrors
{
    /// <summary>How wrong a clock may be before it is told; Azure refuses at 15 minutes.</summary>
    private static readonly TimeSpan s_wrongClock = TimeSpan.FromMinutes(5);

    /// <summary>Does something in Azure; what Azure or the SDK throws becomes an error of ours.</summary>
    /// <param name="what">What it is about, as in "The blob 'https://...'".</param>
    /// <param name="work">The work.</param>
    /// <param name="known">Errors that mean something else here, by Azure's code; null for none.</param>
    public static async Task<T> ExplainAsync<T>(
        string what, Func<Task<T>> work, Func<RequestFailedException, ArchAzureException?>? known = null)
    {
        try
        {
            return await work();
        }
        catch (Exception e) when (e is RequestFailedException or AggregateException or AuthenticationFailedException)
        {
            // The SDK's retries end in all the attempts' errors; the last one says what it is now.
            throw Explain(what, e is AggregateException { InnerExceptions: [.., var last] } ? last : e, known);
        }
    }

    /// <summary>A text without the signatures of shared access signatures, account keys and tokens.</summary>
    public static string Mask(string text) => Secret().Replace(text, "$1***");

    /// <summary>An address without its query, where a signature may be.</summary>
    public static string Plain(Uri address) => address.GetLeftPart(UriPartial.Path);

    private static ArchAzureException Explain(string what, Exception e, Func<RequestFailedException, ArchAzureException?>? known)
    {
        return e switch
        {
            RequestFailedException refused => known?.Invoke(refused) ?? Refused(what, refused),
            CredentialUnavailableException => new(
                "NoCredential",
                ErrorKind.PermissionDenied,
                $"{what}: there is no credential for Azure here. Sign in with 'az login' or Connect-AzAccount, set AZURE_CLIENT_ID, "
                + "AZURE_TENANT_ID and AZURE_CLIENT_SECRET, or use a managed identity; for a blob also a shared access signature or "
                + "-ConnectionString.",
                what,
                e),
            AuthenticationFailedException failed => new(
                "SignInFailed",
                ErrorKind.PermissionDenied,
                $"{what}: signing in to Azure failed: {Mask(FirstLine(failed.Message))} Sign in again ('az login', "
                + "Connect-AzAccount), or check the AZURE_ variables.",
                what,
                e),
            _ => NotReached(what, e),
        };
    }

    /// <summary>That a shared access signature has ended or not begun, by the server's clock. Azure's code does not tell it from a wrong
    /// one.</summary>
    /// <param name="address">The address with the signature.</param>
    /// <param name="e">Azure's error.</param>
    public static ArchAzureException? OutOfTime(Uri address, RequestFailedException e)
    {
        if (e.ErrorCode != "AuthenticationFailed" || new BlobUriBuilder(address).Sas is not { } sas || ClockError(e) is not null)
        {
            return null;
        }

        var now = e.GetRawResponse()?.Headers.Date ?? DateTimeOffset.UtcNow;
        var when = sas.ExpiresOn != default && sas.ExpiresOn <= now ? $"ended at {sas.ExpiresOn:u}"
            : sas.StartsOn > now ? $"begins at {sas.StartsOn:u}" : null;
        return when is null
            ? null
            : new(
                "SasExpired",
                ErrorKind.PermissionDenied,
                $"The shared access signature for '{Plain(address)}' {when}. Make a new one: az storage blob generate-sas.",
                Plain(address),
                e);
    }

    /// <summary>That the host of a blob has no address: each storage account has a host of its own.</summary>
    /// <param name="address">The blob's address.</param>
    /// <param name="e">The SDK's error.</param>
    public static ArchAzureException? NoSuchAccount(Uri address, RequestFailedException e) =>
        e.GetBaseException() is SocketException { SocketErrorCode: SocketError.HostNotFound or SocketError.NoData }
            ? new(
                "AccountNotFound",
                ErrorKind.NotFound,
                $"The blob '{Plain(address)}': there is no such host. Check the name of the storage account, and the network (DNS, "
                + "HTTPS_PROXY).",
                Plain(address),
                e)
            : null;

    private static ArchAzureException Refused(string what, RequestFailedException e)
    {
        if (e.Status == 0)
        {
            return NotReached(what, e);
        }

        var code = e.ErrorCode ?? e.Status.ToString(CultureInfo.InvariantCulture);
        var (id, kind, text) = code switch
        {
            "AuthenticationFailed" or "InvalidAuthenticationInfo" when ClockError(e) is { } clock =>
                ("ClockWrong", ErrorKind.PermissionDenied, $"this machine's clock is wrong: {clock}. Set the clock, for example with NTP."),
            "InvalidAuthenticationToken" or "InvalidAuthenticationTokenTenant" or "ExpiredAuthenticationToken" =>
                ("SignInFailed", ErrorKind.PermissionDenied,
                    $"{FirstLine(e.Message)} Sign in again, to the tenant of the subscription: az login --tenant TENANT, or "
                    + "Connect-AzAccount."),
            "AuthenticationFailed" =>
                ("AuthenticationFailed", ErrorKind.PermissionDenied,
                    "Azure does not accept the key or signature. Was it made for this account and blob, and copied whole (with "
                    + "quotes around the address, since '&' ends a command)?"),
            "AuthorizationPermissionMismatch" or "AuthorizationProtocolMismatch" or "AuthorizationResourceTypeMismatch"
                or "AuthorizationServiceMismatch" =>
                ("NotAuthorized", ErrorKind.PermissionDenied,
                    "the credential lacks a right. A shared access signature needs read, create and write (sp=rcw); an identity the role "
                    + "'Storage Blob Data Contributor' on the container."),
            "AuthorizationFailure" =>
                ("NotAuthorized", ErrorKind.PermissionDenied,
                    "the storage account's network rules or the signature's addresses (sip) do not let this machine in."),
            "AuthorizationFailed" or "LinkedAuthorizationFailed" =>
                ("NotAuthorized", ErrorKind.PermissionDenied,
                    $"{FirstLine(e.Message)} See SECURITY.md for a role with the rights that are needed."),
            "ContainerNotFound" =>
                ("ContainerNotFound", ErrorKind.NotFound,
                    "there is no such container. Check the address, or make it: az storage container create --name CONTAINER "
                    + "--account-name ACCOUNT."),
            "InvalidBlobType" =>
                ("NotAPageBlob", ErrorKind.InvalidInput,
                    "there is a blob of that name of another type. Only page blobs can become disks: choose another name, or delete "
                    + "that blob."),
            "LeaseIdMissing" or "LeaseAlreadyPresent" or "LeaseNotPresentWithBlobOperation" =>
                ("BlobLeased", ErrorKind.ResourceBusy,
                    "the blob is leased: something else uses it. Wait for that, or break the lease: az storage blob lease break."),
            "BlobAlreadyExists" or "UnauthorizedBlobOverwrite" =>
                ("BlobExists", ErrorKind.ResourceBusy, "another run has just made a blob of that name. Choose another name, or -Force."),
            "LocationNotAvailableForResourceType" or "InvalidLocation" or "LocationNotFound" or "NoRegisteredProviderFound" =>
                ("RegionUnknown", ErrorKind.InvalidInput,
                    $"{FirstLine(e.Message)} List the regions: az account list-locations --output table."),
            "ResourceGroupNotFound" =>
                ("ResourceGroupNotFound", ErrorKind.NotFound,
                    $"{FirstLine(e.Message)} Make it: az group create --name NAME --location REGION."),
            "SubscriptionNotFound" or "InvalidSubscriptionId" =>
                ("SubscriptionNotFound", ErrorKind.NotFound, $"{FirstLine(e.Message)} List yours: az account list --output table."),
            "OperationNotAllowed" or "QuotaExceeded" when e.Message.Contains("quota", StringComparison.OrdinalIgnoreCase) =>
                ("QuotaExceeded", ErrorKind.ResourceUnavailable, $"{FirstLine(e.Message)} Delete what is not used, or ask for more quota."),
            "RequestDisallowedByPolicy" =>
                ("PolicyRefused", ErrorKind.PermissionDenied,
                    $"{FirstLine(e.Message)} Choose what the policy allows (region, SKU, tags), or ask who keeps it for an exemption."),
            "ScopeLocked" =>
                ("ResourceLocked", ErrorKind.PermissionDenied, $"{FirstLine(e.Message)} List the locks: az lock list --output table."),
            "MissingSubscriptionRegistration" or "SubscriptionNotRegistered" =>
                ("ProviderNotRegistered", ErrorKind.NotFound, $"{FirstLine(e.Message)} Register it once: az provider register --namespace "
                    + "Microsoft.Compute."),
            "PropertyChangeNotAllowed" or "NameNotAvailable" or "NameUnavailable" =>
                ("NameTaken", ErrorKind.ResourceBusy, $"the name is taken by something else: {FirstLine(e.Message)} Choose another name."),
            "InvalidVhd" =>
                ("VhdRefused", ErrorKind.InvalidData, $"{FirstLine(e.Message)} Run the command again with -Force."),
            // An operation that failed later on has only a code: it was accepted with 200.
            _ => (
                "AzureRefused",
                e.Status >= 500 ? ErrorKind.ConnectionError : ErrorKind.InvalidInput,
                $"Azure answers {(e.Status is >= 200 and < 300 ? code : $"{e.Status} {code}")}: {FirstLine(e.Message)}"),
        };
        return new ArchAzureException(id, kind, Mask($"{what}: {text}"), what, e);
    }

    private static ArchAzureException NotReached(string what, Exception e)
    {
        var cause = e.GetBaseException();
        return new ArchAzureException(
            "AzureNotReached", ErrorKind.ConnectionError,
            Mask($"{what}: Azure cannot be reached: {cause.Message.TrimEnd('.')}. Check the network (DNS, HTTPS_PROXY), and run "
                + "the command again: an upload goes on where it was."),
            what,
            e);
    }

    /// <summary>What the server's clock says, if ours differs from it.</summary>
    private static string? ClockError(RequestFailedException e)
    {
        if (e.GetRawResponse()?.Headers.Date is not { } there)
        {
            return null;
        }

        var off = DateTimeOffset.UtcNow - there;
        if (off.Duration() < s_wrongClock)
        {
            return null;
        }

        var much = off.Duration() > TimeSpan.FromHours(2) ? $"{off.Duration().TotalHours:0} hours"
            : $"{off.Duration().TotalMinutes:0} minutes";
        return $"it is {much} {(off > TimeSpan.Zero ? "fast" : "slow")}";
    }

    /// <summary>The SDK puts status, code, content and headers into its messages: the first line is the service's own.</summary>
    private static string FirstLine(string message)
    {
        var line = message.Split('\n')[0].Trim();
        return line.EndsWith('.') || line.EndsWith('!') ? line : line + ".";
    }

    [GeneratedRegex("((?:sig|AccountKey|SharedAccessSignature|client_secret|access_token)=)[^&;\\s\"']+", RegexOptions.IgnoreCase, 1000)]
    private static partial Regex Secret();
}
