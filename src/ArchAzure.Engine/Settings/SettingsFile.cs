using System.Text;

namespace ArchAzure.Settings;

/// <summary>One assignment of a settings file.</summary>
/// <param name="Key">The name before the '='.</param>
/// <param name="Value">The value without its quotes.</param>
/// <param name="Line">The line it stands on, from 1.</param>
internal sealed record SettingLine(string Key, string Value, int Line);

/// <summary>
/// Reads <c>settings.env</c>. The file looks like shell assignments (<c>KEY=VALUE</c>, <c>export KEY=VALUE</c>), since the scripts
/// before this
/// module sourced it, but nothing in it is ever run: what a shell would expand or execute is refused, not guessed at.
/// </summary>
/// <remarks>
/// A value ends at the first space outside quotes; a comment may follow. 'single' quotes keep everything, "double" quotes know
/// <c>\" \\ \$ \`</c>. A key may stand in a file once: of two values one is a mistake, and which one a reader cannot know.
/// </remarks>
internal static class SettingsFile
{
    private const int MaximumBytes = 1 << 20;

    /// <summary>Reads a file.</summary>
    /// <exception cref="ArchAzureException"><c>SettingsFileNotFound</c>, <c>SettingsFileUnreadable</c>, <c>SettingsSyntax</c>,
    /// <c>SettingNotExecuted</c>, <c>UnknownSetting</c>, <c>DuplicateSetting</c>.</exception>
    public static IReadOnlyList<SettingLine> Read(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            var info = new FileInfo(path);
            if (!info.Exists)
            {
                throw new ArchAzureException("SettingsFileNotFound", ErrorKind.NotFound,
                    $"The settings file '{path}' does not exist. Give the path of an existing one, or copy settings.env.default there.",
                    path);
            }

            if (info.Length > MaximumBytes)
            {
                throw Unreadable(path, $"it is larger than {MaximumBytes / 1024} KiB, which no settings file is", null);
            }

            return Parse(new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(File.ReadAllBytes(path)), path);
        }
        catch (DecoderFallbackException e)
        {
            throw Unreadable(path, "it is not UTF-8 text", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new ArchAzureException("SettingsFileUnreadable", ErrorKind.PermissionDenied,
                $"The settings file '{path}' may not be read by you. Change its permissions (chmod u+r) or its owner.", path, e);
        }
        catch (Exception e) when (e is IOException or ArgumentException or NotSupportedException)
        {
            throw Unreadable(path, e.Message, e);
        }
    }

    /// <summary>Reads the text of a settings file.</summary>
    /// <param name="text">The text; lines end in LF or CRLF.</param>
    /// <param name="source">The name to show in errors, usually the path.</param>
    /// <exception cref="ArchAzureException">As for <see cref="Read"/>.</exception>
    public static IReadOnlyList<SettingLine> Parse(string text, string source)
    {
        ArgumentNullException.ThrowIfNull(text);
        var result = new List<SettingLine>();
        var number = 0;
        foreach (var raw in text.TrimStart('\uFEFF').Split('\n'))
        {
            number++;
            var line = raw.EndsWith('\r') ? raw[..^1] : raw;
            if (ParseLine(line, $"{source}:{number}", number) is not { } setting)
            {
                continue;
            }

            if (result.Find(s => s.Key == setting.Key) is { } earlier)
            {
                throw new ArchAzureException("DuplicateSetting", ErrorKind.InvalidInput,
                    $"{source}:{number}: {setting.Key} was already given in line {earlier.Line}. Remove one of the two lines.",
                    setting.Key);
            }

            result.Add(setting);
        }

        return result;
    }

    /// <summary>The text of a file with its relative paths made absolute, so that it means the same in another folder.</summary>
    /// <exception cref="ArchAzureException">As for <see cref="Read"/>.</exception>
    internal static string ReadRelocated(string path)
    {
        var settings = Read(path);
        var lines = File.ReadAllText(path).Split('\n');
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        foreach (var setting in settings)
        {
            var absolute = SettingDefinition.Find(setting.Key)!.WithPaths(setting.Value, name => Path.GetFullPath(name, folder));
            if (absolute != setting.Value)
            {
                lines[setting.Line - 1] = $"{setting.Key}={Quoted(absolute)}";
            }
        }

        return string.Join('\n', lines);
    }

