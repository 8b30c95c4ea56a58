using System.Collections;
using System.Management.Automation.Runspaces;

namespace ArchAzure.Host;

/// <summary>The command line is not one this host understands; the message is for the user.</summary>
internal sealed class CommandLineException(string message) : Exception(message);

/// <summary>
/// The part of pwsh's command line that scripts use (about_Pwsh). As there, <c>-File</c> and <c>-Command</c> take all
/// that follows them, parameter names are case insensitive, and a first argument without a dash is a file.
/// </summary>
internal sealed record CommandLine
{
    public const string Usage =
        "Usage: archazure-host [-NoProfile] [-NonInteractive] [-NoLogo] -File SCRIPT.ps1 [ARGUMENT...]\n" +
        "       archazure-host [-NoProfile] [-NonInteractive] [-NoLogo] -Command TEXT...";

    /// <summary>Never ask the user anything.</summary>
    public bool NonInteractive { get; private init; }

    /// <summary>The script's full path, or null when <see cref="Command"/> is set.</summary>
    public string? File { get; private init; }

    /// <summary>PowerShell text, or null when <see cref="File"/> is set.</summary>
    public string? Command { get; private init; }

    /// <summary>The script's arguments: values, and names which the engine pairs with the value after them or takes as switches.</summary>
    public IReadOnlyList<CommandParameter> Arguments { get; private init; } = [];

    /// <summary>The script's arguments of the form <c>-Name:value</c>.</summary>
    public Hashtable NamedArguments { get; private init; } = [];

    public static CommandLine Parse(ReadOnlySpan<string> args)
    {
        var nonInteractive = false;
        for (var i = 0; i < args.Length; i++)
        {
            var rest = args[(i + 1)..];
            switch (args[i].ToUpperInvariant())
            {
                case "-NOPROFILE" or "-NOP" or "-NOLOGO":
                    // There are no profiles and no banner; accepted so that one command line fits pwsh and this host.
                    break;
                case "-NONINTERACTIVE" or "-NONI":
                    nonInteractive = true;
                    break;
                case "-FILE" or "-F":
                    return ForFile(rest, nonInteractive);
                case "-COMMAND" or "-C":
                    return rest.IsEmpty
                        ? throw new CommandLineException("-Command needs the text to run.")
                        : new CommandLine { NonInteractive = nonInteractive, Command = string.Join(' ', rest.ToArray()) };
                case var option when option.StartsWith('-'):
                    throw new CommandLineException($"'{args[i]}' is not an option of this host.");
                default:
                    return ForFile(args[i..], nonInteractive);
            }
        }

        throw new CommandLineException("Nothing to run: give -File or -Command.");
    }

    private static CommandLine ForFile(ReadOnlySpan<string> args, bool nonInteractive)
    {
        if (args.IsEmpty)
        {
            throw new CommandLineException("-File needs the path of a script.");
        }

        var path = Path.GetFullPath(args[0]);
        if (!Path.GetExtension(path).Equals(".ps1", StringComparison.OrdinalIgnoreCase))
        {
            throw new CommandLineException($"'{args[0]}' is not a PowerShell script: its name must end in .ps1.");
        }

        if (!System.IO.File.Exists(path))
        {
            throw new CommandLineException($"The script '{args[0]}' does not exist.");
        }

        var arguments = new List<CommandParameter>();
        var named = new Hashtable(StringComparer.OrdinalIgnoreCase);
        ParseArguments(args[1..], arguments, named);
        return new CommandLine { NonInteractive = nonInteractive, File = path, Arguments = arguments, NamedArguments = named };
    }

    /// <summary>
    /// pwsh's rules: <c>-Name</c> is handed on as a token, and the engine pairs it with the value after it or takes it as
    /// a switch; <c>-Name:value</c> and <c>-Name: value</c> belong together; <c>$true</c> and <c>$false</c> after the colon
    /// are booleans; everything else is a plain string, never evaluated.
    /// </summary>
    private static void ParseArguments(ReadOnlySpan<string> args, List<CommandParameter> arguments, Hashtable named)
    {
        for (var i = 0; i < args.Length; i++)
        {
            var argument = args[i];
            if (argument.Length < 2 || argument[0] != '-')
            {
                arguments.Add(new CommandParameter(name: null, argument));
                continue;
            }

            var colon = argument.IndexOf(':', StringComparison.Ordinal);
            if (colon < 0)
            {
                arguments.Add(new CommandParameter(argument));
                continue;
            }

            var isLast = colon == argument.Length - 1;
            if (isLast && i + 1 == args.Length)
            {
                throw new CommandLineException($"A value is missing after '{argument}'.");
            }

            named[argument[1..colon]] = isLast ? args[++i] : BooleanOrText(argument[(colon + 1)..]);
        }
    }

    private static object BooleanOrText(string value) => value.ToUpperInvariant() switch
    {
        "$TRUE" => true,
        "$FALSE" => false,
        _ => value,
    };
}
