using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>The image without a fix fails as the old images did, and the report says so in the agent's words.</summary>
public sealed class MissingFixTests(ITestOutputHelper output) : AzureTest(output)
{
    [Fact]
    [Trait("Speed", "long")]
    public async Task Without_the_wait_a_late_dvd_is_not_found()
    {
        using var folder = new TempFolder();
        var vhd = await TestImage.WithoutAsync(folder, "rm /usr/lib/archazure/wait-for-dvd");
        var report = await BootAsync(new MachineTestOptions(vhd, 2) { LogDirectory = Logs(), Timeout = Limit, DvdDelay = Limit });
        Assert.False(report.Passed);
        Assert.Equal("GuestNotReady", report.ErrorId);
        Assert.Contains("ProvisioningFailed", report.Error, StringComparison.Ordinal);
        Assert.Contains("DVD", report.Error, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain(report.HealthReports, health => health.State == "Ready");
    }

    [Fact]
    [Trait("Speed", "long")]
    public async Task Without_our_crypt_the_agent_does_not_even_start()
    {
        using var folder = new TempFolder();
        var vhd = await TestImage.WithoutAsync(folder, ["rm /usr/lib/waagent/crypt.py", .. await TestImage.CryptOfPythonAsync()]);
        var report = await BootAsync(new MachineTestOptions(vhd, 1)
        {
            LogDirectory = Logs(),
            Timeout = TimeSpan.FromMinutes(4),
            Password = "Correct-horse 7",
            DisableSshPasswordAuthentication = false,
        });

        // It imports the module first of all: nothing reaches the platform, nor the console.
        Assert.Equal("GuestTimeout", report.ErrorId);
        Assert.Contains("waited for the guest's agent to report Ready", report.Error, StringComparison.Ordinal);
        Assert.Contains(report.Timeline, milestone => milestone.Name == "LoginPrompt");
        Assert.DoesNotContain(report.Requests, request => request.Service == "WireServer");
    }
}
