using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The daemon by which the host and the machine exchange keys and values runs: through it the host learns the machine's addresses, and
/// cloud-init tells why it could not provision. Azure starts machines without it.
/// </summary>
internal sealed class KvpDaemon : ReadinessRule
{
    private static readonly string[] s_names = ["hv_kvp_daemon", "hypervkvpd"];
    private static readonly string[] s_units = [.. s_names.Append("hv-kvp-daemon").Select(name => name + ".service")];

    public override string Wanted => "hv_kvp_daemon, started at boot or by its device";

    public override string Source => "verify_hv_kvp_daemon_installed in " + Sources.Lisa;

    public override Finding Check(CheckedDisk disk)
    {
        var root = disk.Root;
        if (!new[] { "/usr/bin", "/usr/sbin", "/usr/lib/linux-tools/*" }
            .SelectMany(folder => s_names.SelectMany(name => Glob.Expand(root, $"{folder}/{name}"))).Any())
        {
            return Warn("not installed", "Install it (Arch, Fedora: hyperv; Debian: hyperv-daemons; Ubuntu: linux-cloud-tools-common).");
        }

        var startedBy = SystemdUnits.EnabledBy(root, s_units)
            ?? UdevRules.Lines(root).FirstOrDefault(rule =>
                rule.Line.Contains("SYSTEMD_WANTS", StringComparison.Ordinal)
                    && s_units.Any(unit => rule.Line.Contains(unit, StringComparison.Ordinal) && SystemdUnits.Exists(root, unit))).Path;
        return startedBy is null ? Warn("nothing starts it", "Enable its unit.") : Pass(startedBy);
    }
}
