using System.Text.RegularExpressions;

namespace ArchAzure.Target;

/// <summary>
/// What the hooks and scripts of packages complain of while pacman ends with 0: whatever becomes of them after a package is unpacked
/// does not count for it, so that a failed initramfs would pass for a good one.
/// </summary>
/// <param name="source">What complains until a line names a hook or a package.</param>
/// <remarks>Source: mkinitcpio v41, <c>functions</c> (warning, error); pacman 7.1, texts of libalpm.</remarks>
internal sealed partial class HookComplaints(string source)
{
    private const int MostShown = 8;

    // What is behind them tells nothing more, and the log has it all.
    private const int MostKept = 1000;
    private const int LongestLine = 1000;

    // The first that fits a line tells what it means. What is harmless comes in every good build of Arch: mkinitcpio 41 wants hwdb.bin
    // in two places, of which Arch has one, and finds no firmware where linux-firmware is not installed, in dozens of lines.
    private static readonly (string Part, Weight Weight, string Meaning)[] s_meanings =
    [
        (
            "Possibly missing firmware",
            Weight.Harmless,
            "The firmware that these drivers want is in no installed package. No machine of Azure has such devices; for others, add "
            + "linux-firmware to the packages."),
        (
            "hwdb.bin'",
            Weight.Harmless,
            "udev's hardware database names keyboards and the like. A machine starts without it, and nothing needs to be done."),
        (
            "module not found: ",
            Weight.Reason,
            "The kernel has no such module: correct MODULES in the layer's etc/mkinitcpio.conf.d, or leave the name out."),
        (
            "' cannot be found",
            Weight.Reason,
            "No installed package brings such a hook of mkinitcpio: correct HOOKS in the layer's etc/mkinitcpio.conf.d, or add its "
            + "package."),
        (
            "not found: '",
            Weight.Reason,
            "The initramfs goes without that file: add the package that brings it, or leave its name out in the layer's "
            + "etc/mkinitcpio.conf.d."),
        (
            "The image may not be complete",
            Weight.Consequence,
            "The initramfs may lack what a machine starts with: Test-AzureVhd looks into it once the VHD is made."),
        ("command failed to execute correctly", Weight.Consequence, "What the hook or script should have made may be missing."),
        ("command terminated by signal", Weight.Reason, "What the hook or script should have made may be missing."),
    ];

    private readonly List<(string Source, string Line)> _complaints = [];
    private readonly string _before = source;
    private string _source = source;

    /// <summary>Takes a line of output; lines come in order.</summary>
    public void Add(string line)
    {
        line = line.Length <= LongestLine ? line : line[..LongestLine];
        if (Hook().Match(line) is { Success: true } hook)
        {
            _source = $"The hook '{hook.Groups[1].Value}'";
        }
        else if (Package().Match(line) is { Success: true } package)
        {
            _source = $"The script of the package '{package.Groups[1].Value}'";
        }
        else if (line.StartsWith(":: ", StringComparison.Ordinal))
        {
            _source = _before;
        }
        else if (_complaints.Count < MostKept
            && Complaint().IsMatch(line)
            && !_complaints.Exists(known => known.Line == line && known.Source == _source))
        {
            _complaints.Add((_source, line.Trim()));
        }
    }

    /// <summary>
    /// A warning for each hook or script: what it said, what that means, where the rest is. None where all of it is known to be
    /// harmless.
    /// </summary>
    /// <param name="logPath">The step's log.</param>
    public IEnumerable<string> Warnings(string logPath) =>
        from complaint in _complaints
        group complaint.Line by complaint.Source into lines
        where lines.Any(line => Meaning(line).Weight == Weight.Reason) || !lines.Any(line => Meaning(line).Weight == Weight.Harmless)
        let shown = string.Concat(Shown([.. lines]).Select(line => $"\n    {line}"))
        let meanings = string.Concat(Meanings(lines).Select(meaning => meaning + " "))
        select $"{lines.Key} complained, and the work went on:{shown}\n{meanings}The whole output is in '{logPath}'.";

    private static IEnumerable<string> Shown(List<string> lines)
    {
        var drivers = lines.Select(line => Firmware().Match(line)).Where(match => match.Success).ToList();
        List<string> shown = [.. lines.Where(line => !Firmware().IsMatch(line))];
        if (drivers.Count > 0)
        {
            var names = string.Join(", ", drivers.Take(MostShown).Select(match => match.Groups[2].Value));
            shown.Add($"{drivers[0].Groups[1].Value}{names}{(drivers.Count > MostShown ? $" and {drivers.Count - MostShown} more" : "")}");
        }

        return shown.Count <= MostShown ? shown : [.. shown.Take(MostShown - 1), $"({shown.Count - MostShown + 1} more)"];
    }

    private static IEnumerable<string> Meanings(IEnumerable<string> lines) =>
        lines.Select(line => Meaning(line).Meaning).OfType<string>().Distinct(StringComparer.Ordinal);

    /// <summary>A line's row, or an empty one: what nobody knows is a reason to warn.</summary>
    private static (string? Part, Weight Weight, string? Meaning) Meaning(string line) =>
        Array.Find(s_meanings, row => line.Contains(row.Part, StringComparison.Ordinal));

    [GeneratedRegex(@"^\( *\d+/\d+\) (.+?)\.*$", RegexOptions.None, 1000)]
    private static partial Regex Hook();

    [GeneratedRegex(@"^(?:re)?(?:installing|upgrading|downgrading) (\S+?)\.\.\.$", RegexOptions.None, 1000)]
    private static partial Regex Package();

    // pacman warns of much that is no failure, such as packages that are up to date.
    [GeneratedRegex(@"^\s*==> (?:ERROR|WARNING): |^error: |^warning: .*(?:could not|failed)", RegexOptions.None, 1000)]
    private static partial Regex Complaint();

    [GeneratedRegex(@"^(.*Possibly missing firmware for module: )('.*')$", RegexOptions.None, 1000)]
    private static partial Regex Firmware();

    private enum Weight
    {
        /// <summary>Something is wrong.</summary>
        Reason,

        /// <summary>Follows from other lines, be they harmless or not.</summary>
        Consequence,

        /// <summary>Nothing is wrong.</summary>
        Harmless,
    }
}
