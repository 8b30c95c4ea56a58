namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The kernel has what Microsoft's tests call essential besides Hyper-V's drivers: CIFS, for Azure Files, and watchdogs. Azure starts
/// machines without them.
/// </summary>
internal sealed class EssentialModules : ReadinessRule
{
    private const string Watchdogs = "kernel/drivers/watchdog/";

    public override string Wanted => "cifs and watchdogs, built into the kernel or as modules";

    public override string Source => "verify_essential_kernel_modules in " + Sources.Lisa;

    public override Finding Check(CheckedDisk disk)
    {
        var modules = disk.Modules;
        List<string> missing = [];
        if (!modules.IsBuiltIn("cifs") && !modules.IsLoadable("cifs"))
        {
            missing.Add("cifs");
        }

        if (!modules.HasAnyIn(Watchdogs))
        {
            missing.Add("watchdogs");
        }

        return missing.Count == 0
            ? Pass($"all of them, for kernel {modules.Release}")
            : Warn(
                $"no {string.Join(", no ", missing)} for kernel {modules.Release}",
                "Install a kernel that has them; without CIFS the machine mounts no share of Azure Files.");
    }
}
