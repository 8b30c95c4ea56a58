namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The initramfs brings what finds the root disk on sizes that have NVMe only: the driver, and that of the PCI bus it is on.
/// </summary>
internal sealed class NvmeModules : InitramfsModulesRule
{
    public override string Wanted => "nvme and pci_hyperv in the initramfs or built into the kernel";

    public override string Source => "https://learn.microsoft.com/azure/virtual-machines/nvme-linux";

    // Generation 1 has no such sizes.
    public override bool AppliesTo(ReadinessOptions options) => options.Generation != 1;

    protected override IReadOnlyList<string> Drivers(CheckedDisk disk) => ["nvme", "pci_hyperv"];
}
