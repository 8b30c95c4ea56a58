using System.Text;

namespace ArchAzure.Host;

/// <summary>
/// Standard output and error, and the progress display between their lines. Calls may come from any thread.
/// Writing to a terminal or pipe that has gone away is ignored: a script that is cleaning up must not fail on it.
/// </summary>
internal sealed class ConsoleOutput : IDisposable
{
    private const int RedirectedWidth = 120;

    private readonly object _gate = new();
    private readonly StreamWriter _out = Open(Console.OpenStandardOutput());
    private readonly StreamWriter _error = Open(Console.OpenStandardError());
    private readonly bool _outIsTerminal = !Console.IsOutputRedirected;
    private readonly bool _errorIsTerminal = !Console.IsErrorRedirected;
    private readonly LiveProgress? _live;
    private readonly LoggedProgress? _logged;
    private bool _atLineStart = true;

    public ConsoleOutput()
    {
        var dumb = Environment.GetEnvironmentVariable("TERM") is null or "" or "dumb";
        var colour = !dumb && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"));
        OutHasColour = colour && _outIsTerminal;
        ErrorHasColour = colour && _errorIsTerminal;

        // Progress is not output: it goes to standard error, so that `> file` keeps results and progress apart.
        if (_errorIsTerminal && !dumb)
        {
            _live = new LiveProgress(DrawWhenDue);
        }
        else
        {
            _logged = new LoggedProgress();
        }
    }

    /// <summary>Whether escape sequences may be written to standard output.</summary>
    public bool OutHasColour { get; }

    /// <summary>Whether escape sequences may be written to standard error.</summary>
    public bool ErrorHasColour { get; }

    /// <summary>Columns of the terminal; 120 where there is none.</summary>
    public int Width => (_outIsTerminal || _errorIsTerminal) && Console.WindowWidth > 0 ? Console.WindowWidth : RedirectedWidth;

    /// <summary>Writes to standard output.</summary>
    public void Write(string text) => Write(_out, _outIsTerminal, text);

    /// <summary>Writes a line to standard output, dressed in the escape sequence <paramref name="style"/> where colour is shown.</summary>
    public void WriteLine(string text, string style = "") =>
        Write(_out, _outIsTerminal, Dress(text, OutHasColour ? style : "") + "\n");

    /// <summary>Writes to standard error.</summary>
    public void WriteError(string text) => Write(_error, _errorIsTerminal, text);

    /// <summary>Writes a line to standard error, dressed in the escape sequence <paramref name="style"/> where colour is shown.</summary>
    public void WriteErrorLine(string text, string style = "") =>
        Write(_error, _errorIsTerminal, Dress(text, ErrorHasColour ? style : "") + "\n");

    /// <summary>Shows or ends an activity.</summary>
    public void Progress(ActivityProgress progress)
    {
        lock (_gate)
        {
            if (_logged?.Update(progress) is { } line)
            {
                Send(_error, line + "\n");
            }

            _live?.Update(progress);
            Redraw(force: false);
        }
    }

    /// <summary>Takes the progress line away, e.g. before a prompt or when the pipeline ends.</summary>
    public void ClearProgress()
    {
        lock (_gate)
        {
            Send(_error, _live?.Clear());
        }
    }

    public void Dispose()
    {
        ClearProgress();
        _live?.Dispose();
        // The standard streams stay open: a late signal may still have something to say.
    }

    private void Write(StreamWriter writer, bool isTerminal, string text)
    {
        lock (_gate)
        {
            if (!isTerminal)
            {
                Send(writer, text);
                return;
            }

            Send(_error, _live?.Erase());
            Send(writer, text);
            if (text.Length > 0)
            {
                _atLineStart = text[^1] == '\n';
            }

            Redraw(force: false);
        }
    }

    private void DrawWhenDue()
    {
        lock (_gate)
        {
            Redraw(force: true);
        }
    }

    /// <summary>A line begun with Write-Host -NoNewline is left alone until it ends.</summary>
    private void Redraw(bool force)
    {
        if (_live is not null && _atLineStart)
        {
            Send(_error, _live.Draw(Width, force));
        }
    }

    private static void Send(StreamWriter writer, string? text)
    {
        if (string.IsNullOrEmpty(text))
        {
            return;
        }

        try
        {
            writer.Write(text);
        }
        catch (IOException)
        {
            // EIO after the terminal hung up, ENOSPC on a log file.
        }
    }

    private static string Dress(string text, string style) => style.Length == 0 ? text : style + text + Style.Reset;

    private static StreamWriter Open(Stream stream) => new(stream, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false)) { AutoFlush = true };
}

/// <summary>Escape sequences (ECMA-48 SGR).</summary>
internal static class Style
{
    public const string Reset = "\x1b[0m";
    public const string Error = "\x1b[31;1m";
    public const string Warning = "\x1b[33;1m";
    public const string Detail = "\x1b[36m";

    private static readonly int[] AnsiOrder = [0, 4, 2, 6, 1, 5, 3, 7];

    /// <summary>The sequence for PowerShell's colour; the bright ones are 60 above the others.</summary>
    public static string Of(ConsoleColor colour, bool background)
    {
        var code = AnsiOrder[(int)colour & 7] + ((int)colour > 7 ? 90 : 30) + (background ? 10 : 0);
        return $"\x1b[{code}m";
    }
}
