using System.Text.Json.Nodes;
using ArchAzure.Publishing;

namespace ArchAzure.PublishTests;

public sealed class GalleryTests(Azurite azurite) : ResourceManagerTest(azurite)
{
    private const string Gallery = "galleries/arch";
    private const string Definition = $"{Gallery}/images/arch-gen2";
    private const string Version = $"{Definition}/versions/2026.12.1";
    private const string Disk = "disks/arch-gen2-2026.12.1";

    /// <summary>What the rules of Test-AzureVhd show of an image of this module.</summary>
    private static readonly PublishEvidence s_tested = new() { AcceleratedNetworking = true, DiskControllers = ["SCSI"] };

    [Fact]
    public async Task All_that_is_missing_is_made_and_the_disk_goes()
    {
        Azure.LooksNeeded = 1;
        Uri? blob = null;
        Reporter.Watch = status =>
            blob ??= status.StartsWith("replicating", StringComparison.Ordinal) ? Azure.Blobs.Single().Value : null;
        var published = await PublishAsync();

        Assert.Equal("westeurope", Azure.Find(Gallery)!["location"]!.ToString());
        var definition = Azure.Find(Definition)!["properties"]!;
        Assert.Equal("Linux", definition["osType"]!.ToString());
        Assert.Equal("Generalized", definition["osState"]!.ToString());
        Assert.Equal("V2", definition["hyperVGeneration"]!.ToString());
        Assert.Equal("x64", definition["architecture"]!.ToString());
        Assert.Equal(["ArchAzure", "arch-gen2", "gen2"], Texts(definition["identifier"]!, "publisher", "offer", "sku"));
        Assert.Equal(["DiskControllerTypes=SCSI", "IsAcceleratedNetworkSupported=True", "IsHibernateSupported=False"], Features());

        var version = Azure.Find(Version)!;
        Assert.Equal(published.Digest, version["tags"]!["archazure-fsverity"]!.ToString());
        Assert.Equal(
            SimulatedResourceManager.Id(Disk), version["properties"]!["storageProfile"]!["osDiskImage"]!["source"]!["id"]!.ToString());
        Assert.Equal(
            ["westeurope", "northeurope"],
            version["properties"]!["publishingProfile"]!["targetRegions"]!.AsArray().Select(region => region!["name"]!.ToString()));

        Assert.Equal(SimulatedResourceManager.Id(Version), published.ImageVersionId);
        Assert.Null(published.DiskId);
        Assert.Null(Azure.Find(Disk));
        Assert.Equal(published.DataBytes, published.SentBytes);
        await Azurite.RequireEqualAsync(blob!, Vhd.Path);
        Assert.Contains(
            published.NextSteps,
            step => step.StartsWith("az vm create ", StringComparison.Ordinal)
                && step.Contains("--security-type Standard", StringComparison.Ordinal)
                && step.Contains($"--image '{published.ImageVersionId}'", StringComparison.Ordinal));
        Assert.Contains(
            Reporter.Updates, update => update.Status == "replicating: westeurope 50 %, northeurope 50 %" && update.Percent == 50);
        RequireNoSecret();
    }

    [Fact]
    public async Task The_role_in_SECURITY_md_has_the_rights_that_are_used_and_no_others()
    {
        var text = await File.ReadAllTextAsync(Path.Combine(TestSetup.Checkout, "SECURITY.md"));
        var json = text[(text.IndexOf("```json", StringComparison.Ordinal) + 7)..];
        var role = JsonNode.Parse(json[..json.IndexOf("```", StringComparison.Ordinal)])!;
        Azure.LooksNeeded = 1;
        await PublishAsync();
        Assert.Equal(role["Actions"]!.AsArray().Select(action => action!.ToString()).Order(StringComparer.Ordinal), Azure.Actions);
    }

