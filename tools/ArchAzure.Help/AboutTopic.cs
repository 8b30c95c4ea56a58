using ArchAzure.Settings;

namespace ArchAzure.Help;

/// <summary>The about topic: its file as it is, with the table of settings in place of one line.</summary>
internal static class AboutTopic
{
    private const string PlaceHolder = "{{ settings }}";
    private const string Indent = "    ";

    public static string Fill(string path, Problems problems)
    {
        var lines = File.ReadAllLines(path);
        if (lines.Count(line => line.Trim() == PlaceHolder) != 1)
        {
            problems.Add(path, 1, $"one line of it has to be {PlaceHolder}: the table of settings comes there.");
        }

        return string.Concat(lines.Select(line => (line.Trim() == PlaceHolder ? Table() : line) + "\n"));
    }

    private static string Table()
    {
        var rows = SettingDefinition.Living
            .Select(definition => (
                definition.Key,
                Parameter: definition.Parameter is null ? "" : "-" + definition.Parameter,
                Default: definition.DefaultValue.Length == 0 ? "none" : definition.DefaultValue))
            .Prepend((Key: "Key", Parameter: "Parameter", Default: "Default"))
            .ToList();
        var keys = rows.Max(row => row.Key.Length) + 2;
        var parameters = rows.Max(row => row.Parameter.Length) + 2;
        return string.Join('\n', rows.Select(row => Indent + row.Key.PadRight(keys) + row.Parameter.PadRight(parameters) + row.Default));
    }
}
