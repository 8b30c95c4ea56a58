namespace ArchAzure.Readiness.Rules;

/// <summary>Each machine makes its own host keys; shared ones let any of them pose as all others.</summary>
internal sealed class NoSshHostKeys : ReadinessRule
{
    private static readonly string[] s_patterns = ["/etc/ssh/ssh_host_*"];

    public override string Wanted => "no /etc/ssh/ssh_host_*";

    public override string Source => Sources.WaAgent;

    public override Finding Check(CheckedDisk disk) =>
        PassIfNone([.. s_patterns.SelectMany(pattern => Glob.Expand(disk.Root, pattern))], "none", "Remove /etc/ssh/ssh_host_*.");
}
