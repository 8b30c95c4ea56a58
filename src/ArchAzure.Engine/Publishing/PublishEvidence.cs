using ArchAzure.Readiness;

namespace ArchAzure.Publishing;

/// <summary>What is known of an image, and by it what Azure may be told of it.</summary>
internal sealed record PublishEvidence
{
    /// <summary>Whether rules have shown that it works with accelerated networking.</summary>
    public bool AcceleratedNetworking { get; init; }

    /// <summary>The disk controllers it starts from: SCSI, NVMe.</summary>
    public IReadOnlyList<string> DiskControllers { get; init; } = [];

    /// <summary>Whether a boot under Secure Boot with a TPM has shown that it starts as a Trusted Launch machine.</summary>
    public bool TrustedLaunch { get; init; }

    /// <summary>From what Test-AzureVhd's rules say.</summary>
    /// <remarks>
    /// The virtual function needs drivers that the kernel has and a network configuration that leaves it alone; SCSI needs hv_storvsc
    /// where the root is mounted. NVMe and Trusted Launch can be shown by a boot only.
    /// </remarks>
    public static PublishEvidence Of(IReadOnlyList<ReadinessResult> results)
    {
        return new PublishEvidence
        {
            AcceleratedNetworking = Passed("VirtualFunctionsUnmanaged") && Passed("HyperVModules"),
            DiskControllers = Passed("HyperVModules") ? ["SCSI"] : [],
        };

        bool Passed(string rule) => results.Any(result => result.Rule == rule && result.Outcome == ReadinessOutcome.Passed);
    }
}
