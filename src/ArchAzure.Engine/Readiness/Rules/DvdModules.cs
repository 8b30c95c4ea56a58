namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The initramfs brings what reads the provisioning DVD: the agent looks for its device node once, so drivers that come late fail
/// provisioning.
/// On generation 1 the DVD hangs off the emulated IDE controller, which needs ata_piix.
/// </summary>
internal sealed class DvdModules : InitramfsModulesRule
{
    public override string Wanted => "ata_piix, sr_mod, cdrom, udf in the initramfs or built into the kernel";

    public override string Source => Sources.AzureProvisioning;

    protected override IReadOnlyList<string> Drivers(CheckedDisk disk) => ["ata_piix", "sr_mod", "cdrom", "udf"];
}
