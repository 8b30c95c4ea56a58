using System.Management.Automation;
using System.Management.Automation.Runspaces;
using System.Runtime.InteropServices;

namespace ArchAzure.Host;

/// <summary>
/// Runs one script or command in PowerShell's engine where no pwsh is installed.
/// Exit codes are pwsh's: N after <c>exit N</c>, 1 after an uncaught error, 64 for a bad command line; and 128 plus the
/// signal's number when a signal stopped the script.
/// </summary>
internal sealed class Program : IDisposable
{
    private const int Failed = 1;
    private const int BadCommandLine = 64;

    private readonly CommandLine _commandLine;
    private readonly ConsoleOutput _output = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly UserInterface _userInterface;
    private readonly ConsoleHost _host;
    private readonly PowerShell _powerShell = PowerShell.Create();
    private int _signalled;

    private Program(CommandLine commandLine)
    {
        _commandLine = commandLine;
        _userInterface = new UserInterface(_output, commandLine.NonInteractive, _stopping.Token);
        _host = new ConsoleHost(_userInterface);
    }

    public static int Main(string[] args)
    {
        // about_Telemetry: the engine sends each imported module's name to its makers unless told not to.
        Environment.SetEnvironmentVariable("POWERSHELL_TELEMETRY_OPTOUT", "1");

        try
        {
            return Run(CommandLine.Parse(args));
        }
        catch (CommandLineException e)
        {
            Console.Error.WriteLine(e.Message);
            Console.Error.WriteLine(CommandLine.Usage);
            return BadCommandLine;
        }
    }

    public void Dispose()
    {
        _powerShell.Dispose();
        _output.Dispose();
        _stopping.Dispose();
    }

    private static int Run(CommandLine commandLine)
    {
        using var program = new Program(commandLine);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => program.Stop(context, 128 + 2));
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => program.Stop(context, 128 + 15));
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context => program.Stop(context, 128 + 1));
        return program.Run();
    }

    private int Run()
    {
        using var runspace = RunspaceFactory.CreateRunspace(_host, CreateSessionState());
        runspace.ThreadOptions = PSThreadOptions.UseCurrentThread;
        runspace.Open();

        _powerShell.Runspace = runspace;
        _powerShell.Streams.Error.DataAdded += (_, added) => _userInterface.ReportError(_powerShell.Streams.Error[added.Index]);
        AddCommand();

        var failed = false;
        try
        {
            _powerShell.Invoke();
        }
        catch (PipelineStoppedException) when (_signalled != 0)
        {
            // The exit code tells.
        }
        catch (RuntimeException e)
        {
            failed = true;
            _userInterface.ReportError(e.ErrorRecord);
        }

        return _signalled != 0 ? _signalled
            : _host.ExitCode is { } exitCode ? exitCode
            : failed ? Failed
            : !_host.State.Succeeded ? FailureOf(runspace)
            : 0;
    }

    /// <summary>After <c>exit N</c> a script counts as failed and leaves N behind.</summary>
    private int FailureOf(Runspace runspace) =>
        _commandLine.File is not null && runspace.SessionStateProxy.GetVariable("LASTEXITCODE") is int exitCode ? exitCode : Failed;

    private void AddCommand()
    {
        // The text is fixed; path and arguments reach it as values.
        const string RunFile = "$named = $Host.PrivateData.NamedArguments; & $Host.PrivateData.File @args @named";

        _host.State.File = _commandLine.File;
        _host.State.NamedArguments = _commandLine.NamedArguments;

        // $? decides the exit code (about_Pwsh), but is true again once the pipeline has ended: the text keeps it.
        // Not with `exit`, which would drop a table that Out-Default still holds back.
        var command = new Command(
            (_commandLine.Command ?? RunFile) + "\n$Host.PrivateData.Succeeded = $?",
            isScript: true,
            useLocalScope: _commandLine.File is not null);
        foreach (var argument in _commandLine.Arguments)
        {
            command.Parameters.Add(argument);
        }

        _powerShell.Commands.AddCommand(command);
        _powerShell.AddCommand("Out-Default");
    }

    private static InitialSessionState CreateSessionState()
    {
        var state = InitialSessionState.CreateDefault2();
        state.Commands.Add(new SessionStateCmdletEntry("Write-Host", typeof(WriteHostCommand), null));
        state.Commands.Add(new SessionStateCmdletEntry("Write-Output", typeof(WriteOutputCommand), null));
        state.Commands.Add(new SessionStateCmdletEntry("Write-Warning", typeof(WriteWarningCommand), null));
        state.Commands.Add(new SessionStateCmdletEntry("Write-Verbose", typeof(WriteVerboseCommand), null));
        state.Commands.Add(new SessionStateCmdletEntry("Write-Error", typeof(WriteErrorCommand), null));
        return state;
    }

    /// <summary>
    /// Stops the pipeline and leaves the way out to <see cref="Run()"/>, which returns once the commands have cleaned up.
    /// A second signal ends the process at once.
    /// </summary>
    private void Stop(PosixSignalContext context, int exitCode)
    {
        context.Cancel = true;
        if (Interlocked.CompareExchange(ref _signalled, exitCode, 0) != 0 || _powerShell.InvocationStateInfo.State == PSInvocationState.NotStarted)
        {
            _output.ClearProgress();
            Environment.Exit(exitCode);
        }

        _output.ClearProgress();
        _output.WriteErrorLine("Stopping; waiting for the clean-up. Another Ctrl-C ends at once, without it.");
        _stopping.Cancel();
        _powerShell.BeginStop(callback: null, state: null);
    }
}