    [Fact]
    public async Task What_is_asked_for_reaches_Azure()
    {
        var end = new DateTimeOffset(2099, 1, 1, 0, 0, 0, TimeSpan.Zero);
        var published = await PublishAsync(image: Request with
        {
            TargetRegions = ["West Europe", "East US"], Replicas = 3, EndOfLife = end, ExcludeFromLatest = true, KeepDisk = true,
            Publisher = "me", Offer = "linux", ImageSku = "small",
        });
        var profile = Azure.Find(Version)!["properties"]!["publishingProfile"]!;
        Assert.Equal(["westeurope", "eastus"], profile["targetRegions"]!.AsArray().Select(region => region!["name"]!.ToString()));
        Assert.All(profile["targetRegions"]!.AsArray(), region => Assert.Equal(3, region!["regionalReplicaCount"]!.GetValue<int>()));
        Assert.True(profile["excludeFromLatest"]!.GetValue<bool>());
        Assert.Equal(end, DateTimeOffset.Parse(profile["endOfLifeDate"]!.ToString(), System.Globalization.CultureInfo.InvariantCulture));
        Assert.Equal(["me", "linux", "small"], Texts(Azure.Find(Definition)!["properties"]!["identifier"]!, "publisher", "offer", "sku"));
        Assert.Equal(SimulatedResourceManager.Id(Disk), published.DiskId);
        Assert.NotNull(Azure.Find(Disk));
    }

    [Fact]
    public async Task Without_a_test_a_new_definition_promises_nothing()
    {
        await PublishAsync(evidence: new PublishEvidence());
        Assert.Equal(["IsAcceleratedNetworkSupported=False", "IsHibernateSupported=False"], Features());
    }

    [Fact]
    public async Task The_same_version_of_the_same_VHD_is_left_alone()
    {
        await PublishAsync();
        Azure.Requests.Clear();
        var again = await PublishAsync();
        Assert.Equal(0, again.SentBytes);
        Assert.Equal(SimulatedResourceManager.Id(Version), again.ImageVersionId);
        Assert.Empty(Azure.Changes);
    }

