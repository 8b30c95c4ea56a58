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

    /// <summary>From what Test-AzureVhd's rules say, and boots.</summary>
    /// <remarks>
    /// The virtual function needs drivers that the kernel has and a network configuration that leaves it alone; SCSI needs hv_storvsc
    /// where the root is mounted. That it starts from NVMe takes the drivers and a boot; Trusted Launch can be shown by a boot only.
    /// </remarks>
    /// <param name="results">What the rules say.</param>
    /// <param name="startedFromNvme">Whether a boot has shown that it starts from NVMe.</param>
    public static PublishEvidence Of(IReadOnlyList<ReadinessResult> results, bool startedFromNvme)
    {
        List<string> controllers = [];
        if (Passed("HyperVModules"))
        {
            controllers.Add("SCSI");
        }

        if (startedFromNvme && Passed("NvmeModules"))
        {
            controllers.Add("NVMe");
        }

        return new PublishEvidence
        {
            AcceleratedNetworking = Passed("VirtualFunctionsUnmanaged") && Passed("HyperVModules"),
            DiskControllers = controllers,
        };

        bool Passed(string rule) => results.Any(result => result.Rule == rule && result.Verdict == ReadinessOutcome.Passed);
    }
}
