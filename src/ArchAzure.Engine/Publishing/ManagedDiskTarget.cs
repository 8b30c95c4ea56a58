using Azure;
using Azure.Core;
using Azure.ResourceManager;
using Azure.ResourceManager.Compute;
using Azure.ResourceManager.Compute.Models;
using Azure.Storage.Blobs.Specialized;

namespace ArchAzure.Publishing;

/// <summary>A managed disk that is to be made of a VHD.</summary>
internal sealed record DiskRequest
{
    /// <summary>The disk's name.</summary>
    public required string Name { get; init; }

    /// <summary>The resource group; it must exist.</summary>
    public required string ResourceGroup { get; init; }

    /// <summary>The region.</summary>
    public required string Location { get; init; }

    /// <summary>The kind of storage.</summary>
    public string Sku { get; init; } = "Standard_LRS";

    /// <summary>Whether machines of it use Trusted Launch; Standard otherwise.</summary>
    public bool TrustedLaunch { get; init; }

    /// <summary>Refuses what Azure would refuse, before anything is asked of it.</summary>
    /// <exception cref="ArchAzureException"><c>NameInvalid</c> or <c>TrustedLaunchNeedsGeneration2</c>.</exception>
    public void Validate(int generation)
    {
        AzureNames.Disk(Name);
        AzureNames.ResourceGroup(ResourceGroup);
        AzureNames.Region(Location);
        if (TrustedLaunch && generation != 2)
        {
            throw new ArchAzureException(
                "TrustedLaunchNeedsGeneration2",
                ErrorKind.InvalidInput,
                "Trusted Launch is for virtual machines of generation 2 only. Say -Generation 2, or -SecurityType Standard.");
        }
    }
}

/// <summary>
/// A VHD as a managed disk, sent straight into it. The disk's tags say which VHD it is of, by digest: a run that finds its own half-sent
/// disk goes on with it.
/// </summary>
/// <remarks>https://learn.microsoft.com/azure/virtual-machines/linux/disks-upload-vhd-to-managed-disk-cli.</remarks>
internal sealed class ManagedDiskTarget
{
    /// <summary>The tag with the VHD's fs-verity digest.</summary>
    public const string DigestTag = "archazure-fsverity";

    private const string StateTag = "archazure-state";
    private const string Complete = "complete";

    /// <summary>How long Azure takes writes if nothing revokes the access: as long as in Azure's own examples.</summary>
    private static readonly TimeSpan s_access = TimeSpan.FromHours(24);

    private readonly ArmClient _client;
    private readonly ResourceIdentifier _id;
    private readonly DiskRequest _disk;
    private readonly PublishRequest _request;
    private readonly IReporter _reporter;
    private readonly string _what;

    /// <param name="client">Azure.</param>
    /// <param name="subscriptionId">The subscription.</param>
    /// <param name="disk">The disk; it has been validated.</param>
    /// <param name="request">What is asked of the publication.</param>
    /// <param name="reporter">Is told.</param>
    public ManagedDiskTarget(ArmClient client, string subscriptionId, DiskRequest disk, PublishRequest request, IReporter reporter)
    {
        (_client, _disk, _request, _reporter) = (client, disk, request, reporter);
        _id = ManagedDiskResource.CreateResourceIdentifier(subscriptionId, disk.ResourceGroup, disk.Name);
        _what = $"The managed disk '{disk.Name}' in '{disk.ResourceGroup}'";
    }

