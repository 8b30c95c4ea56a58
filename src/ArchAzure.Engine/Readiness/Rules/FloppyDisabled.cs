namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The driver of floppy disks stays away: generation 1 has the controller and no drive, and each probe of it fails after seconds.
/// </summary>
internal sealed class FloppyDisabled : ReadinessRule
{
    private const string Module = "floppy";

    public override string Wanted => "floppy blacklisted, or no such module";

    public override string Source => "verify_floppy_module_is_blacklisted in https://github.com/microsoft/lisa";

    // Generation 2 has no floppy controller.
    public override bool AppliesTo(ReadinessOptions options) => options.Generation != 2;

    public override Finding Check(CheckedDisk disk)
    {
        var disabled = ModprobeConfiguration.Words(disk.Root)
            .Any(words => words is ["blacklist", Module, ..] || ModprobeConfiguration.Forbids(words, Module));
        return disabled ? Pass("blacklisted")
            : disk.Modules.IsBuiltIn(Module) ? Warn("built into the kernel", "Build it as a module, and blacklist it.")
            : disk.Modules.IsLoadable(Module)
                ? Warn("it can be loaded", "Write 'blacklist floppy' into a file in /etc/modprobe.d, and make the initramfs again.")
            : Pass("no such module");
    }
}
