using System.Net.Sockets;
using System.Text.Json.Nodes;
using ArchAzure.SimulatedAzure;
using Renci.SshNet;
using Renci.SshNet.Common;

namespace ArchAzure.AzureTests;

/// <summary>A machine that is up, for further work on it.</summary>
/// <param name="Plain">What Test-AzureVhd has of it.</param>
/// <param name="Password">The first user's password, or null.</param>
/// <param name="Extensions">What its agent says of extensions.</param>
internal sealed record MachineSession(BootSession Plain, string? Password, ExtensionStatuses Extensions) : BootSession(Plain)
{
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(2);

    /// <summary>Publishes a new goal state with these extension handlers.</summary>
    public void Publish(params ExtensionHandler[] handlers) => Platform.Goal = ExtensionHandler.Publish(Platform.Goal, handlers);

    /// <summary>A login with a password.</summary>
    public SshProbe WithPassword(string user, string password) =>
        new(SshPort, user, () => new PasswordAuthenticationMethod(user, password));

    /// <summary>Whether sshd takes a password; false when it answered and refused this login.</summary>
    public async Task<bool> TakesPasswordAsync(string user, string password, CancellationToken cancellationToken)
    {
        using var login = WithPassword(user, password);
        try
        {
            await login.TryConnectAsync(cancellationToken);
            return true;
        }
        catch (SshAuthenticationException)
        {
            return false;
        }
    }

    /// <summary>Runs a command as root; the agent lets a user who has a password use sudo with it only.</summary>
    public Task<SshResult> SudoAsync(string command, CancellationToken cancellationToken)
    {
        static string Quoted(string text) => "'" + text.Replace("'", "'\\''", StringComparison.Ordinal) + "'";
        var sudo = Password is null ? "sudo -n" : $"printf '%s\\n' {Quoted(Password)} | sudo -S -p ''";
        return Ssh.RunAsync($"{sudo} sh -c {Quoted(command)}", cancellationToken);
    }

    /// <summary>Puts a DVD in while the machine runs: into generation 1's drive; generation 2 gets the drive with it.</summary>
    public async Task InsertDvdAsync(byte[] image, CancellationToken cancellationToken)
    {
        var file = Path.Combine(Machine.Host.RunDirectory.FullName, "inserted.iso");
        await File.WriteAllBytesAsync(file, image, cancellationToken);
        var path = Machine.Host.MapPath(file);
        if (Machine.Options.Generation == 1)
        {
            // IDE knows no hot plug: the drive was there, empty.
            await ExecuteAsync("blockdev-change-medium", new()
            {
                ["id"] = QemuCommandLine.DvdDevice, ["filename"] = path, ["format"] = "raw", ["read-only-mode"] = "read-only",
            });
        }
        else
        {
            // A node of its own each time: that of a drive that was removed goes only when the guest has let go of it.
            var node = $"dvd-{Guid.NewGuid():N}"[..20];
            await ExecuteAsync("blockdev-add", new()
            {
                ["driver"] = "raw",
                ["node-name"] = node,
                ["read-only"] = true,
                ["file"] = new JsonObject { ["driver"] = "file", ["filename"] = path, ["read-only"] = true },
            });
            await ExecuteAsync("device_add", new()
            {
                ["driver"] = "scsi-cd",
                ["bus"] = "scsi.0",
                ["scsi-id"] = QemuCommandLine.OsTarget(Machine.Options.DataDisksFirst),
                ["lun"] = 2,
                ["drive"] = node,
                ["id"] = QemuCommandLine.DvdDevice,
            });
        }

        File.Delete(file);

        Task ExecuteAsync(string command, JsonObject arguments) => Machine.Monitor.ExecuteAsync(command, arguments, cancellationToken);
    }

