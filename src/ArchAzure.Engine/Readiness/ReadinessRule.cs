namespace ArchAzure.Readiness;

/// <summary>
/// One rule: its class has its name. It looks at one thing only and looks at it in one place; what it cannot read it lets throw:
/// an <see cref="ArchAzureException"/> makes its outcome unknown.
/// </summary>
internal abstract class ReadinessRule
{
    /// <summary>The class's name.</summary>
    public string Name => GetType().Name;

    /// <summary>What it asks for, in a few words.</summary>
    public abstract string Wanted { get; }

    /// <summary>The document it comes from.</summary>
    public abstract string Source { get; }

    /// <summary>Whether it has a meaning for the virtual machines the image is meant for.</summary>
    public virtual bool AppliesTo(ReadinessOptions options) => true;

    /// <summary>Whether it has a meaning for the image, so far as that can be told.</summary>
    public virtual bool AppliesTo(CheckedDisk disk) => true;

    /// <summary>Looks at the image.</summary>
    public abstract Finding Check(CheckedDisk disk);

    protected static Finding Pass(string found) => new(ReadinessOutcome.Passed, found, Remedy: null);

    protected static Finding Fail(string found, string remedy) => new(ReadinessOutcome.Failed, found, remedy);

    protected static Finding Warn(string found, string remedy) => new(ReadinessOutcome.Warning, found, remedy);

    protected static Finding Unknown(string found) => new(ReadinessOutcome.Unknown, found, Remedy: null);

    /// <summary>For rules that some things must not be there: passes if there are none.</summary>
    protected static Finding PassIfNone(IReadOnlyCollection<string> offenders, string none, string remedy) =>
        offenders.Count == 0 ? Pass(none) : Fail(Summarize(offenders), remedy);

    /// <summary>The first few of many, since a result is read in a table.</summary>
    protected static string Summarize(IReadOnlyCollection<string> things)
    {
        const int Shown = 5;
        return string.Join(", ", things.Take(Shown)) + (things.Count > Shown ? $" and {things.Count - Shown} more" : "");
    }
}

/// <summary>What a rule found.</summary>
internal sealed record Finding(ReadinessOutcome Outcome, string Found, string? Remedy);

/// <summary>The documents that several rules come from.</summary>
internal static class Sources
{
    public const string AzureLinuxImage = "https://learn.microsoft.com/azure/virtual-machines/linux/create-upload-generic";
    public const string AzureGeneration2 = "https://learn.microsoft.com/azure/virtual-machines/generation-2";
    public const string AzureCertification = "https://learn.microsoft.com/partner-center/marketplace-offers/azure-vm-certification-faq";
    public const string AzureLoadBalancerIdle = "https://learn.microsoft.com/azure/load-balancer/load-balancer-tcp-reset";
    public const string AzureAcceleratedNetworking =
        "https://learn.microsoft.com/azure/virtual-network/accelerated-networking-how-it-works";
    public const string AzureProvisioning = "https://learn.microsoft.com/azure/virtual-machines/linux/provisioning";
    public const string WaAgent = "https://github.com/Azure/WALinuxAgent#configuration-file-options";
    public const string UefiSpecification = "UEFI Specification 2.10";
    public const string Lisa = "https://github.com/microsoft/lisa";
    public const string BuildingImages = "https://systemd.io/BUILDING_IMAGES";
}
