using System.Diagnostics;
using System.Text.Json.Nodes;
using ArchAzure.Publishing;
using Azure.Storage.Blobs.Models;

namespace ArchAzure.PublishTests;

public sealed class DiskTests(Azurite azurite) : ResourceManagerTest(azurite)
{
    private const string Disk = "disks/arch";

    [Fact]
    public async Task A_disk_is_made_filled_and_closed()
    {
        Azure.LooksNeeded = 1;
        var published = await PublishAsync();
        await RequireEqualAsync();
        var disk = Azure.Find(Disk)!;
        Assert.Equal("westeurope", disk["location"]!.ToString());
        Assert.Equal("Standard_LRS", disk["sku"]!["name"]!.ToString());
        Assert.Equal("Linux", disk["properties"]!["osType"]!.ToString());
        Assert.Equal("V2", disk["properties"]!["hyperVGeneration"]!.ToString());
        Assert.Equal("x64", disk["properties"]!["supportedCapabilities"]!["architecture"]!.ToString());
        Assert.Equal(Vhd.Length, disk["properties"]!["creationData"]!["uploadSizeBytes"]!.GetValue<long>());
        Assert.Null(disk["properties"]!["securityProfile"]);
        Assert.Equal(published.Digest, disk["tags"]!["archazure-fsverity"]!.ToString());
        Assert.Equal("complete", disk["tags"]!["archazure-state"]!.ToString());
        Assert.Equal(SimulatedResourceManager.Id(Disk), published.DiskId);
        Assert.Equal(published.DataBytes, published.SentBytes);
        Assert.Contains(published.NextSteps, step => step.Contains($"--source '{published.DiskId}'", StringComparison.Ordinal));
        Assert.Contains(published.NextSteps, step => step.Contains("--security-type Standard", StringComparison.Ordinal));
        RequireClosed();
        Assert.Single(Azure.Signatures);
        RequireNoSecret(published.ToString() + string.Join('\n', published.NextSteps));
    }

