using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>How a rule came out.</summary>
public enum ReadinessOutcome
{
    /// <summary>The image meets the rule.</summary>
    Passed,

    /// <summary>It does not; Azure would refuse it, fail to provision it, or run it badly.</summary>
    Failed,

    /// <summary>
    /// It could not be seen: another layout, an unreadable file system, damage that another rule reports, or more than a check may
    /// cost.
    /// </summary>
    Unknown,

    /// <summary>It does not quite; Azure takes it all the same.</summary>
    Warning,
}

/// <summary>What one rule says of an image.</summary>
/// <param name="Rule">The rule's name, e.g. <c>KernelCommandLine</c>; stable.</param>
/// <param name="Outcome">How it came out.</param>
/// <param name="Found">What the image has, or why it could not be seen.</param>
/// <param name="Wanted">What the rule asks for.</param>
/// <param name="Remedy">What to do if it failed or is warned of; else null.</param>
/// <param name="Source">The document the rule comes from.</param>
/// <param name="VhdPath">The VHD.</param>
public sealed record ReadinessResult(
    string Rule, ReadinessOutcome Outcome, string Found, string Wanted, string? Remedy, string Source, string VhdPath);

/// <summary>What an image is checked for.</summary>
internal sealed record ReadinessOptions
{
    /// <summary>1 or 2 for the virtual machines the image is meant for; null if it must start in both.</summary>
    public int? Generation { get; init; }

    /// <summary>True for a forecast of the Azure Marketplace's certification instead of the rules for all images.</summary>
    public bool Certification { get; init; }

    /// <summary>The most that the check may cost.</summary>
    internal ReadLimits Limits { get; init; } = new();
}
