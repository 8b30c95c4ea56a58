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

/// <summary>What one rule says of an image. Its properties are stable: scripts go by them.</summary>
public sealed record ReadinessResult
{
    /// <summary>The version of this object's shape; another one when a property is renamed or means something else.</summary>
    public int SchemaVersion { get; } = 1;

    /// <summary>The rule's name, e.g. <c>KernelCommandLine</c>.</summary>
    public required string Rule { get; init; }

    /// <summary>How it came out, as a word that ConvertTo-Json keeps: one of <see cref="ReadinessOutcome"/>.</summary>
    public required string Outcome { get; init; }

    /// <summary>What the image has, or why it could not be seen.</summary>
    public required string Found { get; init; }

    /// <summary>What the rule asks for.</summary>
    public required string Wanted { get; init; }

    /// <summary>What to do if it failed or is warned of; else null.</summary>
    public required string? Remedy { get; init; }

    /// <summary>The document the rule comes from.</summary>
    public required string Source { get; init; }

    /// <summary>The VHD.</summary>
    public required string VhdPath { get; init; }

    /// <summary>How it came out.</summary>
    internal ReadinessOutcome Verdict => Enum.Parse<ReadinessOutcome>(Outcome);
}

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
