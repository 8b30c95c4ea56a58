using System.Diagnostics;

namespace ArchAzure.BuildTests;

/// <summary>The module as its users have it: PowerShell text, run by pwsh.</summary>
internal static class HostProcess
{
    /// <summary>Runs a script that imports the module first, with errors that stop it.</summary>
    public static async Task<ToolResult> RunAsync(string script, params string[] before)
    {
        using var folder = new TempFolder();
        List<string> command = [.. before, .. Command(TestSetup.PowerShellFolder, Write(folder, "script.ps1", TestSetup.Module, script))];
        return await Tool.TryAsync(command[0], command[1..]);
    }

    /// <summary>Starts it; the caller waits for its end.</summary>
    public static Process Start(string script, TempFolder folder, IReadOnlyDictionary<string, string>? environment = null) =>
        // A job in the background of a shell has SIGINT ignored, and children inherit that: the tests must not depend on it.
        Tool.Start("env", ["--default-signal=INT", .. Command(TestSetup.PowerShellFolder, Write(folder, "script.ps1", TestSetup.Module, script))], environment);

    /// <summary>The command that runs a script with the PowerShell of a folder. A dotnet tool has no program of its own but a shim, which passes no signal on.</summary>
    public static string[] Command(string folder, string script)
    {
        var program = Path.Combine(folder, "pwsh");
        string[] shell = File.Exists(program) ? [program] : ["dotnet", program + ".dll"];
        return [.. shell, "-NoProfile", "-NonInteractive", "-File", script];
    }

    /// <summary>Writes a script that imports the module of a folder.</summary>
    public static string Write(TempFolder folder, string name, string module, string script) =>
        folder.Write(name, $"$ErrorActionPreference = 'Stop'\nImport-Module {Quote(Path.Combine(module, "ArchAzure.psd1"))}\n{script}\n");

    /// <summary>A text as PowerShell reads it back.</summary>
    public static string Quote(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";
}
