namespace ArchAzure.Help;

/// <summary>What is wrong with the pages: all of it, so that nobody has to build once for each.</summary>
internal sealed class Problems
{
    private readonly List<(string Path, int Line, string Text)> _found = [];

    public bool Any => _found.Count > 0;

    public void Add(string path, int line, string text) => _found.Add((path, line, text));

    /// <summary>Shows them as compilers do, so that MSBuild and editors know the file and the line.</summary>
    public void Show(TextWriter output)
    {
        foreach (var (path, line, text) in _found.OrderBy(problem => problem.Path, StringComparer.Ordinal).ThenBy(problem => problem.Line))
        {
            output.WriteLine($"{Path.GetFullPath(path)}({line}): error HELP: {text}");
        }
    }
}
