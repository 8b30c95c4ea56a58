namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The initramfs brings Hyper-V's drivers: without hv_storvsc the root disk of a generation 2 machine is never found.
/// </summary>
internal sealed class HyperVModules : InitramfsModulesRule
{
    public override string Wanted => "hv_vmbus, hv_storvsc, hv_netvsc in the initramfs or built into the kernel";

    public override string Source => Sources.AzureLinuxImage;

    protected override IReadOnlyList<string> Drivers(CheckedDisk disk) => ["hv_vmbus", "hv_storvsc", "hv_netvsc"];
}
