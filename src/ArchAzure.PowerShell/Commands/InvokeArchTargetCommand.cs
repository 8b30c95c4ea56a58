using System.Diagnostics.CodeAnalysis;
using System.Management.Automation;
using ArchAzure.Builds;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Runs a command or a script inside the target and keeps what it changed.</summary>
[Cmdlet(VerbsLifecycle.Invoke, "ArchTarget", SupportsShouldProcess = true, DefaultParameterSetName = ByWorkDirectory)]
[OutputType(typeof(string))]
[SuppressMessage("Performance", "CA1819", Justification = "Cmdlet parameters are arrays.")]
public sealed class InvokeArchTargetCommand : BuildCmdlet
{
    /// <summary>The program and its arguments, one element each.</summary>
    [Parameter(Position = 1, ValueFromRemainingArguments = true)]
    [ValidateNotNullOrEmpty]
    public string[]? Command { get; set; }

    /// <summary>A bash script of this machine.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? ScriptPath { get; set; }

    /// <summary>Throw away what the command changes.</summary>
    [Parameter]
    public SwitchParameter Discard { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        if ((Command is null) == (ScriptPath is null))
        {
            ThrowTerminatingError(ErrorRecords.From(new ArchAzureException(
                "CommandOrScript", ErrorKind.InvalidInput, "Give either -Command or -ScriptPath: what is to run in the target.", null)));
        }

        var directory = Directory;
        var script = ScriptPath is null ? null : FilePath(ScriptPath);
        if (!ShouldProcess(directory.Path, $"Run {(script is null ? string.Join(' ', Command!) : script)} in the target"))
        {
            return;
        }

        // As a program run at the prompt: its output goes down the pipe, what it says on standard error is shown.
        Run((reporter, write, token) => new TargetAccess(directory, reporter).RunAsync(
            Command,
            script,
            !Discard,
            (line, error) =>
            {
                if (error)
                {
                    reporter.Information(line);
                }
                else
                {
                    write(line);
                }
            },
            token));
    }
}