    [Fact]
    public async Task A_version_that_is_there_gets_the_regions_that_it_lacks()
    {
        await PublishAsync(image: Request with { Replicas = 2 });
        Azure.Requests.Clear();
        var again = await PublishAsync(image: Request with { TargetRegions = ["East US", "West Europe"] });
        Assert.Equal(0, again.SentBytes);
        Assert.Equal([$"PATCH {Version} 200"], Azure.Changes);
        Assert.Equal(
            ["westeurope 2", "northeurope 2", "eastus 1"],
            Azure.Find(Version)!["properties"]!["publishingProfile"]!["targetRegions"]!.AsArray()
                .Select(region => $"{region!["name"]} {region["regionalReplicaCount"]}"));
        Assert.Equal("Succeeded", Azure.Property(Version, "provisioningState"));
        Assert.Contains(Reporter.Updates, update => update.Status.Contains("eastus ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_version_is_never_overwritten()
    {
        await PublishAsync();
        using var other = new TestVhd(48, 3);
        Azure.Requests.Clear();
        await FailsAsync("ImageVersionExists", () => PublishAsync(other.Path), "next version");
        await FailsAsync("ImageVersionExists", () => PublishAsync(other.Path, force: true), "-Force");
        Assert.Empty(Azure.Changes);
    }

    [Fact]
    public async Task The_next_version_uses_the_definition_that_is_there()
    {
        await PublishAsync();
        using var other = new TestVhd(48, 3);
        Azure.Requests.Clear();
        await PublishAsync(other.Path, image: Request with { Image = "arch/arch-gen2/2026.12.2" });
        Assert.DoesNotContain($"PUT {Definition} 202", Azure.Requests);
        Assert.Equal("Succeeded", Azure.Property($"{Definition}/versions/2026.12.2", "provisioningState"));
    }

    [Fact]
    public async Task A_run_stopped_in_the_upload_goes_on()
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
        var published = await PublishAsync(vhd.Path);
        Assert.InRange(published.SentBytes, 1, published.DataBytes - (6L * (4 << 20)));
        Assert.Equal("Succeeded", Azure.Property(Version, "provisioningState"));
    }

    [Fact]
    public async Task A_run_stopped_in_the_replication_is_waited_for_by_the_next()
    {
        using var stop = new CancellationTokenSource();
        Azure.ReplicationStep = 10;
        Reporter.Watch = status =>
        {
            if (status.StartsWith("replicating", StringComparison.Ordinal))
            {
                stop.Cancel();
            }
        };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => PublishAsync(cancellationToken: stop.Token));
        Assert.Equal("Creating", Azure.Property(Version, "provisioningState"));
        Assert.NotNull(Azure.Find(Disk));
        Reporter.Watch = null;
        Azure.Requests.Clear();

        var published = await PublishAsync();
        Assert.Equal(0, published.SentBytes);
        Assert.Equal("Succeeded", Azure.Property(Version, "provisioningState"));
        Assert.Null(Azure.Find(Disk));
        Assert.Equal([$"DELETE {Disk} 202"], Azure.Changes);
    }

    [Fact]
    public async Task A_region_that_fails_is_told_and_the_next_run_sends_nothing_again()
    {
        Azure.BrokenRegion = "northeurope";
        await FailsAsync(
            "ImageVersionFailed", () => PublishAsync(), "northeurope: The replication failed for lack of capacity", "The disk is kept");
        Azure.BrokenRegion = null;
        var published = await PublishAsync();
        Assert.Equal(0, published.SentBytes);
        Assert.Equal("Succeeded", Azure.Property(Version, "provisioningState"));
    }

    [Fact]
    public async Task A_version_that_Azure_gives_up_later_on()
    {
        Azure.Faults.Enqueue(new ArmFault("PUT", "/versions/2026.12.1", 0, "QuotaExceeded", "The quota of image replicas is exceeded.")
        {
            IsLate = true,
        });
        await FailsAsync("QuotaExceeded", () => PublishAsync(), "quota of image replicas", "'arch/arch-gen2/2026.12.1'");
        Assert.Equal(0, (await PublishAsync()).SentBytes);
    }

    [Fact]
    public async Task A_definition_that_may_not_be_made_is_known_before_the_upload()
    {
        Azure.Faults.Enqueue(new ArmFault(
            "PUT", "/images/arch-gen2", 403, "AuthorizationFailed",
            "No authorization to perform action 'Microsoft.Compute/galleries/images/write'."));
        await FailsAsync("NotAuthorized", () => PublishAsync(), "galleries/images/write", "SECURITY.md", "'arch/arch-gen2'");
        Assert.Null(Azure.Find(Disk));
        Assert.Empty(Azure.Blobs);
    }

    [Fact]
    public async Task Throttling_is_waited_out()
    {
        Azure.Faults.Enqueue(new ArmFault("PUT", "/versions/2026.12.1", 429, "TooManyRequests", "Slower.") { RetryAfter = 1 });
        Azure.Faults.Enqueue(new ArmFault("GET", "/versions/2026.12.1", 500, "InternalError", "Oh.") { Times = 2 });
        await PublishAsync();
        Assert.All(Azure.Faults, fault => Assert.Equal(0, fault.Times));
        Assert.Contains(Reporter.Details, detail => detail.Contains("/versions/2026.12.1: 429", StringComparison.Ordinal));
        RequireNoSecret();
    }

    [Theory]
    [InlineData("IsAcceleratedNetworkSupported", "True", "without -SkipTest")]
    [InlineData("DiskControllerTypes", "SCSI, NVMe", "boot from an NVMe disk")]
    [InlineData("SecurityType", "TrustedLaunchSupported", "Secure Boot")]
    [InlineData("IsHibernateSupported", "true", "hibernate")]
    public async Task A_definition_that_promises_more_than_is_shown(string feature, string value, string word)
    {
        await PublishAsync();
        Azure.Find(Definition)!["properties"]!["features"] = new JsonArray(new JsonObject { ["name"] = feature, ["value"] = value });
        Azure.Requests.Clear();
        await FailsAsync(
            "DefinitionClaimsMore",
            () => PublishAsync(image: Request with { Image = "arch/arch-gen2/2026.12.2" }, evidence: new PublishEvidence()),
            $"{feature}={value}", word, "another definition");
        Assert.Empty(Azure.Changes);
    }

    [Theory]
    [InlineData("IsAcceleratedNetworkSupported", "True")]
    [InlineData("DiskControllerTypes", "SCSI")]
    [InlineData("SecurityType", "Standard")]
    [InlineData("IsHibernateSupported", "False")]
    [InlineData("SomethingNew", "True")]
    public async Task A_definition_that_promises_what_is_shown(string feature, string value)
    {
        await PublishAsync();
        Azure.Find(Definition)!["properties"]!["features"] = new JsonArray(new JsonObject { ["name"] = feature, ["value"] = value });
        var next = await PublishAsync(image: Request with { Image = "arch/arch-gen2/2026.12.2" });
        Assert.Equal(SimulatedResourceManager.Id($"{Definition}/versions/2026.12.2"), next.ImageVersionId);
    }

    [Theory]
    [InlineData("osType", "Windows", "operating system is Windows")]
    [InlineData("osState", "Specialized", "state is Specialized")]
    [InlineData("hyperVGeneration", "V1", "generation is V1")]
    [InlineData("architecture", "Arm64", "architecture is Arm64")]
    public async Task A_definition_of_another_kind(string property, string value, string word)
    {
        await PublishAsync();
        Azure.Find(Definition)!["properties"]![property] = value;
        await FailsAsync(
            "DefinitionMismatch", () => PublishAsync(image: Request with { Image = "arch/arch-gen2/2026.12.2" }), word, "name another");
    }

    [Fact]
    public async Task Two_definitions_of_one_publisher_offer_and_SKU()
    {
        await PublishAsync();
        await FailsAsync(
            "AzureRefused", () => PublishAsync(image: Request with { Image = "arch/other/1.0.0", Offer = "arch-gen2" }),
            "same publisher, offer");
    }

    [Fact]
    public async Task A_target_region_that_is_not_there_keeps_the_disk_for_the_next_run()
    {
        await FailsAsync(
            "RegionUnknown", () => PublishAsync(image: Request with { TargetRegions = ["atlantis"] }), "atlantis", "list-locations");
        Assert.Equal(0, (await PublishAsync()).SentBytes);
    }

    [Theory]
    [InlineData("arch", "GalleryImageInvalid", "gallery/definition/version")]
    [InlineData("arch/arch-gen2", "GalleryImageInvalid", "gallery/definition/version")]
    [InlineData("arch/a/b/1.0.0", "GalleryImageInvalid", "gallery/definition/version")]
    [InlineData("my-gallery/arch/1.0.0", "NameInvalid", "no '-'")]
    [InlineData("arch/-arch/1.0.0", "NameInvalid", "image definition")]
    [InlineData("arch/arch/1.0", "NameInvalid", "Major.Minor.Patch")]
    [InlineData("arch/arch/1.0.0.0", "NameInvalid", "Major.Minor.Patch")]
    [InlineData("arch/arch/1.0.x", "NameInvalid", "Major.Minor.Patch")]
    [InlineData("arch/arch/2026.01.02", "NameInvalid", "leading zeros")]
    [InlineData("arch/arch/1.0.2147483648", "NameInvalid", "Major.Minor.Patch")]
    [InlineData("arch/arch/latest", "NameInvalid", "Major.Minor.Patch")]
    public async Task An_image_that_is_none(string image, string errorId, string word)
    {
        await FailsAsync(errorId, () => PublishAsync(image: Request with { Image = image }), word);
        Assert.Empty(Azure.Requests);
    }

    [Fact]
    public async Task Wishes_that_cannot_be()
    {
        await FailsAsync("ReplicasInvalid", () => PublishAsync(image: Request with { Replicas = 101 }), "1 to 100");
        await FailsAsync("EndOfLifePassed", () => PublishAsync(image: Request with { EndOfLife = DateTimeOffset.UnixEpoch }), "1970");
        await FailsAsync("NameInvalid", () => PublishAsync(image: Request with { TargetRegions = ["west-europe"] }), "region");
        await FailsAsync("NameInvalid", () => PublishAsync(image: Request with { Publisher = "me." }), "publisher");
        Assert.Empty(Azure.Requests);
    }

    [Fact]
    public void The_plan_tells_all_that_would_be_made_and_asks_nothing()
    {
        var plan = PublishPlan.Of(Publication(), Request with { ExcludeFromLatest = true }, s_tested);
        Assert.Collection(
            plan,
            line => Assert.Contains("gallery 'arch' in the resource group 'images', westeurope", line, StringComparison.Ordinal),
            line =>
            {
                Assert.Contains("definition 'arch-gen2'", line, StringComparison.Ordinal);
                Assert.Contains("generation 2, x64", line, StringComparison.Ordinal);
                Assert.Contains(
                    "IsAcceleratedNetworkSupported=True, IsHibernateSupported=False, DiskControllerTypes=SCSI",
                    line, StringComparison.Ordinal);
            },
            line => Assert.Contains("disk 'arch-gen2-2026.12.1'", line, StringComparison.Ordinal),
            line => Assert.Contains(Vhd.Path, line, StringComparison.Ordinal),
            line =>
            {
                Assert.Contains("'2026.12.1' of that disk in westeurope, northeurope, with 1 replica each", line, StringComparison.Ordinal);
                Assert.Contains("excluded from latest", line, StringComparison.Ordinal);
            },
            line => Assert.Contains("Delete the managed disk", line, StringComparison.Ordinal));
        Assert.Equal(5, PublishPlan.Of(Publication(), Request with { KeepDisk = true }, s_tested).Count);
        Assert.Empty(Azure.Requests);
    }

    [Fact]
    public void The_name_of_the_disk_is_never_too_long()
    {
        var name = (Request with { Image = $"arch/{new string('a', 80)}/2026.12.1" }).Disk.Name;
        Assert.Equal(80, name.Length);
        Assert.EndsWith("a-2026.12.1", name, StringComparison.Ordinal);
    }

    private static GalleryRequest Request { get; } = new()
    {
        Image = "arch/arch-gen2/2026.12.1", ResourceGroup = "images", Location = "westeurope", TargetRegions = ["northeurope"],
    };

    private IEnumerable<string> Features() =>
        Azure.Find(Definition)!["properties"]!["features"]!.AsArray()
            .Select(feature => $"{feature!["name"]}={feature["value"]}")
            .Order(StringComparer.Ordinal);

    private static string[] Texts(JsonNode node, params string[] names) => [.. names.Select(name => node[name]!.ToString())];

    private PublishRequest Publication(string? path = null, bool force = false, PublishEvidence? evidence = null) =>
        new() { VhdPath = path ?? Vhd.Path, Force = force, Evidence = evidence ?? s_tested, Upload = BlobTests.Quick };

    private Task<PublishedVhd> PublishAsync(
        string? path = null, bool force = false, GalleryRequest? image = null, PublishEvidence? evidence = null,
        CancellationToken cancellationToken = default) =>
        VhdPublisher.ToGalleryAsync(Publication(path, force, evidence), Azure.Access, image ?? Request, Reporter, cancellationToken);

    private async Task FailsAsync(string errorId, Func<Task<PublishedVhd>> publish, params string[] words)
    {
        var error = await Assert.ThrowsAsync<ArchAzureException>(publish);
        Assert.True(errorId == error.ErrorId, $"{error.ErrorId}: {error.Message}");
        Assert.All(words, word => Assert.Contains(word, error.Message, StringComparison.Ordinal));
        RequireNoSecret(error.ToString());
    }

    private void RequireNoSecret(string more = "") => Azure.RequireNoSecret(Reporter.Everything + more);
}
