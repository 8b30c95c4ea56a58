namespace ArchAzure.Readiness.Rules;

/// <summary>root has no password: one for all machines would be known to all their users.</summary>
internal sealed class RootLocked : ReadinessRule
{
    public override string Wanted => "root locked in /etc/shadow";

    public override string Source => Sources.AzureCertification + "; shadow(5)";

    public override Finding Check(CheckedDisk disk)
    {
        const string Remedy = "Lock it: passwd -l root.";
        return disk.Accounts.All.FirstOrDefault(account => account.Name == "root") switch
        {
            null => Unknown("no root in /etc/passwd"),
            { IsLocked: true } => Pass("locked"),
            { Password: "" } => Fail("root needs no password", Remedy),
            _ => Fail("root has a password", Remedy),
        };
    }
}
