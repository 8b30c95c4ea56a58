namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The initramfs brings Hyper-V's drivers: without hv_storvsc the root disk of a generation 2 machine is never found.
/// </summary>
internal sealed class HyperVModules : ReadinessRule
{
    private static readonly string[] Modules = ["hv_vmbus", "hv_storvsc", "hv_netvsc"];

    public override string Wanted => $"{string.Join(", ", Modules)} in the initramfs or built into the kernel";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(ReadinessImage image)
    {
        var inInitramfs = KernelModules.NamesOf(image.Initramfs.Where(name => name.Contains($"/modules/{image.Modules.Release}/", StringComparison.Ordinal)));
        var missing = Modules.Where(module => !inInitramfs.Contains(module) && !image.Modules.IsBuiltIn(module)).ToList();
        return missing.Count == 0
            ? Pass($"all of them, for kernel {image.Modules.Release}")
            : Fail($"{string.Join(", ", missing)} missing for kernel {image.Modules.Release}", "Name them in MODULES of mkinitcpio.conf (and leave out autodetect), then run mkinitcpio -P.");
    }
}
