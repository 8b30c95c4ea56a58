using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>sudo asks for the user's own password, not for that of root, who has none: else nobody becomes root.</summary>
internal sealed class NoTargetPassword : ReadinessRule
{
    public override string Wanted => "no Defaults targetpw, rootpw or runaspw in sudoers";

    public override string Source => "verify_default_targetpw in " + Sources.Lisa + "; sudoers(5)";

    public override Finding Check(CheckedDisk disk)
    {
        // sudo passes over names with a dot or a tilde at the end.
        var files = disk.Root.ReadDirectory("/etc/sudoers.d")
            .Where(name => !name.Contains('.', StringComparison.Ordinal) && !name.EndsWith('~'))
            .Select(name => $"/etc/sudoers.d/{name}");
        return PassIfNone(
            [.. files.Prepend("/etc/sudoers").Where(file => disk.Root.ReadLines(file).Any(IsOn)).Select(file => $"on in {file}")],
            "none",
            "Remove the line.");
    }

    private static bool IsOn(string line) =>
        line.Split([' ', '\t', ',', '='], StringSplitOptions.RemoveEmptyEntries) is ["Defaults", .. var options]
        && options.Any(option => option is "targetpw" or "rootpw" or "runaspw");
}
