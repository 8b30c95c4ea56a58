using System.Diagnostics;

namespace ArchAzure.TestSupport;

/// <summary>The module as its users have it: PowerShell text, run by pwsh.</summary>
internal static class Pwsh
{
    /// <summary>Runs a script that imports the module first, with errors that stop it.</summary>
    public static Task<ToolResult> RunAsync(string script, params string[] before) => RunModuleAsync(TestSetup.Module, script, before);

    /// <summary>The same with the module of another folder.</summary>
    public static async Task<ToolResult> RunModuleAsync(string module, string script, params string[] before)
    {
        using var folder = new TempFolder();
        List<string> command = [.. before, .. Command(TestSetup.PowerShell, Write(folder, "script.ps1", module, script))];
        return await Tool.TryAsync(command[0], command[1..]);
    }

    /// <summary>Starts it; the caller waits for its end.</summary>
    public static Process Start(string script, TempFolder folder, IReadOnlyDictionary<string, string>? environment = null) =>
        // A job in the background of a shell has SIGINT ignored, and children inherit that: the tests must not depend on it.
        Tool.Start(
            "env",
            ["--default-signal=INT", .. Command(TestSetup.PowerShell, Write(folder, "script.ps1", TestSetup.Module, script))],
            environment);

    /// <summary>The command that runs a script with pwsh or, by dotnet, pwsh.dll.</summary>
    public static string[] Command(string program, string script) =>
        [
            .. program.EndsWith(".dll", StringComparison.Ordinal) ? ["dotnet"] : Array.Empty<string>(), program, "-NoProfile",
            "-NonInteractive", "-File", script,
        ];

    /// <summary>
    /// Writes a script that imports the module of a folder. An error ends it with 1 and is one line: pwsh's own view breaks it.
    /// </summary>
    public static string Write(TempFolder folder, string name, string module, string script) => folder.Write(
        name,
        $$"""
        $ErrorActionPreference = 'Stop'
        $PSStyle.OutputRendering = 'PlainText'
        try {
            Import-Module {{Quote(Path.Combine(module, "ArchAzure.psd1"))}}
            {{script}}
        }
        catch {
            [Console]::Error.WriteLine("ERROR: $_")
            exit 1
        }
        """);

    /// <summary>A text as PowerShell reads it back.</summary>
    public static string Quote(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";
}
