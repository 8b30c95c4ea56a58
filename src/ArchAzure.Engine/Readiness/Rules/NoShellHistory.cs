namespace ArchAzure.Readiness.Rules;

/// <summary>What was typed while the image was made, perhaps a password, is nobody's business.</summary>
internal sealed class NoShellHistory : ReadinessRule
{
    private static readonly string[] s_patterns =
    [
        "/root/.*_history", "/root/.lesshst", "/root/.viminfo", "/home/*/.*_history", "/home/*/.lesshst", "/home/*/.viminfo",
    ];

    public override string Wanted => "no shell history";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk) =>
        PassIfNone([.. s_patterns.SelectMany(pattern => Glob.Expand(disk.Root, pattern))], "none", "Remove them.");
}