    /// <summary>The text of <c>settings.env.default</c>, made from <see cref="SettingDefinition.All"/>.</summary>
    public static string DefaultText()
    {
        var text = new StringBuilder();
        text.Append(
            "# Settings of an ArchAzure build. Copy this file to settings.env and change what you need; a key left out has its default.\n");
        text.Append("# KEY=VALUE lines, '#' starts a comment, values with spaces in quotes. The file is read, never executed.\n");
        foreach (var definition in SettingDefinition.Living)
        {
            text.Append('\n');
            foreach (var line in definition.Documentation.Split('\n'))
            {
                text.Append("# ").Append(line).Append('\n');
            }

            var quote = definition.Kind == SettingKind.Mirror ? "'" : "";
            text.Append(definition.Key).Append('=').Append(quote).Append(definition.DefaultValue).Append(quote).Append('\n');
        }

        return text.ToString();
    }

    private static string Quoted(string value) => $"'{value.Replace("'", "'\"'\"'", StringComparison.Ordinal)}'";

    private static SettingLine? ParseLine(string line, string where, int number)
    {
        // Before the blank test: a form feed or a NUL is white space to some functions and to others not.
        if (line.Any(c => char.IsControl(c) && c != '\t'))
        {
            throw Syntax(where, "the line holds a control character. Remove it (an editor can show it)");
        }

        var rest = line.Trim(' ', '\t');
        if (rest.Length == 0 || rest[0] == '#')
        {
            return null;
        }

        if (rest.StartsWith("export", StringComparison.Ordinal) && rest.Length > 6 && rest[6] is ' ' or '\t')
        {
            rest = rest[6..].TrimStart(' ', '\t');
        }

        var length = 0;
        while (length < rest.Length && (char.IsAsciiLetterOrDigit(rest[length]) || rest[length] == '_'))
        {
            length++;
        }

        var key = rest[..length];
        if (length == 0 || char.IsAsciiDigit(key[0]) || length == rest.Length || rest[length] != '=')
        {
            var afterSpace = rest[length..].TrimStart(' ', '\t');
            throw Syntax(where, length > 0 && length < rest.Length && !char.IsAsciiDigit(key[0]) && afterSpace.StartsWith('=')
                ? $"there is a space before the '='. Write {key}=VALUE without spaces around it"
                : $"'{Shown(rest)}' is not a setting. Write KEY=VALUE, or '#' before a comment; commands are not run");
        }

        var definition = SettingDefinition.Find(key) ?? throw Unknown(key, where);
        return new SettingLine(key, Value(rest[(length + 1)..], definition, where), number);
    }

    // A shell word: unquoted, 'single' and "double" parts in a row, up to the first space.
    private static string Value(string text, SettingDefinition definition, string where)
    {
        var value = new StringBuilder();
        var i = 0;
        while (i < text.Length && text[i] is not (' ' or '\t'))
        {
            var c = text[i];
            switch (c)
            {
                case '\'':
                    var end = text.IndexOf('\'', i + 1);
                    if (end < 0)
                    {
                        throw Syntax(where, $"the value of {definition.Key} begins with a ' that is never closed. Add the closing quote");
                    }

                    value.Append(text, i + 1, end - i - 1);
                    i = end + 1;
                    break;
                case '"':
                    i = DoubleQuoted(text, i + 1, value, definition, where);
                    break;
                case '$' or '`':
                    i = Dollar(text, i, value, definition, where);
                    break;
                case ';' or '&' or '|' or '<' or '>' or '(' or ')':
                    throw NotExecuted(
                        where,
                        definition.Key,
                        $"'{c}' belongs to a shell command",
                        "If it is part of the value, put the value in 'single quotes'; else remove it");
                case '\\':
                    throw NotExecuted(
                        where,
                        definition.Key,
                        "a backslash outside quotes has its own meaning in a shell",
                        "Put the value in 'single quotes'");
                case '~' when definition.TakesPath && (value.Length == 0 || value[^1] == Path.PathSeparator):
                    throw NotExecuted(where, definition.Key, "a shell would turn '~' into your home folder", "Write the whole path");
                default:
                    value.Append(c);
                    i++;
                    break;
            }
        }

        var tail = text[i..].Trim(' ', '\t');
        if (tail.Length > 0 && tail[0] != '#')
        {
            throw Syntax(where, value.Length == 0
                ? $"there is a space after the '='. Write {definition.Key}=VALUE without spaces around it"
                : $"the value of {definition.Key} goes on after a space ('{Shown(tail)}'). Put the whole value in quotes, or '#' before a "
                    + "comment");
        }

        return value.ToString();
    }

    private static int DoubleQuoted(string text, int i, StringBuilder value, SettingDefinition definition, string where)
    {
        while (i < text.Length)
        {
            switch (text[i])
            {
                case '"':
                    return i + 1;
                case '\\' when i + 1 < text.Length && text[i + 1] is '"' or '\\' or '$' or '`':
                    value.Append(text[i + 1]);
                    i += 2;
                    break;
                case '$' or '`':
                    i = Dollar(text, i, value, definition, where);
                    break;
                default:
                    value.Append(text[i++]);
                    break;
            }
        }

        throw Syntax(where, $"the value of {definition.Key} has a \" that is never closed. Add the closing quote");
    }

    // What begins with $ or ` would be replaced or run by a shell. Only pacman's own two variables may stand, and only in MIRROR.
    private static int Dollar(string text, int i, StringBuilder value, SettingDefinition definition, string where)
    {
        if (definition.Kind == SettingKind.Mirror)
        {
            foreach (var name in (ReadOnlySpan<string>)["$repo", "$arch"])
            {
                var next = i + name.Length;
                if (text.AsSpan(i).StartsWith(name, StringComparison.Ordinal)
                    && (next == text.Length || !(char.IsAsciiLetterOrDigit(text[next]) || text[next] == '_')))
                {
                    value.Append(name);
                    return next;
                }
            }
        }

        var two = text.AsSpan(i, Math.Min(2, text.Length - i));
        var what = two is "$(" || text[i] == '`' ? "a command to run"
            : two is "${" || (two.Length == 2 && (char.IsAsciiLetter(two[1]) || two[1] == '_')) ? "a variable to fill in"
            : "a '$'";
        var remedy = definition.Kind == SettingKind.Mirror
            ? "Write the value itself; only $repo and $arch may stand here"
            : "Write the value itself, or put it in 'single quotes' if the character is part of it";
        throw NotExecuted(where, definition.Key, $"it holds {what} ({two.ToString()})", remedy);
    }

    private static ArchAzureException Syntax(string where, string what) =>
        new("SettingsSyntax", ErrorKind.InvalidInput, $"{where}: {what}.", where);

    private static ArchAzureException NotExecuted(string where, string key, string reason, string remedy) =>
        new("SettingNotExecuted", ErrorKind.InvalidInput,
            $"{where}: the value of {key} cannot be taken as it is: {reason}, and settings are read, never executed. {remedy}.", key);

    private static ArchAzureException Unreadable(string path, string reason, Exception? inner) =>
        new("SettingsFileUnreadable", ErrorKind.InvalidInput,
            $"The settings file '{path}' cannot be read: {reason}. Save it as plain UTF-8 text.", path, inner);

    internal static ArchAzureException Unknown(string key, string where)
    {
        var near = Nearest(key);
        var remedy = near is null
            ? $"The keys are {string.Join(", ", SettingDefinition.Living.Select(d => d.Key))}."
            : $"Did you mean {near}?";
        return new("UnknownSetting", ErrorKind.InvalidInput, $"{where}: there is no setting '{Shown(key)}'. {remedy}", key);
    }

    private static string? Nearest(string key)
    {
        if (key.Length > 64)
        {
            return null;
        }

        var upper = key.ToUpperInvariant();
        var (near, distance) = SettingDefinition.All
            .Select(d => (d.Key, Distance: EditDistance(upper, d.Key)))
            .MinBy(p => p.Distance);
        return distance <= Math.Max(2, near.Length / 3) ? near : null;
    }

    // Levenshtein distance, two rows.
    private static int EditDistance(string a, string b)
    {
        var previous = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var current = new int[b.Length + 1];
            current[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var change = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
                current[j] = Math.Min(change, Math.Min(previous[j], current[j - 1]) + 1);
            }

            previous = current;
        }

        return previous[^1];
    }

    private static string Shown(string text) => text.Length <= 60 ? text : string.Concat(text.AsSpan(0, 57), "...");
}