    /// <summary>Takes the DVD out, with generation 2's drive, as Azure does once the machine is provisioned.</summary>
    public Task RemoveDvdAsync(CancellationToken cancellationToken)
    {
        var device = new JsonObject { ["id"] = QemuCommandLine.DvdDevice };
        if (Machine.Options.Generation == 1)
        {
            device["force"] = true;
        }

        return Machine.Monitor.ExecuteAsync(Machine.Options.Generation == 1 ? "eject" : "device_del", device, cancellationToken);
    }

    /// <summary>Reboots the guest, logs in again and waits until its agent's status says Ready.</summary>
    public async Task RebootAsync(CancellationToken cancellationToken)
    {
        var before = await BootIdAsync(cancellationToken);
        Assert.NotNull(before);
        await RebootAfterAsync("", cancellationToken);

        // sshd still takes logins while the guest goes down: only another boot id shows that it has come back.
        string after;
        do
        {
            await Task.Delay(s_pause, cancellationToken);
            await Ssh.ConnectAsync(cancellationToken);
            after = await BootIdAsync(cancellationToken) ?? before;
        }
        while (after == before);

        var seen = Platform.AgentStatuses.Count;
        await Platform.WaitForAsync(
            platform => platform.AgentStatuses.Skip(seen).Any(status => status.Status == "Ready"), cancellationToken);
    }

    /// <summary>
    /// Deprovisions the guest and has it provisioned as a new machine at its next boot: another deployment, another DVD. The
    /// firmware's machine id stays, which QEMU cannot change in a running machine.
    /// </summary>
    /// <param name="deprovision">The guest's command for it, e.g. <c>waagent -deprovision+user -force</c>.</param>
    /// <param name="environment">What the new DVD says; its keys are replaced by a fresh one.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>
    /// The new machine's session once it is Ready and logged in to; the caller disposes of its <see cref="BootSession.Ssh"/>.
    /// </returns>
    public async Task<MachineSession> ReprovisionAsync(string deprovision, OvfEnvironment environment, CancellationToken cancellationToken)
    {
        var key = SshKeyPair.Create("archazure-boot-test");
        environment = environment with { SshPublicKeys = [key.PublicKey] };
        await RemoveDvdAsync(cancellationToken);
        await InsertDvdAsync(UdfVolume.Create(environment, DateTimeOffset.UtcNow), cancellationToken);

        // In one command: the user who runs it is gone after its first half.
        await RebootAfterAsync(deprovision + " && ", cancellationToken);
        Platform.Goal = new GoalState(environment);
        Extensions.Clear();
        var seen = Platform.HealthReports.Count;
        HealthReport? last = null;
        await Platform.WaitForAsync(
            platform =>
                (last = platform.HealthReports.Skip(seen)
                    .LastOrDefault(report => report.State == "Ready" || report.SubStatus == "ProvisioningFailed")) is not null,
            cancellationToken);
        Assert.True(last!.State == "Ready", $"The new machine reported {last.State} ({last.SubStatus}): {last.Description}");

        var ssh = SshProbe.WithKey(SshPort, environment.UserName, key);
        try
        {
            await ssh.ConnectAsync(cancellationToken);
        }
        catch
        {
            ssh.Dispose();
            throw;
        }

        return this with { Ssh = ssh, Key = key, Password = environment.UserPassword };
    }

    private async Task<string?> BootIdAsync(CancellationToken cancellationToken)
    {
        try
        {
            return (await Ssh.RunAsync("cat /proc/sys/kernel/random/boot_id", cancellationToken)).Output;
        }
        catch (Exception e) when (e is SshException or SocketException or IOException)
        {
            return null;
        }
    }

    private async Task RebootAfterAsync(string command, CancellationToken cancellationToken)
    {
        SshResult result;
        try
        {
            result = await SudoAsync(command + "systemctl --no-block reboot", cancellationToken);
        }
        catch (Exception e) when (e is SshException or SocketException or IOException)
        {
            // The guest goes down faster than it could tell how its command ended.
            return;
        }

        Assert.True(
            result.ExitCode <= 0, $"The guest did not reboot (exit code {result.ExitCode}): {result.Output.Trim()} {result.Error.Trim()}");
    }
}
