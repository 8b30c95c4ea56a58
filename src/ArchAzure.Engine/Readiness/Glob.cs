using System.IO.Enumeration;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>Finds files by patterns with '*' and '?'.</summary>
internal static class Glob
{
    // limits.h: PATH_MAX. No path that is longer can be opened.
    private const int MaximumPatternLength = 4096;

    // What a match takes besides its characters.
    private const int CostOfMatch = 64;

    /// <summary>
    /// The existing paths that match an absolute pattern, in ordinal order. As in a shell, a leading dot must be written.
    /// </summary>
    public static IReadOnlyList<string> Expand(IFileSystemView fileSystem, string pattern)
    {
        if (pattern.Length > MaximumPatternLength)
        {
            throw DiskErrors.TooLarge($"a pattern of files has {pattern.Length} characters.");
        }

        List<string> found = [""];
        foreach (var part in pattern.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            found = part.AsSpan().IndexOfAny('*', '?') < 0
                ? found.ConvertAll(parent => $"{parent}/{part}")
                : [.. found.SelectMany(parent => fileSystem.ReadDirectory($"{parent}/")
                    .Where(name => IsMatch(parent, part, name))
                    .Select(name => $"{parent}/{name}"))];
        }

        return [.. found.Where(path => fileSystem.GetStatus(path, followLinks: false) is not null)];

        bool IsMatch(string parent, string part, string name)
        {
            var budget = fileSystem.Budget;
            budget.CheckTime();
            if (!Matches(part, name))
            {
                return false;
            }

            // A directory that holds itself matches again at each level.
            budget.Spend(ReadCost.Matches, 1);
            budget.Spend(ReadCost.Memory, CostOfMatch + (2 * (parent.Length + name.Length)));
            return true;
        }
    }

    /// <summary>Whether a name matches a pattern.</summary>
    public static bool Matches(string pattern, string name) =>
        (name.StartsWith('.') == pattern.StartsWith('.') || pattern.StartsWith('.'))
        && FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: false);
}
