using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>The running system can load udf, for the provisioning DVD, and vfat, for the EFI system partition.</summary>
internal sealed class FileSystemModules : ReadinessRule
{
    private static readonly string[] s_modules = ["udf", "vfat"];

    public override string Wanted => "udf and vfat loadable or built into the kernel";

    public override string Source => Sources.AzureProvisioning;

    public override Finding Check(CheckedDisk disk)
    {
        var disabled = Disabled(disk);
        var missing = s_modules.Where(
            module => !disk.Modules.IsBuiltIn(module) && (!disk.Modules.IsLoadable(module) || disabled.Contains(module))).ToList();
        return missing.Count == 0
            ? Pass($"both, for kernel {disk.Modules.Release}")
            : Fail(
                $"{string.Join(", ", missing)} cannot be loaded by kernel {disk.Modules.Release}",
                "Install the kernel's whole modules package, run depmod, and remove what forbids them in modprobe.d.");
    }

    /// <summary>
    /// Hardening guides turn file systems off with <c>install udf /bin/false</c>; a blacklist line alone does not stop a mount
    /// (modprobe.d(5)).
    /// </summary>
    private static HashSet<string> Disabled(CheckedDisk disk) =>
        ConfigurationFiles.Find(
            disk.Root, ".conf", "/etc/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
            .SelectMany(path => disk.Root.ReadLines(path))
            .Select(line => line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries))
            .Where(words => words is ["install", _, "/bin/false" or "/bin/true" or "/usr/bin/false" or "/usr/bin/true", ..])
            .Select(words => words[1])
            .ToHashSet(StringComparer.Ordinal);
}
