namespace ArchAzure.Readiness.Rules;

/// <summary>
/// No login with an empty password. Whether passwords are taken at all is for the agent to decide, from what the user asked for when
/// making the machine.
/// </summary>
internal sealed class SshPasswordPolicy : ReadinessRule
{
    public override string Wanted => "PermitEmptyPasswords no";

    public override string Source => Sources.AzureCertification + "; sshd_config(5)";

    public override Finding Check(CheckedDisk disk)
    {
        var empty = disk.Sshd.All("PermitEmptyPasswords")
            .FirstOrDefault(setting => !setting.Value.Equals("no", StringComparison.OrdinalIgnoreCase));
        if (empty is not null)
        {
            return Fail(
                $"PermitEmptyPasswords {empty.Value} ({empty.File}{(empty.Condition is null ? "" : $", Match {empty.Condition}")})",
                "Set PermitEmptyPasswords no.");
        }

        return Pass("PermitEmptyPasswords no, PasswordAuthentication "
            + $"{disk.Sshd.Effective("PasswordAuthentication")?.Value ?? "yes (sshd's own)"}");
    }
}
