using ArchAzure.Publishing;
using ArchAzure.Readiness;

namespace ArchAzure.UnitTests.Publishing;

public sealed class PublishEvidenceTests
{
    [Theory]
    [InlineData(ReadinessOutcome.Passed, ReadinessOutcome.Passed, true, true)]
    [InlineData(ReadinessOutcome.Unknown, ReadinessOutcome.Passed, false, true)]
    [InlineData(ReadinessOutcome.Passed, ReadinessOutcome.Unknown, false, false)]
    [InlineData(ReadinessOutcome.Failed, ReadinessOutcome.Failed, false, false)]
    public void Only_what_has_passed_is_shown(ReadinessOutcome functions, ReadinessOutcome modules, bool accelerated, bool scsi)
    {
        var evidence = PublishEvidence.Of(
            [Result("VirtualFunctionsUnmanaged", functions), Result("HyperVModules", modules)], startedFromNvme: false);
        Assert.Equal(accelerated, evidence.AcceleratedNetworking);
        Assert.Equal(scsi ? ["SCSI"] : [], evidence.DiskControllers);
        Assert.False(evidence.TrustedLaunch);
    }

    [Fact]
    public void Without_rules_nothing_is_shown()
    {
        var evidence = PublishEvidence.Of([], startedFromNvme: true);
        Assert.False(evidence.AcceleratedNetworking);
        Assert.Empty(evidence.DiskControllers);
    }

    [Theory]
    [InlineData(true, ReadinessOutcome.Passed, true)]
    [InlineData(false, ReadinessOutcome.Passed, false)]
    [InlineData(true, ReadinessOutcome.Unknown, false)]
    public void NVMe_takes_the_drivers_and_a_boot(bool startedFromNvme, ReadinessOutcome modules, bool shown) =>
        Assert.Equal(shown, PublishEvidence.Of([Result("NvmeModules", modules)], startedFromNvme).DiskControllers.Contains("NVMe"));

    private static ReadinessResult Result(string rule, ReadinessOutcome outcome) => new()
    {
        Rule = rule, Outcome = outcome.ToString(), Found = "", Wanted = "", Remedy = null, Source = "", VhdPath = "disk.vhd",
    };
}