    [Fact]
    public async Task What_is_asked_for_reaches_Azure()
    {
        var published = await PublishAsync(disk: Request with { Sku = "Premium_LRS", Location = "North Europe", TrustedLaunch = true });
        var disk = Azure.Find(Disk)!;
        Assert.Equal("northeurope", disk["location"]!.ToString());
        Assert.Equal("Premium_LRS", disk["sku"]!["name"]!.ToString());
        Assert.Equal("TrustedLaunch", disk["properties"]!["securityProfile"]!["securityType"]!.ToString());
        Assert.Contains(Reporter.Warnings, line => line.Contains("Secure Boot", StringComparison.Ordinal));
        Assert.Contains(published.NextSteps, step => step.Contains("--security-type TrustedLaunch", StringComparison.Ordinal));
        Assert.DoesNotContain(published.NextSteps, step => step.Contains("az image create", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_disk_that_has_all_of_it_is_left_alone()
    {
        await PublishAsync();
        Azure.Requests.Clear();
        var again = await PublishAsync();
        Assert.Equal(0, again.SentBytes);
        Assert.Empty(Azure.Changes);
        Assert.Contains(Reporter.Lines, line => line.Contains("all of this VHD already", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_run_killed_between_the_upload_and_its_mark_is_finished()
    {
        await PublishAsync();
        Azure.Find(Disk)!["tags"]!["archazure-state"] = "incomplete";
        var again = await PublishAsync();
        Assert.Equal(0, again.SentBytes);
        Assert.Equal("complete", Azure.Find(Disk)!["tags"]!["archazure-state"]!.ToString());
        Assert.Equal(again.Digest, Azure.Find(Disk)!["tags"]!["archazure-fsverity"]!.ToString());
    }

    [Fact]
    public async Task A_stopped_upload_asks_to_revoke_and_the_next_run_sends_what_is_missing()
    {
        using var vhd = new TestVhd(100, 2, (0, 64 << 20));
        using var stop = new CancellationTokenSource();
        var written = 0;
        Azurite.Proxy.OnWritten = _ =>
        {
            if (Interlocked.Increment(ref written) == 6)
            {
                stop.Cancel();
            }
        };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => PublishAsync(vhd.Path, cancellationToken: stop.Token));
        Azurite.Proxy.OnWritten = null;
        Assert.Contains($"POST {Disk}/endGetAccess 202", Azure.Requests);
        Assert.Equal("ActiveUpload", Azure.Property(Disk, "diskState"));
        Assert.Contains(Reporter.Warnings, line => line.Contains("incomplete", StringComparison.Ordinal)
            && line.Contains("az disk delete --resource-group 'images' --name 'arch'", StringComparison.Ordinal));

        var published = await PublishAsync(vhd.Path);
        await Azurite.RequireEqualAsync(Blob, vhd.Path);
        Assert.InRange(published.SentBytes, 1, published.DataBytes - (6L * (4 << 20)));
        Assert.Contains(Reporter.Lines, line => line.Contains("going on", StringComparison.Ordinal));
        RequireClosed();
    }

    [Fact]
    public async Task A_disk_that_a_killed_run_has_made_but_not_begun_to_fill_is_taken_up()
    {
        Azure.Faults.Enqueue(new ArmFault("POST", "/beginGetAccess", 400, "BadRequest", "Not now."));
        await FailsAsync("AzureRefused", "Not now.");
        Assert.Equal("ReadyToUpload", Azure.Property(Disk, "diskState"));
        await PublishAsync();
        await RequireEqualAsync();
        RequireClosed();
    }

    [Fact]
    public async Task Another_disk_of_that_name_is_deleted_only_by_force()
    {
        await PublishAsync();
        using var other = new TestVhd(48, 3);
        var error = await FailsAsync("DiskExists", other.Path, force: false, "'arch'", "-Force");
        Assert.Equal(SimulatedResourceManager.Id(Disk), error.Target);
        await RequireEqualAsync();
        await PublishAsync(other.Path, force: true);
        await Azurite.RequireEqualAsync(Blob, other.Path);
    }

    [Fact]
    public async Task The_same_VHD_for_another_region_is_another_disk()
    {
        await PublishAsync();
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => PublishAsync(disk: Request with { Location = "eastus" }));
        Assert.Equal("DiskExists", error.ErrorId);
    }

    [Fact]
    public async Task Force_sends_all_again()
    {
        await PublishAsync();
        var again = await PublishAsync(force: true);
        Assert.Equal(again.DataBytes, again.SentBytes);
        await RequireEqualAsync();
    }

    [Theory]
    [InlineData("Attached", "detach it")]
    [InlineData("Reserved", "detach it")]
    [InlineData("ActiveSAS", "az disk revoke-access")]
    [InlineData("Frozen", "another name")]
    public async Task A_disk_in_use_is_never_touched(string state, string word)
    {
        await PublishAsync();
        var properties = Azure.Find(Disk)!["properties"]!;
        properties["diskState"] = state;
        if (word == "detach it")
        {
            Azure.Find(Disk)!["managedBy"] = SimulatedResourceManager.Id("virtualMachines/vm");
        }

        Azure.Requests.Clear();
        await FailsAsync("DiskInUse", null, force: false, state, word);
        await FailsAsync("DiskInUse", null, force: true, state, word);
        Assert.Empty(Azure.Changes);
    }

    [Fact]
    public async Task Access_that_another_run_has_ended()
    {
        Azurite.Proxy.OnWritten = _ => Azurite.Proxy.DiskBlobs[Blob.AbsolutePath] = false;
        await FailsAsync("DiskAccessEnded", "Run the command again");
        Azurite.Proxy.OnWritten = null;
        await PublishAsync();
        await RequireEqualAsync();
    }

    [Fact]
    public async Task Access_that_cannot_be_revoked_after_a_failure_is_told_with_the_way_by_hand()
    {
        Azurite.Proxy.Faults.Enqueue(
            new StorageFault(FaultKind.Status, "PUT") { Status = 400, Code = "InvalidInput", After = 2, Times = 1000 });
        Azure.Faults.Enqueue(new ArmFault("POST", "/endGetAccess", 403, "AuthorizationFailed", "Not allowed."));
        await FailsAsync("AzureRefused", "InvalidInput");
        Assert.Contains(Reporter.Warnings, line => line.Contains("Not allowed", StringComparison.Ordinal)
            && line.Contains("az disk revoke-access --resource-group 'images' --name 'arch'", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Access_that_cannot_be_revoked_after_an_upload_is_an_error()
    {
        Azure.Faults.Enqueue(new ArmFault("POST", "/endGetAccess", 403, "AuthorizationFailed", "No action 'disks/endGetAccess/action'."));
        await FailsAsync("NotAuthorized", "endGetAccess/action", "SECURITY.md");
        Assert.Equal("incomplete", Azure.Find(Disk)!["tags"]!["archazure-state"]!.ToString());
        var again = await PublishAsync();
        Assert.Equal(512, again.SentBytes);
        RequireClosed();
    }

    [Fact]
    public async Task Throttling_is_waited_out()
    {
        Azure.Faults.Enqueue(new ArmFault("PUT", Disk, 429, "TooManyRequests", "Slower.") { RetryAfter = 2 });
        Azure.Faults.Enqueue(new ArmFault("POST", "/beginGetAccess", 503, "ServerBusy", "Busy.") { Times = 2 });
        var clock = Stopwatch.StartNew();
        await PublishAsync();
        Assert.True(clock.Elapsed > TimeSpan.FromSeconds(2), $"Retry-After was not heeded: {clock.Elapsed}.");
        Assert.Contains(Reporter.Details, detail => detail.Contains("/disks/arch: 429", StringComparison.Ordinal));
        Assert.All(Azure.Faults, fault => Assert.Equal(0, fault.Times));
        await RequireEqualAsync();
        RequireNoSecret();
    }

    [Fact]
    public async Task An_operation_that_fails_later_on()
    {
        Azure.Faults.Enqueue(
            new ArmFault("PUT", Disk, 0, "OperationNotAllowed", "The disk quota of the region is exceeded.") { IsLate = true });
        await FailsAsync("QuotaExceeded", "quota of the region", "more quota");
    }

    [Theory]
    [InlineData(403, "AuthorizationFailed", "The client does not have authorization to perform action 'Microsoft.Compute/disks/write'.",
        "NotAuthorized", "Microsoft.Compute/disks/write")]
    [InlineData(403, "RequestDisallowedByPolicy", "Resource 'arch' was disallowed by policy 'Allowed locations'.",
        "PolicyRefused", "exemption")]
    [InlineData(409, "ScopeLocked", "The scope 'images' is locked.", "ResourceLocked", "az lock list")]
    [InlineData(409, "MissingSubscriptionRegistration", "Not registered.", "ProviderNotRegistered", "az provider register")]
    [InlineData(409, "OperationNotAllowed", "This exceeds the quota of 50.", "QuotaExceeded", "quota of 50")]
    [InlineData(409, "NameNotAvailable", "It is another's.", "NameTaken", "another name")]
    [InlineData(401, "ExpiredAuthenticationToken", "The token has expired.", "SignInFailed", "az login")]
    [InlineData(400, "SomethingNew", "Nobody knows.", "AzureRefused", "400 SomethingNew: Nobody knows.")]
    public async Task What_Azure_refuses(int status, string code, string message, string errorId, string word)
    {
        Azure.Faults.Enqueue(new ArmFault("PUT", Disk, status, code, message) { Times = 100 });
        await FailsAsync(errorId, word, "'arch' in 'images'");
    }

    [Fact]
    public async Task A_region_that_is_not_there() =>
        await FailsAsync(Request with { Location = "atlantis" }, "RegionUnknown", "list-locations");

    [Fact]
    public async Task A_resource_group_that_is_not_there() =>
        await FailsAsync(Request with { ResourceGroup = "nothing" }, "ResourceGroupNotFound", "'nothing'", "az group create");

    [Theory]
    [InlineData("-arch", "images", "westeurope")]
    [InlineData("arch.", "images", "westeurope")]
    [InlineData("a/b", "images", "westeurope")]
    [InlineData("", "images", "westeurope")]
    [InlineData("arch\n", "images", "westeurope")]
    [InlineData("arch", "images.", "westeurope")]
    [InlineData("arch", "a/b", "westeurope")]
    [InlineData("arch", "images", "west-europe")]
    public async Task Names_are_looked_at_before_anything_is_asked(string name, string group, string location)
    {
        await FailsAsync(new DiskRequest { Name = name, ResourceGroup = group, Location = location }, "NameInvalid", "Azure takes");
        Assert.Empty(Azure.Requests);
    }

    [Fact]
    public async Task Trusted_Launch_needs_generation_2()
    {
        var request = new PublishRequest { VhdPath = Vhd.Path, SkipTest = true, Generation = 1 };
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => VhdPublisher.ToDiskAsync(request, Azure.Access, Request with { TrustedLaunch = true }, Reporter, default));
        Assert.Equal("TrustedLaunchNeedsGeneration2", error.ErrorId);
        Assert.Empty(Azure.Requests);
    }

    [Fact]
    public async Task The_subscription_by_its_name_and_the_only_one()
    {
        Azure.Subscriptions.Add(("99999999-2222-3333-4444-555555555555", "Other"));
        await PublishAsync(access: Azure.Access with { Subscription = "images" });
        Azure.Subscriptions.RemoveAt(1);
        Assert.Equal(0, (await PublishAsync(access: Azure.Access with { Subscription = null })).SentBytes);
    }

    [Fact]
    public async Task Of_several_subscriptions_none_is_guessed()
    {
        Azure.Subscriptions.Add(("99999999-2222-3333-4444-555555555555", "Other"));
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => PublishAsync(access: Azure.Access with { Subscription = null }));
        Assert.Equal("SubscriptionAmbiguous", error.ErrorId);
        Assert.Contains("'Other' (99999999-", error.Message, StringComparison.Ordinal);
        error = await Assert.ThrowsAsync<ArchAzureException>(() => PublishAsync(access: Azure.Access with { Subscription = "nothing" }));
        Assert.Equal("SubscriptionNotFound", error.ErrorId);
        Assert.Empty(Azure.Changes);
    }

    [Fact]
    public async Task A_VHD_that_changes_while_it_is_sent_gets_no_footer()
    {
        var isChanged = 0;
        Azurite.Proxy.OnWritten = _ =>
        {
            if (Interlocked.Exchange(ref isChanged, 1) == 0)
            {
                Tool.Run("dd", ["if=/dev/urandom", $"of={Vhd.Path}", "bs=3", "count=1", "conv=notrunc"]);
            }
        };
        await FailsAsync("VhdChanged", $"'{Vhd.Path}'");
        Assert.Equal("ActiveUpload", Azure.Property(Disk, "diskState"));
    }

    private static DiskRequest Request { get; } = new() { Name = "arch", ResourceGroup = "images", Location = "westeurope" };

    private Uri Blob => Azure.Blobs.Single().Value;

    private Task<PublishedVhd> PublishAsync(
        string? path = null, bool force = false, DiskRequest? disk = null, AzureAccess? access = null,
        CancellationToken cancellationToken = default) =>
        VhdPublisher.ToDiskAsync(
            new PublishRequest { VhdPath = path ?? Vhd.Path, SkipTest = true, Force = force, Upload = BlobTests.Quick },
            access ?? Azure.Access, disk ?? Request, Reporter, cancellationToken);

    private Task RequireEqualAsync() => Azurite.RequireEqualAsync(Blob, Vhd.Path);

    /// <summary>Requires that nobody can write to the disk any more, and that it can be used.</summary>
    private void RequireClosed()
    {
        Assert.False(Azurite.Proxy.DiskBlobs[Blob.AbsolutePath]);
        Assert.Equal("Unattached", Azure.Property(Disk, "diskState"));
    }

    private Task<ArchAzureException> FailsAsync(string errorId, params string[] words) => FailsAsync(errorId, null, force: false, words);

    private async Task<ArchAzureException> FailsAsync(string errorId, string? path, bool force, params string[] words) =>
        Require(await Assert.ThrowsAsync<ArchAzureException>(() => PublishAsync(path, force)), errorId, words);

    private async Task FailsAsync(DiskRequest disk, string errorId, params string[] words) =>
        Require(await Assert.ThrowsAsync<ArchAzureException>(() => PublishAsync(disk: disk)), errorId, words);

    private ArchAzureException Require(ArchAzureException error, string errorId, string[] words)
    {
        Assert.True(errorId == error.ErrorId, $"{error.ErrorId}: {error.Message}");
        Assert.All(words, word => Assert.Contains(word, error.Message, StringComparison.Ordinal));
        RequireNoSecret(error.ToString());
        return error;
    }

    private void RequireNoSecret(string more = "") => Azure.RequireNoSecret(Reporter.Everything + more);
}
