using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Management.Automation;
using System.Runtime.ExceptionServices;
using ArchAzure.Settings;

namespace ArchAzure.PowerShell;

/// <summary>
/// Runs the engine's asynchronous work for a cmdlet: what it reports is written on the pipeline's thread, Ctrl-C and SIGTERM cancel it and
/// wait until it has cleaned up, and its errors become error records.
/// </summary>
public abstract class EngineCmdlet : PSCmdlet, IDisposable
{
    private static readonly string[] s_hostTag = ["PSHOST"];

    private readonly CancellationTokenSource _stop = new();
    private readonly ManualResetEventSlim _stopped = new();

    /// <summary>The module's folder.</summary>
    protected string ModuleFolder => MyInvocation.MyCommand.Module?.ModuleBase
        ?? Path.GetDirectoryName(Path.GetDirectoryName(typeof(EngineCmdlet).Assembly.Location))!;

    /// <summary>The module's layers.</summary>
    protected string LayerFolder => Path.Combine(ModuleFolder, "layers");

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Releases what the cmdlet holds.</summary>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing)
        {
            _stop.Dispose();
            _stopped.Dispose();
        }
    }

    /// <inheritdoc/>
    protected sealed override void StopProcessing()
    {
        _stopped.Set();
        _stop.Cancel();
    }

    /// <summary>The cmdlet's work on one object from the pipe.</summary>
    protected abstract void Process();

    /// <summary>The cmdlet's work when all objects have come.</summary>
    protected virtual void Finish()
    {
    }

    /// <inheritdoc/>
    protected sealed override void ProcessRecord() => Work(Process);

    /// <inheritdoc/>
    protected sealed override void EndProcessing() => Work(Finish);

    private void Work(Action part)
    {
        Termination.Enter(_stop);
        try
        {
            part();
        }
        finally
        {
            if (Termination.Leave(_stop))
            {
                // The script must not go on, nor end with a status of its own, while the signal ends the process. A program that hosts
                // PowerShell and outlives the signal stops its pipelines.
                _stopped.Wait();
            }
        }
    }

    /// <summary>Runs work of the engine and returns its result.</summary>
    private protected T Run<T>(Func<IReporter, CancellationToken, Task<T>> work)
    {
        ArgumentNullException.ThrowIfNull(work);
        return Run<T>((reporter, _, token) => work(reporter, token));
    }

    /// <summary>
    /// Runs work of the engine that yields output while it goes on; the second argument writes an object to the pipeline.
    /// </summary>
    private protected T Run<T>(Func<IReporter, Action<object>, CancellationToken, Task<T>> work)
    {
        ArgumentNullException.ThrowIfNull(work);
        // The work waits where the pipeline does not keep up, with a pager at its end or a slow script: what a command writes without end
        // must not pile up here.
        const int MostWaiting = 256;
        using var messages = new BlockingCollection<Action>(MostWaiting);
        var reporter = new PipelineReporter(this, messages);
        var task = Task.Run(async () =>
        {
            try
            {
                return await work(reporter, reporter.Output, _stop.Token);
            }
            finally
            {
                messages.CompleteAdding();
            }
        });

        ExceptionDispatchInfo? failure = null;
        foreach (var message in messages.GetConsumingEnumerable())
        {
            try
            {
                if (!_stop.IsCancellationRequested)
                {
                    message();
                }
            }
            catch (Exception e)
            {
                // A preference of Stop, or the pipeline ends: let the work clean up before passing it on.
                failure = ExceptionDispatchInfo.Capture(e);
                _stop.Cancel();
            }
        }

        try
        {
            var result = task.GetAwaiter().GetResult();
            failure?.Throw();
            return result;
        }
        catch (ArchAzureException e) when (!_stop.IsCancellationRequested)
        {
            ThrowTerminatingError(ErrorRecords.From(e));
            throw;
        }
        catch (Exception e) when (_stop.IsCancellationRequested && e is not PipelineStoppedException)
        {
            failure?.Throw();
            throw new PipelineStoppedException();
        }
    }

    /// <summary>Runs a function of the engine that needs no waiting.</summary>
    private protected T Run<T>(Func<T> work)
    {
        ArgumentNullException.ThrowIfNull(work);
        try
        {
            return work();
        }
        catch (ArchAzureException e)
        {
            ThrowTerminatingError(ErrorRecords.From(e));
            throw;
        }
    }

    /// <summary>Runs work on one of several things from the pipe: its error is written, and the next one has its turn.</summary>
    /// <returns>Whether it went well.</returns>
    private protected bool TryRun<T>(Func<IReporter, CancellationToken, Task<T>> work, [NotNullWhen(true)] out T? result)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(work);
        ArchAzureException? error = null;
        result = Run<T?>(async (reporter, token) =>
        {
            try
            {
                return await work(reporter, token);
            }
            catch (ArchAzureException e) when (!token.IsCancellationRequested)
            {
                error = e;
                return null;
            }
        });
        if (error is not null)
        {
            WriteError(ErrorRecords.From(error));
        }

        return result is not null;
    }

    /// <summary>
    /// The settings of all parameters given whose name the settings know; one with an empty value takes back what was given earlier.
    /// </summary>
    protected Dictionary<string, string> GivenSettings()
    {
        var given = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var definition in SettingDefinition.All)
        {
            if (definition.Parameter is not { } parameter || !MyInvocation.BoundParameters.TryGetValue(parameter, out var value))
            {
                continue;
            }

            given[definition.Key] = value switch
            {
                "" or null or string[] { Length: 0 } => "",
                // Relative paths count from the current location, not from where the process was started.
                string[] list =>
                    Run(
                        () =>
                            BuildSettings.Default.With(
                                definition.Key, [.. list.Select(item => definition.WithPaths(item, FilePath))], parameter))[definition.Key],
                _ =>
                    Run(
                        () =>
                            BuildSettings.Default.With(
                                definition.Key, definition.WithPaths(value.ToString() ?? "", FilePath), parameter))[definition.Key],
            };
        }

        return given;
    }

    /// <summary>As Write-Host does: shown without -InformationAction, and still a stream that can be redirected.</summary>
    protected void Tell(string message) => WriteInformation(new HostInformationMessage { Message = message }, s_hostTag);

    /// <summary>A path as the user gives it (relative to the current location, ~, drives) as a path of the file system.</summary>
    protected string FilePath(string path)
    {
        var resolved = SessionState.Path.GetUnresolvedProviderPathFromPSPath(path, out var provider, out _);
        if (provider.Name != "FileSystem")
        {
            ThrowTerminatingError(ErrorRecords.From(new ArchAzureException(
                "NotAFilePath", ErrorKind.InvalidInput, $"'{path}' is not a path of the file system. Name a file or folder.", path)));
        }

        return resolved;
    }

    /// <summary>
    /// Whether pwsh shows no progress although nobody has switched it off: its output goes to a file, or it runs in CI, where a display
    /// that
    /// moves makes the log unreadable. A program that hosts PowerShell shows progress as it likes.
    /// </summary>
    private bool ShowsNoProgress()
    {
        var preference = MyInvocation.BoundParameters.TryGetValue("ProgressAction", out var given)
            ? given
            : GetVariableValue("ProgressPreference");
        return Host.Name == "ConsoleHost"
            && (Console.IsOutputRedirected
                || string.Equals(Environment.GetEnvironmentVariable("CI"), "true", StringComparison.OrdinalIgnoreCase))
            && preference?.ToString() is not ("SilentlyContinue" or "Ignore");
    }

    /// <summary>Hands the engine's messages to the pipeline's thread.</summary>
    private sealed class PipelineReporter(EngineCmdlet cmdlet, BlockingCollection<Action> messages) : IReporter
    {
        private readonly ProgressLog? _log = cmdlet.ShowsNoProgress() ? new ProgressLog(Console.Error) : null;

        public void Output(object value) => Add(() => cmdlet.WriteObject(value));

        public void Verbose(string message) => Add(() => cmdlet.WriteVerbose(message));

        public void Information(string message) => Add(() => cmdlet.Tell(message));

        public void Warning(string message) => Add(() => cmdlet.WriteWarning(message));

        public void Progress(ProgressUpdate update)
        {
            if (_log is not null)
            {
                _log.Write(update);
                return;
            }

            var status = update.Detail is null ? update.Status : $"{update.Status}: {update.Detail}";
            Add(() => cmdlet.WriteProgress(new ProgressRecord(1, update.Activity, status)
            {
                PercentComplete = update.Percent ?? -1,
                SecondsRemaining = update.SecondsRemaining ?? -1,
                RecordType = update.Completed ? ProgressRecordType.Completed : ProgressRecordType.Processing,
            }));
        }

        private void Add(Action message)
        {
            try
            {
                messages.Add(message);
            }
            catch (InvalidOperationException)
            {
                // The work has ended; a late message of a callback has nobody to read it.
            }
        }
    }
}
