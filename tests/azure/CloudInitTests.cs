using System.Text.RegularExpressions;
using ArchAzure.Readiness;
using ArchAzure.StandIn;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>cloud-init provisions, and WALinuxAgent stays for extensions.</summary>
public sealed partial class CloudInitTests(CloudInitImage image, ITestOutputHelper output)
    : ProvisioningTests(
        output, "Cloud-Init", "cloud-init-local.service", Looking(), Done,
        "cloud-init clean --logs --seed && waagent -deprovision+user -force"),
        IClassFixture<CloudInitImage>
{
    // 2: it has warned. Its code for Arch asks hostnamectl(1) for the host's name before D-Bus runs; the name itself is right, see the
    // tests.
    private const string Done = "cloud-init status --wait --long || [ $? = 2 ]";

    [Fact]
    public async Task It_meets_every_rule()
    {
        var results = await ReadinessCheck.RunAsync(image.Vhd, new ReadinessOptions(), Reporter, CancellationToken.None);
        ReadinessAssert.MeetsEveryRule(results);
    }

    [Fact]
    [Trait("Speed", "long")]
    public Task Password_extensions_and_a_second_boot() => SetsPasswordRunsExtensionsAndBootsAgainAsync(image.Vhd, Logs());

    // What keeps idle sessions alive is of the layer that both agents share: WaAgentTests has them.
    [Fact]
    [Trait("Speed", "slow")]
    public async Task Late_dvd_key_only_long_lease_NVMe_and_resource_disk()
    {
        using var folder = new TempFolder();
        await FindsLateDvdRefusesPasswordsAndStaysReachableAsync(
            await TakesQemusDisksForAzuresAsync(folder, image.Vhd, NamesTheResourceDisk(folder)), Logs(), idle: null, onNvme: true);
    }

    [Fact]
    [Trait("Speed", "long")]
    public Task And_another_life() => FindsLateDvdRefusesPasswordsAndStaysReachableAsync(image.Vhd, Logs(), idle: null, thenAnother: true);

    [GeneratedRegex(@"Starting .*(cloud-init-local|\(pre-network)", RegexOptions.None, 5000)]
    private static partial Regex Looking();
}

/// <summary>The shared image's base with the other agent on it.</summary>
public sealed class CloudInitImage : IAsyncLifetime
{
    private TestBuild? _build;

    /// <summary>The image.</summary>
    public string Vhd => _build!.State.VhdPath!;

    /// <inheritdoc/>
    public async Task InitializeAsync()
    {
        await using var mirror = await MirrorServer.StartAsync(TestSetup.StandIn);
        _build = await TestBuild.CopyAsync(TestImage.Directory, TestImage.Build, 3);
        _build.AddSettings("AGENT=cloud-init", $"MIRROR={mirror.BaseUrl}/$repo/os/$arch");
        await _build.RunAllAsync(4, 5);
    }

    /// <inheritdoc/>
    public async Task DisposeAsync()
    {
        if (_build is not null)
        {
            await _build.DisposeAsync();
        }
    }
}
