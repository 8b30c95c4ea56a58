using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>One line of sshd's configuration.</summary>
/// <param name="Keyword">The keyword, in lower case.</param>
/// <param name="Value">The rest of the line.</param>
/// <param name="File">Where it stands.</param>
/// <param name="Condition">What the Match block asks for that it stands in, or null if it holds for all.</param>
internal sealed record SshdSetting(string Keyword, string Value, string File, string? Condition);

/// <summary>sshd's configuration as sshd reads it: includes where they stand, the first value wins, Match blocks apart.</summary>
/// <remarks>Source: sshd_config(5).</remarks>
internal sealed class SshdConfiguration
{
    public const string MainFile = "/etc/ssh/sshd_config";

    // OpenSSH's own limit is 16 levels; the count stops files that include each other many times.
    private const int MaximumDepth = 16;
    private const int MaximumFiles = 1000;

    private readonly IFileSystemView _root;
    private readonly List<SshdSetting> _settings = [];
    private int _files;

    private SshdConfiguration(IFileSystemView root) => _root = root;

    /// <summary>All settings in the order in which sshd sees them.</summary>
    public IReadOnlyList<SshdSetting> Settings => _settings;

    public static SshdConfiguration Read(IFileSystemView root)
    {
        var configuration = new SshdConfiguration(root);
        configuration.ReadFile(MainFile, condition: null, depth: 0);
        return configuration;
    }

    /// <summary>The value in effect for every connection, or null for sshd's default.</summary>
    public SshdSetting? Effective(string keyword) =>
        _settings.Find(setting => setting.Condition is null && setting.Keyword.Equals(keyword, StringComparison.OrdinalIgnoreCase));

    /// <summary>The value in effect, and those that Match blocks set for some connections.</summary>
    public IEnumerable<SshdSetting> All(string keyword) =>
        _settings.Where(setting => setting.Condition is not null && setting.Keyword.Equals(keyword, StringComparison.OrdinalIgnoreCase))
            .Concat(Effective(keyword) is { } effective ? [effective] : []);

    /// <summary>Seconds of a time like <c>180</c>, <c>3m</c> or <c>1h30m</c>; null if it is none.</summary>
    public static long? ParseTime(string text)
    {
        long total = 0;
        long? number = null;
        foreach (var c in text)
        {
            if (char.IsAsciiDigit(c))
            {
                number = ((number ?? 0) * 10) + (c - '0');
                if (number > int.MaxValue)
                {
                    return null;
                }

                continue;
            }

            long? unit = char.ToLowerInvariant(c) switch
            {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86400,
                'w' => 604800,
                _ => null,
            };
            if (unit is null || number is null)
            {
                return null;
            }

            total += number.Value * unit.Value;
            number = null;
        }

        return text.Length == 0 ? null : total + (number ?? 0);
    }

    private void ReadFile(string path, string? condition, int depth)
    {
        if (depth > MaximumDepth || ++_files > MaximumFiles)
        {
            throw DiskErrors.Damaged($"{MainFile} includes files too often or too deep ({path}).");
        }

        // A Match block ends with the file it stands in; a file included from one inherits its condition.
        var outer = condition;
        foreach (var raw in _root.ReadLines(path))
        {
            var words = Words(raw);
            if (words.Count == 0)
            {
                continue;
            }

            var keyword = words[0].ToLowerInvariant();
            var value = string.Join(' ', words.Skip(1));
            if (keyword == "include")
            {
                foreach (var pattern in words.Skip(1))
                {
                    foreach (var file in Glob.Expand(_root, pattern.StartsWith('/') ? pattern : $"/etc/ssh/{pattern}"))
                    {
                        ReadFile(file, condition, depth + 1);
                    }
                }
            }
            else if (keyword == "match")
            {
                condition = value.Equals("all", StringComparison.OrdinalIgnoreCase) ? outer : value;
            }
            else
            {
                _settings.Add(new(keyword, value, path, condition));
            }
        }
    }

    /// <summary>A line's words: separated by blanks or by one '=' behind the keyword, quoted or not, up to a comment.</summary>
    private static List<string> Words(string line)
    {
        var words = new List<string>();
        for (var i = 0; i < line.Length;)
        {
            if (char.IsWhiteSpace(line[i]) || (words.Count == 1 && line[i] == '='))
            {
                i++;
                continue;
            }

            if (line[i] == '#')
            {
                break;
            }

            if (line[i] == '"')
            {
                var close = line.IndexOf('"', i + 1);
                close = close < 0 ? line.Length : close;
                words.Add(line[(i + 1)..close]);
                i = close + 1;
                continue;
            }

            var end = i;
            while (end < line.Length && !char.IsWhiteSpace(line[end]) && !(words.Count == 0 && line[end] == '='))
            {
                end++;
            }

            words.Add(line[i..end]);
            i = Math.Max(end, i + 1);
        }

        return words;
    }
}
