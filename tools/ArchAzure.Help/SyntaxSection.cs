using System.Text;
using System.Text.RegularExpressions;

namespace ArchAzure.Help;

/// <summary>The section SYNTAX of a page, which the cmdlet's class tells.</summary>
internal static partial class SyntaxSection
{
    private const int Width = 110;

    /// <summary>The page's text with the section as it should be.</summary>
    public static string Replace(string page, Cmdlet cmdlet) => Section().Replace(page, _ => "## SYNTAX\n\n" + Text(cmdlet));

    private static string Text(Cmdlet cmdlet)
    {
        var text = new StringBuilder();
        foreach (var set in cmdlet.Sets)
        {
            if (set is not null)
            {
                text.Append("### ").Append(set).Append(set == cmdlet.Sets[0] ? " (Default)" : "").Append("\n\n");
            }

            text.Append("```\n")
                .Append(Wrapped([cmdlet.Name, .. cmdlet.InOrder(set).Select(Shown), "[<CommonParameters>]"]))
                .Append("\n```\n\n");
        }

        return text.ToString();
    }

    private static string Shown((CmdletParameter Parameter, ParameterUse Use) item)
    {
        var (parameter, use) = item;
        var name = use.Position is null || parameter.IsSwitch ? $"-{parameter.Name}" : $"[-{parameter.Name}]";
        var value = parameter.IsSwitch
            ? ""
            : parameter.Values.Count > 0
            ? $" {{{string.Join(" | ", parameter.Values)}}}"
            : $" <{parameter.Type.Name}>";
        return use.Required ? name + value : $"[{name}{value}]";
    }

    private static string Wrapped(IEnumerable<string> words)
    {
        var lines = new List<string> { "" };
        foreach (var word in words)
        {
            if (lines[^1].Length + word.Length >= Width)
            {
                lines.Add("");
            }

            lines[^1] += (lines.Count == 1 && lines[0].Length == 0 ? "" : " ") + word;
        }

        return string.Join('\n', lines);
    }

    [GeneratedRegex(@"^## SYNTAX\n.*?(?=^## |\z)", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Section();
}
