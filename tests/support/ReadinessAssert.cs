using ArchAzure.Readiness;

namespace ArchAzure.TestSupport;

/// <summary>Assertions on what the rules say of an image.</summary>
internal static class ReadinessAssert
{
    /// <summary>Every rule passes; only that the boot loader is not signed, as no GRUB of Arch is, is warned of.</summary>
    public static void MeetsEveryRule(IReadOnlyCollection<ReadinessResult> results)
    {
        Assert.NotEmpty(results);
        Assert.All(
            results,
            result => Assert.True(
                result.Verdict == (result.Rule == "SecureBoot" ? ReadinessOutcome.Warning : ReadinessOutcome.Passed),
                $"{result.Rule}: {result.Outcome}: {result.Found}"));
    }
}