    /// <summary>How long revoking the access may take, also after Ctrl-C.</summary>
    internal TimeSpan RevokeLimit { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>The disk's resource id.</summary>
    public string Id => _id.ToString();

    /// <summary>Makes the disk and sends the VHD.</summary>
    /// <param name="vhd">The VHD.</param>
    /// <param name="evidence">What is known of the image.</param>
    /// <param name="activity">For the progress.</param>
    /// <param name="cancellationToken">Stops it; a later run goes on.</param>
    /// <exception cref="ArchAzureException"><c>DiskExists</c>, <c>DiskInUse</c>, <c>DiskAccessEnded</c>, those of
    /// <see cref="PageUpload"/>, and those of <see cref="AzureErrors"/>.</exception>
    public Task<UploadReport> UploadAsync(VhdSource vhd, PublishEvidence evidence, string activity, CancellationToken cancellationToken) =>
        AzureErrors.ExplainAsync(_what, async () =>
        {
            var there = await FindAsync(cancellationToken);
            var isMine = there is not null && IsOf(vhd, there.Data);
            if (there is not null && (!isMine || _request.Force))
            {
                await RemoveAsync(there, isMine, cancellationToken);
                there = null;
            }

            if (there?.Data.DiskState == DiskState.Unattached)
            {
                // Azure ends an upload only if the footer is there, which goes last: only the tag may be missing.
                await MarkCompleteAsync(there, cancellationToken);
                _reporter.Information($"{_what} has all of this VHD already. -Force sends it again.");
                return new UploadReport(vhd.DataBytes, 0);
            }

            if (there is not null)
            {
                RequireUploading(there.Data);
                _reporter.Information($"{_what} has a part of this VHD: going on with it.");
            }

            var isNew = there is null;
            var disk = there ?? await CreateAsync(vhd, evidence, cancellationToken);
            var report = await SendAsync(disk, vhd, isNew, activity, cancellationToken);
            await MarkCompleteAsync(disk, cancellationToken);
            return report;
        });

    /// <summary>Deletes the disk, if it is of this VHD, once something else has been made of it.</summary>
    public Task<bool> DeleteAsync(VhdSource vhd, CancellationToken cancellationToken) =>
        AzureErrors.ExplainAsync(_what, async () =>
        {
            var there = await FindAsync(cancellationToken);
            if (there is null || !IsOf(vhd, there.Data) || there.Data.DiskState != DiskState.Unattached)
            {
                return false;
            }

            await there.DeleteAsync(WaitUntil.Completed, cancellationToken);
            return true;
        });

    /// <summary>Whether a disk is what this request would make of the VHD, or a part of it.</summary>
    private bool IsOf(VhdSource vhd, ManagedDiskData disk) =>
        disk.Tags.TryGetValue(DigestTag, out var digest) && digest == vhd.Digest && disk.Tags.ContainsKey(StateTag)
        && disk.CreationData?.UploadSizeBytes == vhd.Length && disk.Location == new AzureLocation(_disk.Location)
        && disk.HyperVGeneration == Generation
        && (disk.SecurityProfile?.SecurityType == DiskSecurityType.TrustedLaunch) == _disk.TrustedLaunch;

    private HyperVGeneration Generation => _request.Generation == 1 ? HyperVGeneration.V1 : HyperVGeneration.V2;

    private async Task<ManagedDiskResource?> FindAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await _client.GetManagedDiskResource(_id).GetAsync(cancellationToken);
        }
        catch (RequestFailedException e) when (e.ErrorCode == "ResourceNotFound")
        {
            return null;
        }
    }

    /// <summary>Removes what is in the place, if that is asked for and nothing uses it.</summary>
    private async Task RemoveAsync(ManagedDiskResource there, bool isMine, CancellationToken cancellationToken)
    {
        if (!_request.Force)
        {
            throw new ArchAzureException(
                "DiskExists",
                ErrorKind.ResourceBusy,
                $"{_what} is there already, and not of this VHD (or for another region, generation or security type). Choose another "
                + "name, or delete it and make it again with -Force.",
                Id);
        }

        if (there.Data.DiskState != DiskState.Unattached)
        {
            RequireUploading(there.Data);
        }

        _reporter.Information($"{_what} is {(isMine ? "made again" : "not of this VHD: it is deleted and made again")}.");
        await there.DeleteAsync(WaitUntil.Completed, cancellationToken);
    }

    /// <summary>A disk that waits for an upload, or for the rest of one.</summary>
    private void RequireUploading(ManagedDiskData disk)
    {
        if (disk.DiskState == DiskState.ReadyToUpload || disk.DiskState == DiskState.ActiveUpload)
        {
            return;
        }

        var remedy = disk.DiskState == DiskState.ActiveSas || disk.DiskState == DiskState.ActiveSasFrozen
            ? $"Somebody may read it: wait for that, or end it: {RevokeCommand}."
            : disk.ManagedBy is { } machine
                ? $"It belongs to '{machine}': detach it there, or choose another name."
                : "Choose another name, or wait until nothing uses it.";
        throw new ArchAzureException("DiskInUse", ErrorKind.ResourceBusy, $"{_what} is in the state {disk.DiskState}. {remedy}", Id);
    }

    private string RevokeCommand => $"az disk revoke-access --resource-group '{_disk.ResourceGroup}' --name '{_disk.Name}'";

    private async Task<ManagedDiskResource> CreateAsync(VhdSource vhd, PublishEvidence evidence, CancellationToken cancellationToken)
    {
        if (_disk.TrustedLaunch && !evidence.TrustedLaunch)
        {
            _reporter.Warning("Nothing has shown that this image starts with Trusted Launch: Secure Boot starts signed boot loaders only.");
        }

        var data = new ManagedDiskData(new AzureLocation(_disk.Location))
        {
            Sku = new DiskSku { Name = new DiskStorageAccountType(_disk.Sku) },
            OSType = SupportedOperatingSystemType.Linux,
            HyperVGeneration = Generation,
            // The footer is part of the upload, and no part of the disk.
            CreationData = new DiskCreationData(DiskCreateOption.Upload) { UploadSizeBytes = vhd.Length },
            SecurityProfile = _disk.TrustedLaunch ? new DiskSecurityProfile { SecurityType = DiskSecurityType.TrustedLaunch } : null,
            SupportedCapabilities = new SupportedCapabilities
            {
                Architecture = ArchitectureType.X64,
                AcceleratedNetwork = evidence.AcceleratedNetworking,
                DiskControllerTypes = evidence.DiskControllers.Count > 0 ? string.Join(", ", evidence.DiskControllers) : null,
            },
            Tags = { [DigestTag] = vhd.Digest, [StateTag] = "incomplete" },
        };
        var made = await _client.GetResourceGroupResource(_id.Parent!).GetManagedDisks()
            .CreateOrUpdateAsync(WaitUntil.Completed, _disk.Name, data, cancellationToken);
        return made.Value;
    }

    private async Task<UploadReport> SendAsync(
        ManagedDiskResource disk, VhdSource vhd, bool isNew, string activity, CancellationToken cancellationToken)
    {
        var isSent = false;
        try
        {
            var access = await disk.GrantAccessAsync(
                WaitUntil.Completed, new GrantAccessData(AccessLevel.Write, (int)s_access.TotalSeconds), cancellationToken);
            var blob = new PageBlobClient(new Uri(access.Value.AccessSas), _request.Upload.ForBlobs(_reporter.Verbose));
            var report = await AzureErrors.ExplainAsync(
                _what,
                () => new PageUpload(vhd, blob, _request.Upload, _reporter, activity).RunAsync(isNew, cancellationToken),
                AccessEnded);
            isSent = true;
            return report;
        }
        finally
        {
            await RevokeAsync(disk, isSent);
        }
    }

    private ArchAzureException? AccessEnded(RequestFailedException e) =>
        e.ErrorCode is "AuthenticationFailed" or "AuthorizationFailure"
            ? new ArchAzureException(
                "DiskAccessEnded",
                ErrorKind.PermissionDenied,
                $"{_what} takes no more data: the access has ended. Either another run has revoked it, or it lasted longer than "
                + $"{s_access.TotalHours:0} hours. Run the command again: it goes on where it was.",
                Id,
                e)
            : null;

    /// <summary>Ends the access, whatever has happened. Only after a whole upload it is an error if that fails.</summary>
    private async Task RevokeAsync(ManagedDiskResource disk, bool isSent)
    {
        using var limit = new CancellationTokenSource(RevokeLimit);
        try
        {
            await disk.RevokeAccessAsync(WaitUntil.Completed, limit.Token);
        }
        catch (RequestFailedException e) when (!isSent && e.ErrorCode == "InvalidVhd")
        {
            _reporter.Warning(
                $"{_what} is incomplete, and Azure does not end the access to it before it holds a VHD. The access ends by itself after "
                + $"{s_access.TotalHours:0} hours. Run the command again to send the rest, or delete the disk: az disk delete "
                + $"--resource-group '{_disk.ResourceGroup}' --name '{_disk.Name}'.");
        }
        catch (Exception e) when (!isSent || e is OperationCanceledException)
        {
            var reason = AzureErrors.Mask(e.GetBaseException().Message.Split('\n')[0].Trim().TrimEnd('.'));
            _reporter.Warning($"{_what}: the access could not be revoked ({reason}). Revoke it by hand: {RevokeCommand}.");
        }
    }

    private static async Task MarkCompleteAsync(ManagedDiskResource disk, CancellationToken cancellationToken)
    {
        if (disk.Data.Tags.TryGetValue(StateTag, out var state) && state == Complete)
        {
            return;
        }

        // Azure replaces all tags.
        var patch = new ManagedDiskPatch { Tags = { [StateTag] = Complete } };
        foreach (var (name, value) in disk.Data.Tags.Where(tag => tag.Key != StateTag))
        {
            patch.Tags[name] = value;
        }

        await disk.UpdateAsync(WaitUntil.Completed, patch, cancellationToken);
    }
}
