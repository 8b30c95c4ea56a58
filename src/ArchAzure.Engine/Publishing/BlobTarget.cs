using Azure;
using Azure.Storage.Blobs.Models;
using Azure.Storage.Blobs.Specialized;

namespace ArchAzure.Publishing;

/// <summary>
/// A VHD as a page blob. The blob's metadata say which file it is of, by digest, and whether all of it is there: a run that finds its own
/// half-sent blob goes on with it.
/// </summary>
/// <param name="blob">Where it goes.</param>
/// <param name="options">How.</param>
/// <param name="reporter">Is told.</param>
internal sealed class BlobTarget(PageBlobClient blob, UploadOptions options, IReporter reporter)
{
    private const string DigestKey = "archazure_fsverity";
    private const string StateKey = "archazure_state";
    private const string Complete = "complete";
    private readonly string _what = $"The blob '{AzureErrors.Plain(blob.Uri)}'";

    /// <summary>Sends the VHD.</summary>
    /// <param name="vhd">The VHD.</param>
    /// <param name="force">Whether a blob of something else is overwritten.</param>
    /// <param name="activity">For the progress.</param>
    /// <param name="cancellationToken">Stops it; a later run goes on.</param>
    /// <exception cref="ArchAzureException"><c>BlobExists</c>, <c>BlobLeased</c>, <c>NotAPageBlob</c>, those of <see cref="PageUpload"/>,
    /// and those of <see cref="AzureErrors"/>.</exception>
    public Task<UploadReport> UploadAsync(VhdSource vhd, bool force, string activity, CancellationToken cancellationToken) =>
        AzureErrors.ExplainAsync(_what, async () =>
        {
            var there = await PropertiesAsync(cancellationToken);
            var isMine = there is not null && IsOf(vhd, there);
            if (there is not null)
            {
                RequireUsable(there, isMine || force);
            }

            var isNew = !isMine || force;
            if (isNew)
            {
                await CreateAsync(vhd, isThere: there is not null, cancellationToken);
            }
            else if (there!.Metadata[StateKey] == Complete && options.Verification == UploadVerification.Ranges)
            {
                reporter.Information($"{_what} has all of this VHD already. -Verify Content compares it, -Force sends it again.");
                return new UploadReport(vhd.DataBytes, 0);
            }
            else
            {
                reporter.Information($"{_what} has a part of this VHD: going on with it.");
            }

            var report = await new PageUpload(vhd, blob, options, reporter, activity).RunAsync(isNew, cancellationToken);
            await blob.SetMetadataAsync(Metadata(vhd, Complete), cancellationToken: cancellationToken);
            return report;
        },
        e => AzureErrors.OutOfTime(blob.Uri, e) ?? AzureErrors.NoSuchAccount(blob.Uri, e));

    private static bool IsOf(VhdSource vhd, BlobProperties blob) =>
        blob.BlobType == BlobType.Page && blob.ContentLength == vhd.Length
        && blob.Metadata.TryGetValue(DigestKey, out var digest) && digest == vhd.Digest && blob.Metadata.ContainsKey(StateKey);

    private static Dictionary<string, string> Metadata(VhdSource vhd, string state) =>
        new(StringComparer.OrdinalIgnoreCase) { [DigestKey] = vhd.Digest, [StateKey] = state };

    private async Task<BlobProperties?> PropertiesAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await blob.GetPropertiesAsync(cancellationToken: cancellationToken);
        }
        catch (RequestFailedException e) when (e.ErrorCode == BlobErrorCode.BlobNotFound)
        {
            return null;
        }
    }

    private void RequireUsable(BlobProperties there, bool mayReplace)
    {
        if (there.BlobType != BlobType.Page)
        {
            throw new ArchAzureException(
                "NotAPageBlob",
                ErrorKind.InvalidInput,
                $"{_what} is there already, as a {there.BlobType.ToString().ToLowerInvariant()} blob. Only page blobs can become disks: "
                + "choose another name, or delete that blob.",
                AzureErrors.Plain(blob.Uri));
        }

        if (there.LeaseStatus == LeaseStatus.Locked)
        {
            throw new ArchAzureException(
                "BlobLeased",
                ErrorKind.ResourceBusy,
                $"{_what} is leased: something else uses it. Wait for that, or break the lease: az storage blob lease break.",
                AzureErrors.Plain(blob.Uri));
        }

        if (!mayReplace)
        {
            throw new ArchAzureException(
                "BlobExists",
                ErrorKind.ResourceBusy,
                $"{_what} is there already, with something else in it. Choose another name, or overwrite it with -Force.",
                AzureErrors.Plain(blob.Uri));
        }
    }

    /// <summary>All zeros, and of our making: between the look and this, nobody else may have made one.</summary>
    private async Task CreateAsync(VhdSource vhd, bool isThere, CancellationToken cancellationToken) =>
        await blob.CreateAsync(
            vhd.Length,
            new PageBlobCreateOptions
            {
                HttpHeaders = new BlobHttpHeaders { ContentType = "application/octet-stream" },
                Metadata = Metadata(vhd, "incomplete"),
                Conditions = isThere ? null : new PageBlobRequestConditions { IfNoneMatch = ETag.All },
            },
            cancellationToken);
}
