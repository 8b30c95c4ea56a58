using System.Diagnostics;
using System.Reflection;
using System.Runtime.InteropServices;

namespace ArchAzure.ModuleTests;

/// <summary>The host as a real process with redirected streams.</summary>
internal static partial class HostProcess
{
    public static string SampleModule { get; } = Built("SampleModule");

    /// <summary>The checkout's folder.</summary>
    public static string Checkout { get; } = Built("Checkout");

    private static string HostAssembly { get; } = Built("Host");

    public static Process Start(IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null)
    {
        // A job in the background of a shell has SIGINT ignored, and children inherit that: the tests must not depend on it.
        var start = new ProcessStartInfo("env", ["--default-signal=INT", "dotnet", HostAssembly, .. arguments])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>(StringComparer.Ordinal))
        {
            start.Environment[name] = value;
        }

        var process = Process.Start(start)!;
        process.StandardInput.Close();
        return process;
    }

    public static async Task<HostResult> Run(params string[] arguments) => await Finish(Start(arguments));

    public static async Task<HostResult> Finish(Process process, int limitSeconds = 30)
    {
        using (process)
        {
            using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(limitSeconds));
            try
            {
                var output = process.StandardOutput.ReadToEndAsync(timeout.Token);
                var error = process.StandardError.ReadToEndAsync(timeout.Token);
                await process.WaitForExitAsync(timeout.Token);
                return new HostResult(process.ExitCode, await output, await error);
            }
            catch (OperationCanceledException)
            {
                process.Kill();
                throw;
            }
        }
    }

    /// <summary>The next line of standard error: how the tests know that the script has come to a certain point.</summary>
    public static async Task<string?> NextErrorLine(Process process)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        try
        {
            return await process.StandardError.ReadLineAsync(timeout.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }
    }

    public static void Signal(Process process, int signal) => Assert.Equal(0, Kill(process.Id, signal));

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Kill(int processId, int signal);

    private static string Built(string name) =>
        typeof(HostProcess).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == name).Value!;
}

/// <summary>How the host ended and what it wrote.</summary>
internal sealed record HostResult(int ExitCode, string Output, string Error)
{
    public string[] OutputLines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    public string[] ErrorLines => Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
