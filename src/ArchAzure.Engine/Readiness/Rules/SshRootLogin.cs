namespace ArchAzure.Readiness.Rules;

/// <summary>root cannot log in with a password.</summary>
internal sealed class SshRootLogin : ReadinessRule
{
    public override string Wanted => "PermitRootLogin no, prohibit-password or forced-commands-only";

    public override string Source => Sources.AzureCertification + "; sshd_config(5)";

    public override Finding Check(CheckedDisk disk)
    {
        var settings = disk.Sshd.All("PermitRootLogin").ToList();
        var bad = settings.Find(
            setting =>
                setting.Value.ToLowerInvariant() is not ("no" or "prohibit-password" or "without-password" or "forced-commands-only"));
        return bad is null
            ? Pass(disk.Sshd.Effective("PermitRootLogin")?.Value ?? "prohibit-password (sshd's own)")
            : Fail($"{bad.Value} ({bad.File}{(bad.Condition is null ? "" : $", Match {bad.Condition}")})", "Set PermitRootLogin no.");
    }
}
