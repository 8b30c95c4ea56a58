using System.Globalization;

namespace ArchAzure.Disks;

/// <summary>Which inodes of an ext4 file system are in use, by what dumpe2fs(8) prints of its groups.</summary>
public sealed class InodeListing
{
    private const string CountLabel = "Inode count:";

    // Two blanks before it: one of a group. The superblock's line of this name is a number.
    private const string FreeLabel = "  Free inodes:";

    private readonly List<(long First, long Last)> _free = [];
    private long _count;

    /// <summary>Takes a line of the output; lines come in order.</summary>
    public void Add(string line)
    {
        if (line.StartsWith(CountLabel, StringComparison.Ordinal))
        {
            _count = Number(line[CountLabel.Length..]);
        }
        else if (line.StartsWith(FreeLabel, StringComparison.Ordinal))
        {
            foreach (var range in line[FreeLabel.Length..].Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
            {
                var ends = range.Split('-');
                _free.Add((Number(ends[0]), Number(ends[^1])));
            }
        }
    }

    /// <summary>The numbers in use, in order; 1 to 10 are the file system's own.</summary>
    public IEnumerable<long> InUse()
    {
        var next = 1L;
        foreach (var (first, last) in _free.Append((_count + 1, _count + 1)))
        {
            for (; next < first; next++)
            {
                yield return next;
            }

            next = last + 1;
        }
    }

    private static long Number(string text) => long.Parse(text, NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture);
}
