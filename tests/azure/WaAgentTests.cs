using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>WALinuxAgent provisions.</summary>
public sealed class WaAgentTests(ITestOutputHelper output)
    : ProvisioningTests(output, "WALinuxAgent", "waagent.service", "true", "waagent -deprovision+user -force")
{
    [Fact]
    [Trait("Speed", "slow")]
    public async Task Password_without_crypt_extensions_and_a_second_boot()
    {
        // Without the layer's own there is no crypt then, and the agent could set no password.
        using var folder = new TempFolder();
        await SetsPasswordRunsExtensionsAndBootsAgainAsync(await TestImage.WithoutAsync(folder, [.. await TestImage.CryptOfPythonAsync()]), Logs());
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task Late_dvd_key_only_long_lease_idle_sessions_and_another_life()
    {
        // In a container, with the QEMU of the image's own builder.
        using var launcher = await TestImage.ContainerLauncherAsync(Reporter);
        await FindsLateDvdRefusesPasswordsStaysReachableAndBecomesAnotherAsync(TestImage.Vhd, Logs(), lateFrom: null, lateBySeconds: 40, launcher);
    }
}
