using System.Collections.ObjectModel;
using System.Management.Automation;
using System.Management.Automation.Host;
using System.Security;

namespace ArchAzure.Host;

/// <summary>
/// Shows the streams of a pipeline: output, verbose, debug and information on standard output, warnings, errors and
/// progress on standard error. Asks the user only where both ends are a terminal.
/// </summary>
/// <param name="output">The console.</param>
/// <param name="nonInteractive">Never ask.</param>
/// <param name="stopping">Set when the pipeline is to stop; ends a wait for an answer.</param>
internal sealed class UserInterface(ConsoleOutput output, bool nonInteractive, CancellationToken stopping) : PSHostUserInterface
{
    private readonly bool _canAsk = !nonInteractive && !Console.IsInputRedirected && !Console.IsErrorRedirected;

    public override PSHostRawUserInterface RawUI { get; } = new RawInterface(output);

    public override bool SupportsVirtualTerminal => output.OutHasColour;

    public override void Write(string value) => output.Write(GetOutputString(value, output.OutHasColour));

    public override void Write(ConsoleColor foregroundColor, ConsoleColor backgroundColor, string value)
    {
        if (!output.OutHasColour)
        {
            Write(value);
            return;
        }

        // The engine fills a colour that was not asked for with RawUI's: that is the terminal's own, which we leave alone.
        var foreground = foregroundColor == RawUI.ForegroundColor ? "" : Style.Of(foregroundColor, background: false);
        var background = backgroundColor == RawUI.BackgroundColor ? "" : Style.Of(backgroundColor, background: true);
        output.Write(foreground + background + value + Style.Reset);
    }

    public override void WriteLine(string value) => output.WriteLine(GetOutputString(value, output.OutHasColour));

    public override void WriteVerboseLine(string message) => output.WriteLine("VERBOSE: " + message, Style.Detail);

    public override void WriteDebugLine(string message) => output.WriteLine("DEBUG: " + message, Style.Detail);

    public override void WriteWarningLine(string message) => output.WriteErrorLine("WARNING: " + message, Style.Warning);

    public override void WriteErrorLine(string value) => output.WriteErrorLine(value, Style.Error);

    public override void WriteProgress(long sourceId, ProgressRecord record) => output.Progress(new ActivityProgress(
        record.ActivityId,
        record.Activity,
        record.StatusDescription,
        record.PercentComplete,
        record.RecordType == ProgressRecordType.Completed));

    /// <summary>
    /// One line for people: the command, the message and the error id. With ARCHAZURE_TRACE=1 also where in the script it
    /// happened and the exception with its stack.
    /// </summary>
    public void ReportError(ErrorRecord error)
    {
        var message = error.ErrorDetails?.Message ?? error.Exception.Message;
        var command = error.InvocationInfo?.MyCommand?.Name;
        var source = command is null or "Write-Error" ? "" : command + ": ";

        // `throw 'text'` makes the text its own id.
        var id = error.FullyQualifiedErrorId.Split(',')[0];
        var suffix = id.Length == 0 || id == message || id == WriteErrorCommand.DefaultErrorId ? "" : $" [{id}]";
        WriteErrorLine($"ERROR: {source}{message}{suffix}");

        if (Environment.GetEnvironmentVariable("ARCHAZURE_TRACE") == "1")
        {
            output.WriteErrorLine(error.ScriptStackTrace ?? "");
            output.WriteErrorLine(error.Exception.ToString());
        }
    }

    public override int PromptForChoice(string caption, string message, Collection<ChoiceDescription> choices, int defaultChoice)
    {
        RequireUser($"{caption} {message}".Trim());
        output.ClearProgress();
        output.WriteErrorLine($"{caption}\n{message}".Trim());

        var keys = choices.Select(Key).ToList();
        var menu = string.Join("  ", choices.Select((choice, i) => $"[{keys[i]}] {Name(choice)}"));
        while (true)
        {
            output.WriteError($"{menu}  [?] Help{(defaultChoice >= 0 ? $" (default is \"{keys[defaultChoice]}\")" : "")}: ");
            var answer = ReadLine().Trim();
            if (answer.Length == 0 && defaultChoice >= 0)
            {
                return defaultChoice;
            }

            if (answer == "?")
            {
                foreach (var (key, choice) in keys.Zip(choices))
                {
                    output.WriteErrorLine($"{key} - {choice.HelpMessage}");
                }

                continue;
            }

            for (var i = 0; i < choices.Count; i++)
            {
                if (answer.Equals(keys[i], StringComparison.OrdinalIgnoreCase)
                    || answer.Equals(Name(choices[i]), StringComparison.OrdinalIgnoreCase))
                {
                    return i;
                }
            }
        }
    }

    public override string ReadLine()
    {
        RequireUser("The script wants to read a line.");

        // A blocked read cannot be cancelled; it is left behind on its thread when the pipeline stops.
        var read = Task.Run(Console.In.ReadLine, CancellationToken.None);
        try
        {
            read.Wait(stopping);
        }
        catch (OperationCanceledException)
        {
            throw new PipelineStoppedException();
        }

        return read.Result ?? throw new HostException("The input ended before the question was answered.");
    }

    /// <summary>Values of missing mandatory parameters are not asked for: the engine then names them in its own error.</summary>
    public override Dictionary<string, PSObject> Prompt(string caption, string message, Collection<FieldDescription> descriptions) =>
        throw new HostException(message);

    public override SecureString ReadLineAsSecureString() => throw NoSecrets();

    public override PSCredential PromptForCredential(string caption, string message, string userName, string targetName) =>
        throw NoSecrets();

    public override PSCredential PromptForCredential(
        string caption, string message, string userName, string targetName, PSCredentialTypes allowedCredentialTypes, PSCredentialUIOptions options) =>
        throw NoSecrets();

    private static HostException NoSecrets() =>
        new("This host does not ask for passwords. Pass credentials as a parameter, or run the script with pwsh.");

    private void RequireUser(string question)
    {
        if (!_canAsk)
        {
            throw new HostException(
                $"{question} This cannot be asked here: the session is non-interactive or has no terminal. "
                + "Add -Confirm:$false (or -Force, where the command has it) to go on without asking.");
        }
    }

    /// <summary>The letter after the ampersand (<c>Yes to &amp;All</c> is A), or the whole label.</summary>
    private static string Key(ChoiceDescription choice)
    {
        var mark = choice.Label.IndexOf('&', StringComparison.Ordinal);
        return mark >= 0 && mark + 1 < choice.Label.Length
            ? choice.Label.Substring(mark + 1, 1).ToUpperInvariant()
            : choice.Label;
    }

    private static string Name(ChoiceDescription choice) => choice.Label.Replace("&", "", StringComparison.Ordinal);
}
