using ArchAzure.Readiness;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>The image of build.sh by every rule.</summary>
public sealed class ImageTests(ITestOutputHelper output) : AzureTest(output)
{
    [Fact]
    public async Task It_meets_every_rule()
    {
        var results = await ReadinessCheck.RunAsync(TestImage.Vhd, new ReadinessOptions(), Reporter, CancellationToken.None);
        ReadinessAssert.MeetsEveryRule(results);
    }
}
