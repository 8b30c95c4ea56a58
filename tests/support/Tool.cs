using System.Diagnostics;

namespace ArchAzure.TestSupport;

/// <summary>How a program ended and what it wrote.</summary>
internal sealed record ToolResult(int ExitCode, string Output, string Error)
{
    public string All => Output + Error;
}

/// <summary>Runs programs of this machine, always with an argument array and a time limit.</summary>
internal static class Tool
{
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(10);

    /// <summary>Runs a program that must end well, and returns its output.</summary>
    public static async Task<string> RunAsync(string program, params string[] arguments)
    {
        var result = await TryAsync(program, arguments);
        Assert.True(result.ExitCode == 0, $"{program} {string.Join(' ', arguments)} ended with {result.ExitCode}:\n{result.All}");
        return result.Output;
    }

    /// <summary>The same in a folder and with an input, for a test that does not wait in other ways.</summary>
    public static string Run(
        string program, string[] arguments, string? folder = null, string? input = null, Dictionary<string, string>? environment = null)
    {
        using var process = Start(program, arguments, environment, closeInput: false, folder);
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEndAsync();
        process.StandardInput.Write(input ?? "");
        process.StandardInput.Close();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}: {error.Result}");
        return output.Result;
    }

    /// <summary>Runs a program to its end, whatever that is.</summary>
    public static async Task<ToolResult> TryAsync(
        string program, IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string>? environment = null)
    {
        using var process = Start(program, arguments, environment);
        using var limit = new CancellationTokenSource(s_limit);
        var output = process.StandardOutput.ReadToEndAsync(limit.Token);
        var error = process.StandardError.ReadToEndAsync(limit.Token);
        try
        {
            await process.WaitForExitAsync(limit.Token);
            return new ToolResult(process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException e)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{program} {string.Join(' ', arguments)} did not end within {s_limit}.", e);
        }
    }

    /// <summary>Starts a program with its streams redirected and its input closed, unless told otherwise.</summary>
    public static Process Start(
        string program,
        IReadOnlyList<string> arguments,
        IReadOnlyDictionary<string, string>? environment = null,
        bool closeInput = true,
        string? folder = null)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder ?? "",
        };
        start.Environment["LC_ALL"] = "C.UTF-8";
        foreach (var (name, value) in environment ?? new Dictionary<string, string>(StringComparer.Ordinal))
        {
            start.Environment[name] = value;
        }

        var process = Process.Start(start)!;
        if (closeInput)
        {
            process.StandardInput.Close();
        }

        return process;
    }
}
