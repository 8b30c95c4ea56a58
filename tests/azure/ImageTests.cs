using ArchAzure.Readiness;
using ArchAzure.SimulatedAzure;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>The image of build.sh by every rule, and on generation 2.</summary>
public sealed class ImageTests(ITestOutputHelper output) : AzureTest(output)
{
    [Fact]
    public async Task It_meets_every_rule()
    {
        var results = await ReadinessCheck.RunAsync(TestImage.Vhd, new ReadinessOptions(), Reporter, CancellationToken.None);

        Assert.Equal(40, results.Count);
        Assert.All(results, result => Assert.True(result.Outcome == ReadinessOutcome.Passed, $"{result.Rule}: {result.Outcome}, found {result.Found}"));
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task It_is_provisioned_on_generation_2_with_a_late_dvd_and_on_a_larger_disk()
    {
        var sizeMiB = (int)TestImage.Build.Disk!.SizeMiB + 2048;
        var report = await BootAsync(new BootTestOptions(TestImage.Vhd, 2)
        {
            LogDirectory = Logs(),
            Timeout = Limit,
            HostName = "second-machine",
            DvdDelay = TimeSpan.FromSeconds(20),
            DiskSizeMiB = sizeMiB,
        });

        Assert.True(report.Passed, report.Error);
        Assert.Empty(report.Violations);
        var guest = report.Guest!;
        Assert.Equal("second-machine", guest.HostName);
        Assert.True(guest.PasswordlessSudo);
        Assert.Empty(guest.FailedUnits);
        Assert.Empty(guest.Swaps);
        Assert.Equal((long)sizeMiB << 20, guest.DiskBytes);
        Assert.InRange(guest.RootPartitionBytes, guest.DiskBytes - (303L << 20), guest.DiskBytes);
        Assert.InRange(guest.RootBytes, guest.RootPartitionBytes * 9 / 10, guest.RootPartitionBytes);
    }
}
