using System.Collections.ObjectModel;
using System.Management.Automation;
using System.Management.Automation.Runspaces;

namespace ArchAzure.ModuleTests;

/// <summary>A session of PowerShell in this process with the assembled module in it, as pwsh has one.</summary>
internal sealed class ModuleSession : IDisposable
{
    private readonly Runspace _runspace = RunspaceFactory.CreateRunspace(InitialSessionState.CreateDefault2());

    public ModuleSession()
    {
        Environment.SetEnvironmentVariable("POWERSHELL_TELEMETRY_OPTOUT", "1");
        _runspace.Open();
        Invoke($"Import-Module -Force '{Manifest.Replace("'", "''", StringComparison.Ordinal)}'");
    }

    /// <summary>The manifest of the assembled module.</summary>
    public static string Manifest { get; } = Path.GetFullPath(Path.Combine(
        Environment.GetEnvironmentVariable("ARCHAZURE_MODULE") is { Length: > 0 } given ? given : Path.Combine(HostProcess.Checkout, "artifacts", "ArchAzure"), "ArchAzure.psd1"));

    public void Dispose() => _runspace.Dispose();

    /// <summary>Sets a variable of the session, so that values need no quoting.</summary>
    public ModuleSession With(string name, object value)
    {
        _runspace.SessionStateProxy.SetVariable(name, value);
        return this;
    }

    /// <summary>A pipeline that has not begun; to be disposed of by the caller.</summary>
    public PowerShell Pipeline(string script)
    {
        var shell = PowerShell.Create(_runspace);
        shell.AddScript(script);
        return shell;
    }

    /// <summary>Runs a script that ends well.</summary>
    public Collection<PSObject> Invoke(string script)
    {
        using var shell = Pipeline(script);
        var output = shell.Invoke();
        Assert.Empty(shell.Streams.Error);
        return output;
    }

    /// <summary>The one error that a script ends with or writes.</summary>
    public ErrorRecord Error(string script)
    {
        using var shell = Pipeline(script);
        try
        {
            shell.Invoke();
        }
        catch (RuntimeException e)
        {
            return e.ErrorRecord;
        }

        return Assert.Single(shell.Streams.Error);
    }
}
