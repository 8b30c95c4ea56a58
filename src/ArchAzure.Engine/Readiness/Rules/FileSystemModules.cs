namespace ArchAzure.Readiness.Rules;

/// <summary>The running system can load udf, for the provisioning DVD, and vfat, for the EFI system partition.</summary>
internal sealed class FileSystemModules : ReadinessRule
{
    private static readonly string[] s_modules = ["udf", "vfat"];

    public override string Wanted => "udf and vfat loadable or built into the kernel";

    public override string Source => Sources.AzureProvisioning;

    public override Finding Check(CheckedDisk disk)
    {
        var lines = ModprobeConfiguration.Words(disk.Root).ToList();
        var missing = s_modules.Where(module =>
            !disk.Modules.IsBuiltIn(module)
            && (!disk.Modules.IsLoadable(module) || lines.Exists(words => ModprobeConfiguration.Forbids(words, module)))).ToList();
        return missing.Count == 0
            ? Pass($"both, for kernel {disk.Modules.Release}")
            : Fail(
                $"{string.Join(", ", missing)} cannot be loaded by kernel {disk.Modules.Release}",
                "Install the kernel's whole modules package, run depmod, and remove what forbids them in modprobe.d.");
    }
}
