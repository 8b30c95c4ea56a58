using System.Diagnostics;

namespace ArchAzure.BuildTests;

/// <summary>The module as its users have it: PowerShell text, run by this project's host or by pwsh.</summary>
internal static class HostProcess
{
    /// <summary>Runs a script that imports the module first, with errors that stop it.</summary>
    public static async Task<ToolResult> RunAsync(string script, params string[] before)
    {
        using var folder = new TempFolder();
        var path = folder.Write("script.ps1", $"$ErrorActionPreference = 'Stop'\nImport-Module {Quote(Path.Combine(TestSetup.Module, "ArchAzure.psd1"))}\n{script}\n");
        List<string> command = [.. before, "dotnet", TestSetup.Host, "-NoProfile", "-NonInteractive", "-File", path];
        return await Tool.TryAsync(command[0], command[1..]);
    }

    /// <summary>Starts the host; the caller waits for its end.</summary>
    public static Process Start(string script, TempFolder folder) => Start(script, folder, [], null);

    /// <summary>The same under another program (strace), and with more environment.</summary>
    public static Process Start(string script, TempFolder folder, IReadOnlyList<string> before, IReadOnlyDictionary<string, string>? environment)
    {
        var path = folder.Write("script.ps1", $"$ErrorActionPreference = 'Stop'\nImport-Module {Quote(Path.Combine(TestSetup.Module, "ArchAzure.psd1"))}\n{script}\n");

        // A job in the background of a shell has SIGINT ignored, and children inherit that: the tests must not depend on it.
        List<string> command = [.. before, "env", "--default-signal=INT", "dotnet", TestSetup.Host, "-NoProfile", "-NonInteractive", "-File", path];
        return Tool.Start(command[0], command[1..], environment);
    }

    /// <summary>A text as PowerShell reads it back.</summary>
    public static string Quote(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";
}
