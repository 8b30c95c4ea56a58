using ArchAzure.BuildTests;
using ArchAzure.Readiness;
using ArchAzure.SimulatedAzure;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>cloud-init provisions, and WALinuxAgent stays for extensions.</summary>
public sealed class CloudInitTests(CloudInitImage image, ITestOutputHelper output)
    : ProvisioningTests(output, "Cloud-Init", "cloud-init-local.service", "cloud-init status --wait", "cloud-init clean --logs --seed && waagent -deprovision+user -force"),
        IClassFixture<CloudInitImage>
{
    [Fact]
    public async Task It_meets_every_rule()
    {
        var results = await ReadinessCheck.RunAsync(image.Vhd, new ReadinessOptions(), Reporter, CancellationToken.None);
        Assert.All(results, result => Assert.True(result.Outcome == ReadinessOutcome.Passed, $"{result.Rule}: {result.Outcome}, found {result.Found}"));
    }

    [Fact]
    [Trait("Speed", "long")]
    public Task Password_extensions_and_a_second_boot() => SetsPasswordRunsExtensionsAndBootsAgainAsync(image.Vhd, Logs());

    [Fact]
    [Trait("Speed", "slow")]
    public Task Late_dvd_key_only_long_lease_idle_sessions_and_another_life() =>
        FindsLateDvdRefusesPasswordsStaysReachableAndBecomesAnotherAsync(image.Vhd, Logs(), BootStage.Systemd, lateBySeconds: 75);
}

/// <summary>The shared image's base with the other agent on it.</summary>
public sealed class CloudInitImage : IAsyncLifetime
{
    private readonly Pipeline _pipeline = new();
    private TestBuild? _build;

    /// <summary>The image.</summary>
    public string Vhd => _build!.State.VhdPath!;

    /// <inheritdoc/>
    public async Task InitializeAsync()
    {
        await _pipeline.InitializeAsync();
        _build = await TestBuild.AfterStepAsync(_pipeline, 3);
        _build.AddSettings("AGENT=cloud-init");
        await _build.RunAllAsync(4, 5);
    }

    /// <inheritdoc/>
    public async Task DisposeAsync()
    {
        if (_build is not null)
        {
            await _build.DisposeAsync();
        }

        await _pipeline.DisposeAsync();
    }
}
