using System.Text.RegularExpressions;

namespace ArchAzure.Help;

/// <summary>A paragraph, its lines joined, or a fenced piece of code.</summary>
internal sealed record Block(int Line, string Text, bool IsCode);

/// <summary>A heading and what stands under it, up to the next heading.</summary>
internal sealed record Section(int Level, string Title, int Line)
{
    public List<Block> Blocks { get; } = [];
}

/// <summary>The little Markdown that the pages need: headings, paragraphs, list items, fences, `code` and [links](target).</summary>
internal static partial class Markdown
{
    private const string Fence = "```";
    private const string FrontMatter = "---";

    public static IReadOnlyList<Section> Read(string path, Problems problems)
    {
        var sections = new List<Section> { new(0, "", 1) };
        var lines = File.ReadAllLines(path);
        var paragraph = new List<string>();
        var i = lines is [FrontMatter, ..] ? Array.IndexOf(lines, FrontMatter, 1) + 1 : 0;
        for (; i < lines.Length; i++)
        {
            var line = lines[i].Trim();
            var heading = Heading().Match(line);
            if (line.Length == 0
                || heading.Success
                || line.StartsWith(Fence, StringComparison.Ordinal)
                || line.StartsWith("- ", StringComparison.Ordinal))
            {
                EndParagraph(i);
            }

            if (heading.Success)
            {
                sections.Add(new(heading.Groups[1].Length, heading.Groups[2].Value, i + 1));
            }
            else if (line.StartsWith(Fence, StringComparison.Ordinal))
            {
                var end = Array.FindIndex(lines, i + 1, other => other.Trim() == Fence);
                if (end < 0)
                {
                    problems.Add(path, i + 1, $"this {Fence} is never closed.");
                    break;
                }

                sections[^1].Blocks.Add(new(i + 1, string.Join('\n', lines[(i + 1)..end]), IsCode: true));
                i = end;
            }
            else if (line.Length > 0)
            {
                paragraph.Add(line);
            }
        }

        EndParagraph(lines.Length);
        return sections;

        void EndParagraph(int next)
        {
            if (paragraph.Count > 0)
            {
                sections[^1].Blocks.Add(new(next - paragraph.Count + 1, string.Join(' ', paragraph), IsCode: false));
                paragraph.Clear();
            }
        }
    }

    /// <summary>The text as it is shown where there is no Markdown.</summary>
    public static string Plain(string text) => Link().Replace(text, "$1").Replace("`", "", StringComparison.Ordinal);

    public static IEnumerable<(string Text, string Target)> Links(string text) =>
        Link().Matches(text).Select(match => (match.Groups[1].Value, match.Groups[2].Value));

    /// <summary>The heading that a link's #anchor means.</summary>
    public static string Anchor(string title) => title.ToLowerInvariant().Replace(' ', '-');

    [GeneratedRegex("^(#{1,6}) +(.+)$")]
    private static partial Regex Heading();

    [GeneratedRegex(@"\[([^\]]+)\]\(([^)]+)\)")]
    private static partial Regex Link();
}
