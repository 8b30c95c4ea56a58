namespace ArchAzure.Readiness.Rules;

/// <summary>The initramfs brings some drivers: modprobe finds them there, and all that they depend on.</summary>
internal abstract class InitramfsModulesRule : ReadinessRule
{
    /// <summary>The modules' names, as modprobe takes them.</summary>
    protected abstract IReadOnlyList<string> Drivers(CheckedDisk disk);

    public override Finding Check(CheckedDisk disk)
    {
        var modules = disk.Modules;
        var early = disk.EarlyModules;
        var missing = Drivers(disk).Select(Missing).OfType<string>().ToList();
        return missing.Count == 0
            ? Pass($"all of them, for kernel {modules.Release}")
            : Fail(
                $"{string.Join(", ", missing)} missing for kernel "
                + $"{modules.Release}{(early is null ? "; the initramfs has no modules.dep.bin, by which modprobe finds modules" : "")}",
                "Name them in MODULES of mkinitcpio.conf (and leave out autodetect), then run mkinitcpio -P.");

        // What depmod made of an initramfs does not name a dependency that is not in it: the root's list does.
        string? Missing(string driver) =>
            IsThere(driver)
                ? modules.DependenciesOf(driver)
                    .Where(needed => !IsThere(needed))
                    .Select(needed => $"{needed} (for {driver})")
                    .FirstOrDefault()
                : driver;

        bool IsThere(string module) => modules.IsBuiltIn(module) || early?.IsLoadable(module) == true;
    }
}
