namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The initramfs brings Hyper-V's drivers: without hv_storvsc the root disk of a generation 2 machine is never found.
/// </summary>
internal sealed class HyperVModules() : InitramfsModulesRule("hv_vmbus", "hv_storvsc", "hv_netvsc")
{
    public override string Source => Sources.AzureLinuxImage;
}
