namespace ArchAzure.Readiness.Rules;

/// <summary>What was typed while the image was made, perhaps a password, is nobody's business.</summary>
internal sealed class NoShellHistory : ReadinessRule
{
    private static readonly string[] s_names =
    [
        ".*history", ".histfile", ".lesshst", ".viminfo", ".local/share/fish/fish_history", ".local/state/bash/history",
    ];

    public override string Wanted => "no shell history";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk)
    {
        // Accounts of services have their homes elsewhere, and shells write there too; "/" is that of many.
        var homes = disk.Accounts.All.Select(account => account.Home.TrimEnd('/'))
            .Where(home => home.StartsWith('/'))
            .Concat(["/root", "/home/*"]);
        return PassIfNone(
            [
                .. homes.SelectMany(home => s_names.SelectMany(name => Glob.Expand(disk.Root, $"{home}/{name}")))
                    .Distinct(StringComparer.Ordinal),
            ],
            "none",
            "Remove them.");
    }
}
