using System.Globalization;
using System.Text;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>A command of GRUB's with its arguments, variables replaced.</summary>
internal sealed record GrubCommand(string Name, string[] Arguments);

/// <summary>
/// What a grub.cfg would start by itself. The script is read, not run: both branches of an <c>if</c> count, in their order,
/// which gives the right answer for what grub-mkconfig writes.
/// </summary>
/// <remarks>Source: GNU GRUB manual, "Writing full configuration files directly".</remarks>
internal sealed class GrubConfiguration
{
    private const int MaximumDepth = 64;

    // What a word takes besides its characters: the string, and its places in lists.
    private const int CostOfWord = 64;

    private readonly Dictionary<string, string> _variables;
    private readonly Item _top = new("", "", IsEntry: false);
    private readonly ReadBudget _budget;

    private GrubConfiguration(Dictionary<string, string> variables, ReadBudget budget) => (_variables, _budget) = (variables, budget);

    /// <summary>The variables in the lines of <c>grubenv</c>.</summary>
    public static Dictionary<string, string> ReadEnvironment(IEnumerable<string> lines)
    {
        var variables = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in lines.Where(line => !line.StartsWith('#')))
        {
            if (line.Split('=', 2) is [var key, var value])
            {
                variables[key] = value;
            }
        }

        return variables;
    }

    /// <summary>
    /// The commands of the entry that is started, or null if there is none; and whether entries of the Boot Loader Specification are read
    /// instead (<c>blscfg</c>).
    /// </summary>
    /// <param name="text">The configuration.</param>
    /// <param name="environment">The lines of <c>grubenv</c>, which may name the saved entry.</param>
    /// <param name="budget">Pays for the words.</param>
    public static (IReadOnlyList<GrubCommand>? Commands, bool ReadsEntries) ReadDefaultEntry(
        string text, IEnumerable<string> environment, ReadBudget budget)
    {
        var configuration = new GrubConfiguration(ReadEnvironment(environment), budget);
        configuration.Parse(text);
        var top = configuration._top;

        // Without a menu GRUB runs the commands as they come.
        return (
            top.Children.Count == 0 ? top.Commands : Find(top, configuration._variables.GetValueOrDefault("default", ""))?.Commands,
            top.Commands.Exists(command => command.Name == "blscfg"));
    }

    private static Item? Find(Item menu, string selection)
    {
        foreach (var part in selection.Length == 0 ? ["0"] : selection.Split('>'))
        {
            var found = int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var index)
                ? menu.Children.ElementAtOrDefault(index)
                : menu.Children.Find(item => item.Id == part || item.Title == part);

            // GRUB starts the first entry where the named one does not exist.
            if ((found ?? menu.Children.FirstOrDefault()) is not { } next)
            {
                return null;
            }

            menu = next;
        }

        for (var depth = 0; !menu.IsEntry && depth < MaximumDepth; depth++)
        {
            if (menu.Children.FirstOrDefault() is not { } first)
            {
                return null;
            }

            menu = first;
        }

        return menu.IsEntry ? menu : null;
    }

    private void Parse(string text)
    {
        var scopes = new Stack<Item>();
        scopes.Push(_top);
        var words = new List<string>();
        foreach (var token in Tokens(text))
        {
            switch (token)
            {
                case { Kind: TokenKind.Word }:
                    _budget.Spend(ReadCost.Memory, CostOfWord + token.Text.Length);
                    words.Add(token.Text);
                    break;
                case { Kind: TokenKind.Open }:
                    if (scopes.Count > MaximumDepth)
                    {
                        throw DiskErrors.Unsupported($"the blocks of grub.cfg are nested deeper than {MaximumDepth}.");
                    }

                    scopes.Push(Open(scopes.Peek(), words));
                    words.Clear();
                    break;
                default:
                    Run(scopes.Peek(), words);
                    words.Clear();
                    if (token.Kind == TokenKind.Close && scopes.Count > 1)
                    {
                        scopes.Pop();
                    }

                    break;
            }
        }

        Run(scopes.Peek(), words);
    }

    private static Item Open(Item scope, List<string> words)
    {
        if (words is not [("menuentry" or "submenu") and var command, var title, .. var options])
        {
            // A function's body is run only where it is called, which no generator does with what matters here.
            return new Item("", "", IsEntry: false);
        }

        // grub-mkconfig writes the option's name as a variable, $menuentry_id_option, for versions of GRUB that do not know it.
        var at = options.FindIndex(option => option == "--id");
        var item = new Item(
            title,
            at >= 0 && at + 1 < options.Count
                ? options[at + 1]
                : options.Find(option => option.StartsWith("--id=", StringComparison.Ordinal))?[5..] ?? "",
            command == "menuentry");
        scope.Children.Add(item);
        return item;
    }

    private void Run(Item scope, List<string> words)
    {
        var start = 0;
        while (start < words.Count && words[start] is "if" or "then" or "else" or "elif" or "fi" or "do" or "done")
        {
            start++;
        }

        if (start >= words.Count)
        {
            return;
        }

        var name = words[start];
        var arguments = words.GetRange(start + 1, words.Count - start - 1);
        var assignment = name == "set" ? arguments.FirstOrDefault("") : name;
        if (assignment.Split('=', 2) is [var key, var value] && (name == "set" || arguments.Count == 0))
        {
            _variables[key] = value;
        }
        else
        {
            scope.Commands.Add(new(name, [.. arguments]));
        }
    }

    private IEnumerable<Token> Tokens(string text)
    {
        var word = new StringBuilder();
        var inWord = false;
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            switch (c)
            {
                case '\'':
                    inWord = true;
                    for (i++; i < text.Length && text[i] != '\''; i++)
                    {
                        word.Append(text[i]);
                    }

                    break;
                case '"':
                    inWord = true;
                    for (i++; i < text.Length && text[i] != '"'; i++)
                    {
                        if (text[i] == '\\' && i + 1 < text.Length)
                        {
                            i++;
                            word.Append(text[i]);
                        }
                        else if (text[i] == '$')
                        {
                            i = Expand(text, i, word);
                        }
                        else
                        {
                            word.Append(text[i]);
                        }
                    }

                    break;
                case '\\' when i + 1 < text.Length:
                    i++;
                    if (text[i] != '\n')
                    {
                        inWord = true;
                        word.Append(text[i]);
                    }

                    break;
                case '$':
                    inWord = true;
                    i = Expand(text, i, word);
                    break;
                case '#' when !inWord:
                    while (i + 1 < text.Length && text[i + 1] != '\n')
                    {
                        i++;
                    }

                    break;
                case ' ' or '\t' or '\r' or '\n' or ';' or '{' or '}':
                    if (inWord)
                    {
                        yield return new(TokenKind.Word, word.ToString());
                        word.Clear();
                        inWord = false;
                    }

                    if (c is '\n' or ';')
                    {
                        yield return new(TokenKind.End, "");
                    }
                    else if (c is '{' or '}')
                    {
                        yield return new(c == '{' ? TokenKind.Open : TokenKind.Close, "");
                    }

                    break;
                default:
                    inWord = true;
                    word.Append(c);
                    break;
            }
        }

        if (inWord)
        {
            yield return new(TokenKind.Word, word.ToString());
        }
    }

    /// <summary>Appends the value of the variable that begins at the '$'; returns the place of its last character.</summary>
    private int Expand(string text, int at, StringBuilder word)
    {
        // A value that holds variables was expanded when it was set, so this cannot run away; but each expansion may double it.
        var braced = at + 1 < text.Length && text[at + 1] == '{';
        var start = at + (braced ? 2 : 1);
        var end = start;
        while (end < text.Length && (char.IsAsciiLetterOrDigit(text[end]) || text[end] is '_' or '?' or '@'))
        {
            end++;
        }

        var name = text[start..end];
        var value = name == "menuentry_id_option" ? "--id" : _variables.GetValueOrDefault(name, "");
        _budget.Spend(ReadCost.Memory, value.Length);
        word.Append(value);
        return braced && end < text.Length && text[end] == '}' ? end : end - 1;
    }

    private enum TokenKind
    {
        Word,
        Open,
        Close,
        End,
    }

    private readonly record struct Token(TokenKind Kind, string Text);

    private sealed record Item(string Title, string Id, bool IsEntry)
    {
        public List<Item> Children { get; } = [];

        public List<GrubCommand> Commands { get; } = [];
    }
}
