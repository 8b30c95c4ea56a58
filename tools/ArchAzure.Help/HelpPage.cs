using System.Text.RegularExpressions;

namespace ArchAzure.Help;

/// <summary>A type that goes into a cmdlet or comes out of it.</summary>
internal sealed record PipedType(string Name, IReadOnlyList<string> Text);

/// <summary>An example: its code and what it does.</summary>
internal sealed record Example(string Title, string Code, IReadOnlyList<string> Remarks);

/// <summary>A page of docs/en-US: the help of one cmdlet, in the schema of PlatyPS.</summary>
internal sealed partial class HelpPage
{
    private static readonly string[] s_sections =
        ["SYNOPSIS", "SYNTAX", "DESCRIPTION", "EXAMPLES", "PARAMETERS", "INPUTS", "OUTPUTS", "NOTES", "RELATED LINKS"];

    private readonly IReadOnlyList<Section> _sections;
    private readonly IReadOnlyList<Section> _shared;
    private readonly Problems _problems;

    private HelpPage(string path, IReadOnlyList<Section> shared, Problems problems)
    {
        Path = path;
        _shared = shared;
        _problems = problems;
        _sections = Markdown.Read(path, problems);
        CheckHeadings();
        CheckLinks();
        Synopsis = string.Join(' ', Paragraphs(Needed("SYNOPSIS")));
        Description = Paragraphs(Needed("DESCRIPTION"));
        Examples = [.. Under("EXAMPLES").Select(ReadExample)];
        Parameters = ReadParameters();
        Inputs = [.. Under("INPUTS").Select(section => new PipedType(section.Title, Paragraphs(section)))];
        Outputs = [.. Under("OUTPUTS").Select(section => new PipedType(section.Title, Paragraphs(section)))];
        Notes = Find("NOTES") is { } notes ? Paragraphs(notes) : [];
        Links = [.. Needed("RELATED LINKS").Blocks.SelectMany(block => Markdown.Links(block.Text)).Select(link => link.Text)];
        if (Examples.Count == 0)
        {
            Complain(LineOf("EXAMPLES"), "there is no example. Write one: ### Example 1: what it does.");
        }
    }

    public string Path { get; }

    public string Synopsis { get; }

    public IReadOnlyList<string> Description { get; }

    public IReadOnlyList<Example> Examples { get; }

    /// <summary>The parameters' texts, and the lines of their headings.</summary>
    public IReadOnlyDictionary<string, (int Line, IReadOnlyList<string> Text)> Parameters { get; }

    public IReadOnlyList<PipedType> Inputs { get; }

    public IReadOnlyList<PipedType> Outputs { get; }

    public IReadOnlyList<string> Notes { get; }

    public IReadOnlyList<string> Links { get; }

    /// <summary>
    /// The pages of a folder by the names of their cmdlets. shared.md is none: it has the texts that several pages share.
    /// </summary>
    public static IReadOnlyDictionary<string, HelpPage> ReadAll(string folder, Problems problems)
    {
        const string SharedTexts = "shared.md";
        var shared = Markdown.Read(System.IO.Path.Combine(folder, SharedTexts), problems);
        return Directory.GetFiles(folder, "*.md")
            .Where(path => System.IO.Path.GetFileName(path) != SharedTexts)
            .ToDictionary(
                path => System.IO.Path.GetFileNameWithoutExtension(path),
                path => new HelpPage(path, shared, problems),
                StringComparer.Ordinal);
    }

    public int LineOf(string section) => Find(section)?.Line ?? 1;

    public void Complain(int line, string text) => _problems.Add(Path, line, text);

    private Section? Find(string title) => _sections.FirstOrDefault(section => section.Level == 2 && section.Title == title);

    private Section Needed(string title)
    {
        var section = Find(title);
        if (section is null || section.Blocks.Count == 0)
        {
            Complain(section?.Line ?? 1, $"## {title} is missing or has no text.");
        }

        return section ?? new Section(2, title, 1);
    }

    private IEnumerable<Section> Under(string title) =>
        _sections.SkipWhile(section => section.Level != 2 || section.Title != title).Skip(1).TakeWhile(section => section.Level > 2);

    private Dictionary<string, (int Line, IReadOnlyList<string> Text)> ReadParameters()
    {
        var parameters = new Dictionary<string, (int, IReadOnlyList<string>)>(StringComparer.Ordinal);
        foreach (var section in Under("PARAMETERS"))
        {
            var text = Paragraphs(section);
            if (text.Count == 0)
            {
                Complain(section.Line, $"{section.Title} has no text.");
            }

            if (!parameters.TryAdd(section.Title.TrimStart('-'), (section.Line, text)))
            {
                Complain(section.Line, $"{section.Title} is there already.");
            }
        }

        return parameters;
    }

    private Example ReadExample(Section section)
    {
        var code = section.Blocks.Where(block => block.IsCode).ToList();
        var remarks = Paragraphs(section);
        if (code.Count != 1 || remarks.Count == 0 || !ExampleTitle().IsMatch(section.Title))
        {
            Complain(section.Line, "an example has a title (### Example 1: what it does), one piece of code, and a text.");
        }

        return new(section.Title, code.FirstOrDefault()?.Text ?? "", remarks);
    }

    // A paragraph that is nothing but a link to shared.md stands for the text there.
    private IReadOnlyList<string> Paragraphs(Section section) =>
        [.. section.Blocks.Where(block => !block.IsCode).SelectMany(block => SharedLink().Match(block.Text) is { Success: true } link
            ? SharedText(link.Groups[1].Value, block.Line)
            : [Markdown.Plain(block.Text)])];

    private IEnumerable<string> SharedText(string anchor, int line)
    {
        var section = _shared.FirstOrDefault(section => Markdown.Anchor(section.Title) == anchor);
        if (section is null)
        {
            Complain(line, $"shared.md has no heading '{anchor}'.");
        }

        return section?.Blocks.Select(block => Markdown.Plain(block.Text)) ?? [];
    }

    private void CheckHeadings()
    {
        var name = System.IO.Path.GetFileNameWithoutExtension(Path);
        if (!_sections.Any(section => section.Level == 1 && section.Title == name))
        {
            Complain(1, $"there is no heading '# {name}'.");
        }

        foreach (var section in _sections.Where(section => section.Level == 2 && !s_sections.Contains(section.Title)))
        {
            Complain(section.Line, $"'## {section.Title}' is none of {string.Join(", ", s_sections)}.");
        }
    }

    private void CheckLinks()
    {
        foreach (var block in _sections.SelectMany(section => section.Blocks).Where(block => !block.IsCode))
        {
            foreach (var (_, target) in Markdown.Links(block.Text))
            {
                if (!target.Contains("://", StringComparison.Ordinal)
                    && !File.Exists(System.IO.Path.Combine(System.IO.Path.GetDirectoryName(Path)!, target.Split('#')[0])))
                {
                    Complain(block.Line, $"the link leads to '{target}', which is not there.");
                }
            }
        }
    }

    [GeneratedRegex(@"^\[[^\]]+\]\(shared\.md#([^)]+)\)$")]
    private static partial Regex SharedLink();

    [GeneratedRegex(@"^Example \d+: .")]
    private static partial Regex ExampleTitle();
}
