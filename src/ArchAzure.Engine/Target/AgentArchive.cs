using System.Globalization;
using System.Text.RegularExpressions;

namespace ArchAzure.Target;

/// <summary>
/// What the archive of an agent's source may hold: files, folders, links within itself. Anything else is refused before it is unpacked,
/// be it malice or a mistake. It reads the list that <c>bsdtar --list -vv --numeric-owner</c> prints.
/// </summary>
/// <param name="location">The archive, for errors.</param>
internal sealed partial class AgentArchive(string location)
{
    /// <summary>The most bytes that an archive may hold; WALinuxAgent with its tests has 30 MiB.</summary>
    public const long MaximumBytes = 1L << 30;

    private const int MaximumEntries = 100_000;

    private const string SymbolicLink = " -> ";
    private const string HardLink = " link to ";

    private int _entries;

    /// <summary>Checks a line of the list.</summary>
    /// <exception cref="ArchAzureException"><c>AgentSourceInvalid</c>.</exception>
    public void Check(string line)
    {
        if (Entry().Match(line) is not { Success: true } entry)
        {
            throw Refused(line, "is in no form that is known");
        }

        var name = entry.Groups["name"].Value;
        if (++_entries > MaximumEntries)
        {
            throw Refused(name, string.Create(CultureInfo.InvariantCulture, $"is one more than {MaximumEntries} entries"));
        }

        switch (entry.Groups["type"].Value)
        {
            case "-" or "d":
                RequireInside(name, "", name);
                break;

            // A name may hold the words between it and where the link leads: no part may lead out.
            case "l":
                var parts = name.Split(SymbolicLink);
                RequireInside(name, "", parts[0]);
                Array.ForEach(parts[1..], part => RequireInside(name, parts[0], part));
                break;
            case "h":
                Array.ForEach(name.Split(HardLink), part => RequireInside(name, "", part));
                break;
            default:
                throw Refused(name, "is neither a file, a folder nor a link");
        }
    }

    /// <summary>The archive is larger than <see cref="MaximumBytes"/> once it is unpacked.</summary>
    public ArchAzureException TooLarge() =>
        Invalid(
            string.Create(
                CultureInfo.InvariantCulture, $"it unpacks to more than {MaximumBytes >> 20} MiB, which no release of the agent does"));

    /// <summary>What the error of an archive that is refused says.</summary>
    public ArchAzureException Invalid(string reason) => new(
        "AgentSourceInvalid", ErrorKind.InvalidData, $"'{location}' cannot be unpacked: {reason.TrimEnd('.')}. Give a tar or zip archive "
        + "of the agent's source, or a folder, with -Source or WAAGENT_SOURCE.", location);

    /// <summary>Follows a path by its parts; a link's starts in the folder that holds the link.</summary>
    private void RequireInside(string name, string link, string path)
    {
        if (path.StartsWith('/'))
        {
            throw Refused(name, "leads out of the archive");
        }

        var depth = link.Split('/', StringSplitOptions.RemoveEmptyEntries).Count(part => part != ".") - 1;
        depth = Math.Max(depth, 0);
        foreach (var part in path.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(part => part != "."))
        {
            depth += part == ".." ? -1 : 1;

            // A file's own name goes straight down; only a link may go up, and not above the top.
            if (depth < 0 || (part == ".." && link.Length == 0))
            {
                throw Refused(name, "leads out of the archive");
            }
        }
    }

    private ArchAzureException Refused(string name, string reason) => Invalid($"'{ArchAzureException.Showable(name)}' in it {reason}");

    // -rw-r--r--  0 1000   1000        123 Jan  1  2026 name; a device has two numbers for its size.
    [GeneratedRegex(
        @"^(?<type>.)[-rwxsStT]{9}[+@. ]? *\d+ +\d+ +\d+ +[\d,]+ +\w{3} +\d+ +[\d:]+ (?<name>.+)$",
        RegexOptions.CultureInvariant, 1000)]
    private static partial Regex Entry();
}
