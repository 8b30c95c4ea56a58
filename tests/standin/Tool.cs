using System.Diagnostics;

namespace ArchAzure.StandIn;

/// <summary>Runs programs of this machine, always with an argument array.</summary>
internal static class Tool
{
    /// <summary>Runs a program to its end and returns what it printed.</summary>
    /// <exception cref="StandInException">It is not there, or it failed; the message ends in its last lines.</exception>
    public static async Task<string> RunAsync(
        string program,
        IEnumerable<string> arguments,
        CancellationToken cancellation,
        IReadOnlyDictionary<string, string>? environment = null)
    {
        using Process process = Start(program, arguments, environment);
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(cancellation);
        Task<string> errors = process.StandardError.ReadToEndAsync(cancellation);
        try
        {
            await process.WaitForExitAsync(cancellation);
            return process.ExitCode == 0 ? await output : throw Failure(program, process.ExitCode, await output + await errors);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }

    /// <summary>Runs a program, gives what it writes to <paramref name="read"/> and what <paramref name="write"/> writes to it.</summary>
    public static async Task PipeAsync(
        string program, IEnumerable<string> arguments, Action<Stream>? write, Action<Stream>? read, CancellationToken cancellation)
    {
        using Process process = Start(program, arguments, environment: null);
        using CancellationTokenRegistration kill = cancellation.Register(() => process.Kill(entireProcessTree: true));
        Task<string> errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        Task reading = Task.Run(() => (read ?? (s => s.CopyTo(Stream.Null)))(process.StandardOutput.BaseStream), CancellationToken.None);
        IOException? broken = null;
        try
        {
            write?.Invoke(process.StandardInput.BaseStream);
            process.StandardInput.Close();
        }
        catch (IOException e)
        {
            broken = e;
        }

        await reading;
        await process.WaitForExitAsync(CancellationToken.None);
        cancellation.ThrowIfCancellationRequested();
        if (process.ExitCode != 0 || broken is not null)
        {
            throw Failure(program, process.ExitCode, await errors + broken?.Message);
        }
    }

    private static Process Start(string program, IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
        };
        start.Environment["LC_ALL"] = "C.UTF-8";
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new StandInException($"{program} cannot be started: {e.Message}.");
        }
    }

    private static StandInException Failure(string program, int status, string output)
    {
        string tail = string.Join('\n', output.Split('\n', StringSplitOptions.RemoveEmptyEntries).TakeLast(15));
        return new StandInException($"{program} ended with status {status}:\n{tail}");
    }
}
