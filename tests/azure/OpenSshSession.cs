using System.Diagnostics;
using ArchAzure.SimulatedAzure;

namespace ArchAzure.AzureTests;

/// <summary>A session of the OpenSSH client, as users have it: it says nothing by itself, and answers sshd's keepalives.</summary>
internal sealed class OpenSshSession : IDisposable
{
    private readonly Process _ssh;

    private OpenSshSession(Process ssh) => _ssh = ssh;

    /// <summary>Logs in and runs cat(1) there.</summary>
    public static async Task<OpenSshSession> ConnectAsync(
        TempFolder folder, MachineSession session, string user, CancellationToken cancellationToken)
    {
        var key = folder["key"];
        if (!File.Exists(key))
        {
            const UnixFileMode ours = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = ours };
            await using var file = new FileStream(key, options);
            await file.WriteAsync(session.Key.ToOpenSshFile(), cancellationToken);
        }

        var start = new ProcessStartInfo("ssh") { UseShellExecute = false, RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (var argument in (string[])[
            "-F", "none", "-i", key, "-p", $"{session.SshPort}", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR",
            "-o", "BatchMode=yes", "-o", "ServerAliveInterval=0", "-o", "TCPKeepAlive=no", $"{user}@127.0.0.1", "cat"])
        {
            start.ArgumentList.Add(argument);
        }

        var connected = new OpenSshSession(Process.Start(start)!);
        Assert.True(await connected.AnswersAsync(cancellationToken), "ssh did not get a session.");
        return connected;
    }

    /// <summary>Whether a line goes there and back within a time in which it would on any living connection.</summary>
    public async Task<bool> AnswersAsync(CancellationToken cancellationToken)
    {
        const string line = "still there?";
        try
        {
            await _ssh.StandardInput.WriteLineAsync(line.AsMemory(), cancellationToken);
            await _ssh.StandardInput.FlushAsync(cancellationToken);
            return await _ssh.StandardOutput.ReadLineAsync(cancellationToken).AsTask()
                .WaitAsync(TimeSpan.FromSeconds(30), cancellationToken) == line;
        }
        catch (Exception e) when (e is TimeoutException or IOException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _ssh.Kill();
        _ssh.Dispose();
    }
}
