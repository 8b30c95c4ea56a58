using ArchAzure.FileSystems;
using ArchAzure.Target;

namespace ArchAzure.Readiness.Rules;

/// <summary>Something rotates the agent's log, which else grows until the disk is full. Azure starts machines without it.</summary>
internal sealed class LogRotation : ReadinessRule
{
    private const string Log = "waagent.log";
    private static readonly ProvisioningAgent s_waAgent = ProvisioningAgent.Find("waagent");

    public override string Wanted => $"a file in /etc/logrotate.d for {Log}, and logrotate started";

    public override string Source => "logrotate(8); " + Sources.WaAgent;

    // Other agents log to the journal, which limits itself.
    public override bool AppliesTo(CheckedDisk disk) => s_waAgent.ProgramIn(disk.Root) is not null;

    public override Finding Check(CheckedDisk disk)
    {
        var root = disk.Root;
        var file = Glob.Expand(root, "/etc/logrotate.d/*")
            .FirstOrDefault(path => root.ReadLines(path).Any(line => line.Contains(Log, StringComparison.Ordinal)
                || line.Contains("/var/log/*.log", StringComparison.Ordinal)));
        if (file is null)
        {
            return Warn($"nothing rotates /var/log/{Log}", "Write a file for it into /etc/logrotate.d.");
        }

        return SystemdUnits.EnabledBy(root, "logrotate.timer") is not null || root.FileExists("/etc/cron.daily/logrotate")
            ? Pass(file)
            : Warn($"{file}, but nothing starts logrotate", "Enable logrotate.timer.");
    }
}
