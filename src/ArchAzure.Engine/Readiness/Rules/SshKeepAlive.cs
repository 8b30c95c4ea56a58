namespace ArchAzure.Readiness.Rules;

/// <summary>sshd keeps idle sessions alive; Azure's certification takes no other values, and warns of all but 180.</summary>
internal sealed class SshKeepAlive : ReadinessRule
{
    private const int Least = 30;
    private const int Most = 235;

    public override string Wanted => $"ClientAliveInterval {Least} to {Most}";

    public override string Source => Sources.AzureCertification;

    public override Finding Check(CheckedDisk disk)
    {
        const string Remedy = "Write ClientAliveInterval 180 into a file in /etc/ssh/sshd_config.d that comes first.";
        var settings = disk.Sshd.All("ClientAliveInterval").ToList();
        if (disk.Sshd.Effective("ClientAliveInterval") is null)
        {
            return Fail("not set: sshd's own is 0, never", Remedy);
        }

        var found = string.Join(
            ", ",
            settings.Select(
                setting => $"{setting.Value} ({setting.File}{(setting.Condition is null ? "" : $", Match {setting.Condition}")})"));
        return settings.TrueForAll(setting => SshdConfiguration.ParseTime(setting.Value) is >= Least and <= Most)
            ? Pass(found)
            : Fail(found, Remedy);
    }
}
