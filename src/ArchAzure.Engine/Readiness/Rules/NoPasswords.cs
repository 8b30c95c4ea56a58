namespace ArchAzure.Readiness.Rules;

/// <summary>No other account has a password, or needs none.</summary>
internal sealed class NoPasswords : ReadinessRule
{
    public override string Wanted => "no account with a password, or with an empty one";

    public override string Source => Sources.AzureCertification + "; shadow(5)";

    public override Finding Check(CheckedDisk disk) => PassIfNone(
        [.. disk.Accounts.All.Where(account => account.Name != "root" && !account.IsLocked).Select(account => $"{account.Name} "
            + $"{(account.HasHash ? "has a password" : "needs no password")}")],
        "none",
        "Lock them: passwd -l NAME.");
}
