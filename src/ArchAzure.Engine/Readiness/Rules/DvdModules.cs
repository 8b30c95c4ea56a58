namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The initramfs brings what reads the provisioning DVD: the agent looks for its device node once, so drivers that come late fail provisioning.
/// On generation 1 the DVD hangs off the emulated IDE controller, which needs ata_piix.
/// </summary>
internal sealed class DvdModules : ReadinessRule
{
    private static readonly string[] Modules = ["ata_piix", "sr_mod", "cdrom", "udf"];

    public override string Wanted => $"{string.Join(", ", Modules)} in the initramfs or built into the kernel";

    public override string Source => Sources.AzureProvisioning;

    public override Finding Check(ReadinessImage image)
    {
        var inInitramfs = KernelModules.NamesOf(image.Initramfs.Where(name => name.Contains($"/modules/{image.Modules.Release}/", StringComparison.Ordinal)));
        var missing = Modules.Where(module => !inInitramfs.Contains(module) && !image.Modules.IsBuiltIn(module)).ToList();
        return missing.Count == 0
            ? Pass($"all of them, for kernel {image.Modules.Release}")
            : Fail($"{string.Join(", ", missing)} missing for kernel {image.Modules.Release}", "Name them in MODULES of mkinitcpio.conf (and leave out autodetect), then run mkinitcpio -P.");
    }
}
