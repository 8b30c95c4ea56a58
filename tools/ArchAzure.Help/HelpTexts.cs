using ArchAzure.Settings;

namespace ArchAzure.Help;

/// <summary>What is written about the cmdlets and their parameters; what is not, or too much, is a problem.</summary>
internal sealed class HelpTexts
{
    private static readonly Dictionary<string, string> s_common = new(StringComparer.Ordinal)
    {
        ["WhatIf"] = "Shows what would be done, and does nothing.",
        ["Confirm"] = "Asks before it does anything.",
    };

    private readonly IReadOnlyDictionary<string, HelpPage> _pages;

    public HelpTexts(IReadOnlyList<Cmdlet> cmdlets, IReadOnlyDictionary<string, HelpPage> pages, string folder, Problems problems)
    {
        _pages = pages;
        foreach (var page in pages.Where(page => !cmdlets.Any(cmdlet => cmdlet.Name == page.Key)))
        {
            page.Value.Complain(1, $"there is no cmdlet '{page.Key}'.");
        }

        foreach (var cmdlet in cmdlets)
        {
            if (pages.TryGetValue(cmdlet.Name, out var page))
            {
                Check(cmdlet, page);
            }
            else
            {
                problems.Add(Path.Combine(folder, cmdlet.Name + ".md"), 1, $"{cmdlet.Name} has no page.");
            }
        }
    }

    public HelpPage? Page(Cmdlet cmdlet) => _pages.GetValueOrDefault(cmdlet.Name);

    /// <summary>The setting that a parameter overrides, or null.</summary>
    public static SettingDefinition? Setting(CmdletParameter parameter) =>
        SettingDefinition.All.FirstOrDefault(definition => definition.Parameter == parameter.Name);

    public static string? Default(CmdletParameter parameter) =>
        Setting(parameter) is { DefaultValue.Length: > 0 } setting && !parameter.IsSwitch ? setting.DefaultValue : parameter.Default;

    public IReadOnlyList<string> Parameter(Cmdlet cmdlet, CmdletParameter parameter) =>
        Setting(parameter) is { } setting ? [SettingText(setting, parameter)]
        : s_common.TryGetValue(parameter.Name, out var common) ? [common]
        : Page(cmdlet)?.Parameters.TryGetValue(parameter.Name, out var written) == true ? written.Text
        : [];

    private static string SettingText(SettingDefinition setting, CmdletParameter parameter) =>
        $"{setting.Documentation.Replace('\n', ' ')} Setting {setting.Key}. The build remembers it once the step has ended well; it then "
        + "wins over settings.env, and "
        + (parameter.IsSwitch ? $"-{parameter.Name}:$false turns it off." : "an empty text takes it back.");

    private static void Check(Cmdlet cmdlet, HelpPage page)
    {
        foreach (var (name, written) in page.Parameters)
        {
            var parameter = cmdlet.Parameters.FirstOrDefault(parameter => parameter.Name == name);
            if (parameter is null)
            {
                page.Complain(written.Line, $"{cmdlet.Name} has no parameter -{name}.");
            }
            else if (Setting(parameter) is { } setting)
            {
                page.Complain(
                    written.Line, $"-{name} is the setting {setting.Key}: its text stands in SettingDefinition.cs. Remove this one.");
            }
            else if (s_common.ContainsKey(name))
            {
                page.Complain(written.Line, $"-{name} has a text of its own in all cmdlets. Remove this one.");
            }
        }

        var parameters = cmdlet.Parameters.Where(
            parameter => Setting(parameter) is null
                && !s_common.ContainsKey(parameter.Name)
                && !page.Parameters.ContainsKey(parameter.Name));
        foreach (var parameter in parameters)
        {
            page.Complain(page.LineOf("PARAMETERS"), $"there is no text for -{parameter.Name}.");
        }

        var text = File.ReadAllText(page.Path);
        if (SyntaxSection.Replace(text, cmdlet) != text)
        {
            page.Complain(
                page.LineOf("SYNTAX"),
                $"this is not the syntax of {cmdlet.Name} any more. Write it with: "
                + "dotnet build src/ArchAzure.PowerShell -p:UpdateHelp=true");
        }
    }
}
