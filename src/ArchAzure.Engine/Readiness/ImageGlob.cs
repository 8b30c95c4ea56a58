using System.IO.Enumeration;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>Finds files by patterns with '*' and '?'.</summary>
internal static class ImageGlob
{
    // Patterns come from rules and configuration files; a hostile image must not make them multiply.
    private const int MaximumMatches = 10_000;

    /// <summary>The existing paths that match an absolute pattern, in ordinal order. As in a shell, a leading dot must be written.</summary>
    public static IReadOnlyList<string> Expand(IImageFileSystem fileSystem, string pattern)
    {
        List<string> found = [""];
        foreach (var part in pattern.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            found = part.AsSpan().IndexOfAny('*', '?') < 0
                ? found.ConvertAll(parent => $"{parent}/{part}")
                : [.. found.SelectMany(parent => fileSystem.ReadDirectory($"{parent}/").Where(name => Matches(part, name)).Select(name => $"{parent}/{name}")).Take(MaximumMatches)];
        }

        return [.. found.Where(path => fileSystem.GetStatus(path, followLinks: false) is not null)];
    }

    /// <summary>Whether a name matches a pattern.</summary>
    public static bool Matches(string pattern, string name) =>
        (name.StartsWith('.') == pattern.StartsWith('.') || pattern.StartsWith('.'))
        && FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: false);
}
