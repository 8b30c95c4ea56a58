using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>WALinuxAgent provisions. Each boot has a class of its own, so that two may run at once.</summary>
public abstract class WaAgentTests(ITestOutputHelper output)
    : ProvisioningTests(output, "WALinuxAgent", "waagent.service", looking: null, "true", "waagent -deprovision+user -force");

/// <summary>With a password.</summary>
public sealed class WaAgentPasswordTests(ITestOutputHelper output) : WaAgentTests(output)
{
    // Run by sshd for each session, as the user: what carries the first one ends.
    private const string EndsTheFirstSession = "if mkdir /var/tmp/ended 2> /dev/null; then pkill -KILL -u \"$(id -u)\" sshd || rmdir "
        + "/var/tmp/ended; fi\n";

    [Fact]
    [Trait("Speed", "slow")]
    public async Task Password_without_crypt_extensions_a_frozen_and_a_broken_session_and_a_second_boot()
    {
        // Without the layer's own there is no crypt then, and the agent could set no password. pacman's keyring would take an emulated
        // machine
        // a minute, which the other boots spend.
        using var folder = new TempFolder();
        var vhd = await TestImage.WithoutAsync(
            folder, [
                .. await TestImage.CryptOfPythonAsync(), "rm /etc/systemd/system/multi-user.target.wants/pacman-keyring.service",
                $"write {folder.Write("sshrc", EndsTheFirstSession)} /etc/ssh/sshrc"]);
        FreezeAt("Ssh");
        await SetsPasswordRunsExtensionsAndBootsAgainAsync(vhd, Logs(), trace: "/var/tmp/ended");
        Assert.True(HasFrozen);
    }
}

/// <summary>With a key.</summary>
public sealed class WaAgentKeyTests(ITestOutputHelper output) : WaAgentTests(output)
{
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(24);

    [Fact]
    [Trait("Speed", "slow")]
    public Task Late_dvd_key_only_long_lease_and_idle_sessions() =>
        FindsLateDvdRefusesPasswordsAndStaysReachableAsync(TestImage.Vhd, Logs(), s_idle);

    [Fact]
    [Trait("Speed", "long")]
    public async Task NVMe_with_names_that_change()
    {
        using var folder = new TempFolder();
        await FindsLateDvdRefusesPasswordsAndStaysReachableAsync(
            await TakesQemusDisksForAzuresAsync(folder, TestImage.Vhd), Logs(), idle: null, onNvme: true, thenAnotherName: true);
    }

    [Fact]
    [Trait("Speed", "long")]
    public Task A_power_cut_on_the_first_boot() => SurvivesAPowerCutAsync(Logs());

    [Fact]
    [Trait("Speed", "long")]
    public Task And_another_life() => FindsLateDvdRefusesPasswordsAndStaysReachableAsync(TestImage.Vhd, Logs(), s_idle, thenAnother: true);
}
