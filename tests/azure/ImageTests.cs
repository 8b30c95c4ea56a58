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

        Assert.NotEmpty(results);
        Assert.All(
            results, result =>
                Assert.True(result.Verdict == ReadinessOutcome.Passed, $"{result.Rule}: {result.Verdict}, found {result.Found}"));
    }
}
