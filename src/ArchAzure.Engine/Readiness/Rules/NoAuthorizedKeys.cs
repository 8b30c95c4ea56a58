namespace ArchAzure.Readiness.Rules;

/// <summary>Nobody's key opens every machine made of the image.</summary>
internal sealed class NoAuthorizedKeys : ReadinessRule
{
    private static readonly string[] s_patterns = ["/root/.ssh/authorized_keys*", "/home/*/.ssh/authorized_keys*"];

    public override string Wanted => "no authorized_keys";

    public override string Source => Sources.AzureCertification;

    public override Finding Check(CheckedDisk disk) =>
        PassIfNone(
            [.. s_patterns.SelectMany(pattern => Glob.Expand(disk.Root, pattern))],
            "none",
            "Remove the keys; Azure brings the user's own.");
}
