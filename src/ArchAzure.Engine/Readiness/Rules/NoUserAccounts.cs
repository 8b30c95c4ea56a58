namespace ArchAzure.Readiness.Rules;

/// <summary>No person's account: the user is made when the machine is, and would clash with one of the same name.</summary>
internal sealed class NoUserAccounts : ReadinessRule
{
    // login.defs(5): UID_MIN to UID_MAX; nobody (65534) and systemd's dynamic users lie above.
    private const uint FirstUser = 1000;
    private const uint LastUser = 60000;

    public override string Wanted => "no account with a uid from 1000 on, and only root with uid 0";

    public override string Source => Sources.WaAgent;

    public override Finding Check(CheckedDisk disk) => PassIfNone(
        [
            .. from account in disk.Accounts.All
               where account.UserId is >= FirstUser and <= LastUser || (account.UserId == 0 && account.Name != "root")
               select $"{account.Name} ({account.UserId})",
        ],
        "none",
        "Remove them: userdel -r NAME.");
}
