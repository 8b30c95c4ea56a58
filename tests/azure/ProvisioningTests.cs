using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using ArchAzure.SimulatedAzure;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>The old bugs, each with the machine on which it showed; for either agent that provisions.</summary>
/// <param name="output">The test's output.</param>
/// <param name="agent">Who provisions: the beginning of its User-Agent.</param>
/// <param name="unit">The unit that looks for the DVD.</param>
/// <param name="looking">
/// The line of the serial console that shows this unit's start; null where it may come after the login prompt, from which on systemd 262
/// writes no more lines there.
/// </param>
/// <param name="done">A command that ends when the agent has done all its work.</param>
/// <param name="deprovision">What its documentation says to run before a machine becomes an image.</param>
public abstract partial class ProvisioningTests(
    ITestOutputHelper output, string agent, string unit, Regex? looking, string done, string deprovision) : AzureTest(output)
{
    /// <summary>
    /// Generation 1: a password, an infinite lease without the wire server's address in it, a data disk before the OS disk, extensions;
    /// then a second boot without a DVD.
    /// </summary>
    /// <param name="vhd">The image.</param>
    /// <param name="logs">Where the serial log stays.</param>
    /// <param name="trace">A path that must be there, of what the image does besides; or null.</param>
    protected async Task SetsPasswordRunsExtensionsAndBootsAgainAsync(string vhd, string logs, string? trace = null)
    {
        const string password = "Correct-horse 7 'battery' \"staple\"";
        List<string> secrets = [password.Split('\'')[0]];
        var hostKeys = "";
        ExtensionStatuses? extensions = null;
        var report = await BootAsync(new MachineTestOptions(vhd, 1)
        {
            LogDirectory = logs,
            Timeout = Limit,
            HostName = "first-machine",
            UserName = "ada",
            Password = password,
            DisableSshPasswordAuthentication = false,
            DataDisksMiB = [64, ResourceDiskMiB],
            Extensions = [ExtensionHandler.Python, ExtensionHandler.Shell],
            Network = new VirtualNetworkOptions { LeaseSeconds = uint.MaxValue, OfferWireServerAddress = false },
            WhileUp = WorkAsync,
        });
        Assert.True(report.Passed, report.Error);
        Assert.Empty(report.Violations);
        Assert.StartsWith(agent + "/", report.HealthReports.First(health => health.State == "Ready").Agent, StringComparison.Ordinal);
        var guest = report.Guest!;
        Assert.Equal("first-machine", guest.HostName);
        Assert.Equal("ada", guest.UserName);
        Assert.False(guest.FloppyLoaded);
        Assert.Equal(report.ReportedHostKey is null ? null : report.SeenHostKey, report.ReportedHostKey);

        // What sshd has shown is what it will show after a reboot.
        Assert.Contains($" {report.SeenHostKey} ", hostKeys, StringComparison.Ordinal);
        Assert.Empty(guest.FailedUnits);
        Assert.Empty(guest.Swaps);
        Assert.Equal(
            ["python 3 was told again", "shell was told canary"],
            extensions!.All.Select(extension => extension.Message).Order(StringComparer.Ordinal));

        // Neither the password nor the private key is in what is kept, shown or reported.
        Assert.Equal(2, secrets.Count);
        var kept = Directory.EnumerateFiles(logs, "gen1.*").Select(File.ReadAllText).Append(Shown).Append(JsonSerializer.Serialize(report));
        Assert.All(kept, text => Assert.All(secrets, secret => Assert.DoesNotContain(secret, text, StringComparison.Ordinal)));

        async Task WorkAsync(MachineSession session, CancellationToken cancellationToken)
        {
            extensions = session.Extensions;

            // A line from the middle of the file: the first ones are the same in every key.
            secrets.Add(Encoding.ASCII.GetString(session.Key.ToOpenSshFile()).Split('\n')[^3]);
            Assert.True(
                await session.TakesPasswordAsync("ada", password, cancellationToken), "sshd refused the password that the platform set.");
            Assert.False(await session.TakesPasswordAsync("ada", "wrong", cancellationToken), "sshd took a wrong password.");
            hostKeys = await RootAsync(session, "cat /etc/ssh/ssh_host_*_key.pub | ssh-keygen -l -f -", cancellationToken);
            await RootAsync(session, $"test -e {trace ?? "/"}", cancellationToken);
            await HasAddressAsync(session, "forever", cancellationToken);
            await NeedsPythonAsync(session, cancellationToken);

            // What grub-mkconfig makes later in the machine is what the machine was started with; but for `rw`, which Arch's
            // grub-mkconfig writes and that of the stand-in's Debian does not.
            var running = Words((await RootAsync(session, "cat /proc/cmdline", cancellationToken)).Trim());
            var configuration = await RootAsync(session, "grub-mkconfig 2> /dev/null | grep '^[[:space:]]*linux'", cancellationToken);
            Assert.Equal(running, Words(LinuxLine().Match(configuration).Groups[1].Value));

            await RootAsync(session, done, cancellationToken);
            await LeavesASlaveAloneAsync(session, cancellationToken);
            if (agent == "WALinuxAgent")
            {
                await UsesTheResourceDiskAsync(session, cancellationToken);
            }

            // The kernel looks at disks side by side, so their names may change from boot to boot.
            await session.RemoveDvdAsync(cancellationToken);
            var mounts = await RootAsync(session, Mounts, cancellationToken);
            await session.RebootAsync(cancellationToken);
            Assert.Equal(mounts, await RootAsync(session, Mounts, cancellationToken));
            Assert.Equal("", await RootAsync(session, "systemctl list-units --failed --no-legend --plain", cancellationToken));
            Assert.Equal("first-machine", (await RootAsync(session, "hostname", cancellationToken)).Trim());
            await HasAddressAsync(session, "forever", cancellationToken);
        }
    }

    /// <summary>
    /// Generation 2: the DVD's drive appears after the agent began to look for it, passwords are refused, a lease of 136 years,
    /// a disk larger than the image and after a data disk, and maybe a path that forgets idle flows; then it may be deprovisioned and
    /// become another machine.
    /// </summary>
    /// <param name="vhd">The image.</param>
    /// <param name="logs">Where the serial log stays.</param>
    /// <param name="idle">After how long the path forgets a flow; null for never.</param>
    /// <param name="thenAnother">Whether it becomes another machine in the end.</param>
    /// <param name="onNvme">Whether its disks are on NVMe; the image then takes QEMU's for Azure's.</param>
    /// <param name="thenAnotherName">Whether the OS disk then gets another name.</param>
    protected async Task FindsLateDvdRefusesPasswordsAndStaysReachableAsync(
        string vhd, string logs, TimeSpan? idle, bool thenAnother = false, bool onNvme = false, bool thenAnotherName = false)
    {
        const uint years136 = uint.MaxValue - 1;
        var size = (int)((new FileInfo(vhd).Length >> 20) + 2048);
        var options = new MachineTestOptions(vhd, 2)
        {
            DiskController = onNvme ? DiskController.NVMe : DiskController.SCSI,
            LogDirectory = logs,
            Timeout = Limit,
            HostName = "second-machine",
            DvdDelay = TimeSpan.FromSeconds(looking is null ? 40 : 8),
            DvdDelayFrom = looking,
            DiskSizeMiB = size,
            DataDisksMiB = [1, 1, 1, ResourceDiskMiB],
            Extensions = [ExtensionHandler.Python, ExtensionHandler.Shell],
            Network = new VirtualNetworkOptions { LeaseSeconds = years136, ForgetIdleFlowsAfter = idle },
            WhileUp = WorkAsync,
        };
        var report = await BootAsync(options);
        Assert.True(report.Passed, report.Error);
        Assert.Empty(report.Violations);
        Assert.StartsWith(agent + "/", report.HealthReports.First(health => health.State == "Ready").Agent, StringComparison.Ordinal);
        var guest = report.Guest!;
        Assert.Equal("second-machine", guest.HostName);
        RunsFromOneDisk(guest);
        Assert.True(guest.PasswordlessSudo);
        Assert.False(guest.FloppyLoaded);
        Assert.Equal("x86_64", guest.Architecture);
        Assert.StartsWith("OpenSSL 3.", guest.OpenSslVersion, StringComparison.Ordinal);
        Assert.StartsWith("Python 3.", guest.PythonVersion, StringComparison.Ordinal);
        Assert.Empty(guest.FailedUnits);
        Assert.Equal((long)size << 20, guest.DiskBytes);
        Assert.InRange(guest.RootPartitionBytes, guest.DiskBytes - (303L << 20), guest.DiskBytes);
        Assert.InRange(guest.RootBytes, guest.RootPartitionBytes * 9 / 10, guest.RootPartitionBytes);

        async Task WorkAsync(MachineSession session, CancellationToken cancellationToken)
        {
            Assert.Equal(
                ["python 3 was told canary", "shell was told canary"],
                session.Extensions.All.Select(extension => extension.Message).Order(StringComparer.Ordinal));

            // Bug 1: the wait before the agent took the time that the drive was late by.
            var times = await RootAsync(
                session, $"systemctl show {unit} --property=InactiveExitTimestampMonotonic,ExecMainStartTimestampMonotonic --value",
                cancellationToken);
            var microseconds = times.Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(number => long.Parse(number, CultureInfo.InvariantCulture)).Order().ToArray();
            Assert.InRange(microseconds[1] - microseconds[0], 3_000_000, 119_000_000);

            // The partition table grew with the disk.
            var table = await RootAsync(
                session, "sfdisk --verify /dev/$(lsblk --noheadings --raw --output PKNAME $(findmnt --noheadings --output SOURCE /)) 2>&1",
                cancellationToken);
            Assert.Contains("No errors detected", table, StringComparison.Ordinal);
            Assert.DoesNotContain("not on the end", table, StringComparison.Ordinal);

            await RootAsync(session, done, cancellationToken);
            if (onNvme)
            {
                await FindsDisksOnNvmeAsync(session, cancellationToken);
            }

            if (agent == "Cloud-Init" && onNvme)
            {
                await HasTheResourceDiskAsync(session, cancellationToken);
            }

            await (idle is { } time ? SurvivesIdlenessAsync(session, time, MeanwhileAsync, cancellationToken) : MeanwhileAsync());
            if (thenAnother)
            {
                await BecomesAnotherAsync(session, cancellationToken);
            }

            if (thenAnotherName)
            {
                await SurvivesAnotherNameAsync(session, cancellationToken);
            }

            async Task MeanwhileAsync()
            {
                await RefusesPasswordsAsync(session, cancellationToken);
                await HasAddressAsync(session, "[0-9]{10}sec", cancellationToken);
            }
        }
    }

    /// <summary>
    /// The power goes on the first boot, after the agent has reported Ready and while pacman's keyring is made, on a machine that writes
    /// to its disk only what it has to: the next boot has all that was provisioned, and makes the rest.
    /// </summary>
    /// <param name="logs">Where the serial log stays.</param>
    protected async Task SurvivesAPowerCutAsync(string logs)
    {
        const string dropIns = "/etc/systemd/system/pacman-keyring.service.d";
        using var folder = new TempFolder();
        var late = folder.Write("late.conf", "vm.dirty_writeback_centisecs = 0\nvm.dirty_expire_centisecs = 1000000\n");
        var held = folder.Write("held.conf", "[Service]\nExecStartPre=/usr/bin/bash -c 'until [[ -e /run/go ]]; do sleep 1; done'\n");
        var vhd = await TestImage.WithoutAsync(
            folder, $"write {late} /etc/sysctl.d/99-late.conf", $"mkdir {dropIns}", $"write {held} {dropIns}/held.conf");
        var report = await BootAsync(new MachineTestOptions(vhd, 2)
        {
            LogDirectory = logs,
            Timeout = Limit,
            DiskSizeMiB = (int)((new FileInfo(vhd).Length >> 20) + 2048),
            WhileUp = WorkAsync,
        });
        Assert.True(report.Passed, report.Error);

        async Task WorkAsync(MachineSession session, CancellationToken cancellationToken)
        {
            const string size = "findmnt --noheadings --raw --bytes --output SIZE /";
            const string gnupg = "/etc/pacman.d/gnupg";
            var before = await RootAsync(session, size, cancellationToken);
            const string hostKeys = "for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -l -f $key; done";
            var keysBefore = await RootAsync(session, hostKeys, cancellationToken);

            // The names of files go to the disk after five seconds, whatever becomes of what is in them.
            await Task.Delay(TimeSpan.FromSeconds(6), cancellationToken);
            await RootAsync(session, "touch /run/go; until pgrep --full '^gpg .*--gen-key'; do sleep 0.2; done", cancellationToken);
            await session.Machine.Monitor.ExecuteAsync("system_reset", null, cancellationToken);

            await session.Ssh.ConnectAsync(cancellationToken);
            Assert.Equal(keysBefore, await RootAsync(session, hostKeys, cancellationToken));
            Assert.Equal(before, await RootAsync(session, size, cancellationToken));
            await RootAsync(session, "touch /run/go; systemctl start pacman-keyring.service", cancellationToken);
            var keys = await RootAsync(session, $"gpg --homedir {gnupg} --with-colons --list-keys", cancellationToken);
            Assert.Equal(
                ["pub:f", "pub:u"],
                keys.Split('\n').Where(line => line.StartsWith("pub:", StringComparison.Ordinal)).Select(line => line[..5])
                    .Order(StringComparer.Ordinal));
            Assert.Equal($"{gnupg}\n", await RootAsync(session, $"ls -d {gnupg}*", cancellationToken));
            Assert.Equal(
                "active\n",
                await RootAsync(
                    session, $"test -S {gnupg}/S.gpg-agent && systemctl is-active gpg-agent@etc-pacman.d-gnupg.socket", cancellationToken));
            Assert.Equal("", await RootAsync(session, "systemctl list-units --failed --no-legend --plain", cancellationToken));
        }
    }

    /// <summary>Bug 5: extensions that ask for <c>python</c> find it; where it is missing the platform is told of their failure.</summary>
    private static async Task NeedsPythonAsync(MachineSession session, CancellationToken cancellationToken)
    {
        // The agent itself runs on.
        Assert.Equal(0, (await session.SudoAsync("mv /usr/bin/python /usr/bin/python.away", cancellationToken)).ExitCode);
        var without = await EnableAsync("without", 1);
        Assert.Equal(0, (await session.SudoAsync("mv /usr/bin/python.away /usr/bin/python", cancellationToken)).ExitCode);
        Assert.Equal("NotReady", without.HandlerStatus);
        Assert.Contains("python", without.Message, StringComparison.Ordinal);
        Assert.Equal("python 3 was told again", (await EnableAsync("again", 2)).Message);

        async Task<ExtensionStatus> EnableAsync(string word, int number)
        {
            ExtensionStatus? status = null;
            session.Publish(ExtensionHandler.Python with { Word = word, SequenceNumber = number }, ExtensionHandler.Shell);
            await session.Platform.WaitForAsync(
                _ => (status = session.Extensions.All.FirstOrDefault(
                        s => s.Name == ExtensionHandler.Python.Name
                            && (s.HandlerStatus == "NotReady" || s.SequenceNumber == number))) is not null
                    && (status.HandlerStatus == "NotReady") == (number == 1), cancellationToken);
            return status!;
        }
    }

    /// <summary>
    /// Everything of fstab was found on the OS disk, whatever its name. The kernel looks at disks side by side, so the names are a matter
    /// of chance; with four disks before it, the OS disk hardly ever gets the first.
    /// </summary>
    private static void RunsFromOneDisk(GuestFacts guest)
    {
        var root = RootOfOsDisk().Match(guest.RootMount);
        Assert.True(root.Success, guest.RootMount);
        Assert.Contains(guest.Mounts, mount => Regex.IsMatch(mount, $"^/efi +{root.Groups[1].Value}2 +vfat$"));
    }

    /// <summary>Bug 3: the platform said no passwords, and the agent's own support for Arch would not care.</summary>
    private async Task RefusesPasswordsAsync(MachineSession session, CancellationToken cancellationToken)
    {
        const string password = "a password set later";
        await RootAsync(session, $"echo 'azureuser:{password}' | chpasswd", cancellationToken);
        Assert.False(
            await session.TakesPasswordAsync("azureuser", password, cancellationToken),
            "sshd took a password although DisableSshPasswordAuthentication is true.");

        // The same attempt without the fix.
        await RootAsync(
            session, "mkdir /root/sshd && mv /etc/ssh/sshd_config.d/[59]0-*.conf /root/sshd && systemctl restart sshd", cancellationToken);
        using (var login = session.WithPassword("azureuser", password))
        {
            // Else they would be refused by something else than what this test is about.
            await login.ConnectAsync(cancellationToken).WaitAsync(Limit, cancellationToken);
        }

        // reset-failed: systemd counts the starts of the last ten seconds, the agent's and this test's together.
        await RootAsync(
            session,
            "mv /root/sshd/* /etc/ssh/sshd_config.d && systemctl reset-failed sshd && systemctl restart sshd",
            cancellationToken);
    }

    /// <summary>Bug 4: address and routes are there, also after the lease was renewed.</summary>
    private async Task HasAddressAsync(MachineSession session, string lifetime, CancellationToken cancellationToken)
    {
        var renewed = new TaskCompletionSource();
        session.Network.AddressAssigned += OnRenewed;
        await RootAsync(session, "networkctl renew eth0", cancellationToken);
        await renewed.Task.WaitAsync(Limit, cancellationToken);
        session.Network.AddressAssigned -= OnRenewed;

        var addresses = await RootAsync(session, "ip -4 address show dev eth0", cancellationToken);
        Assert.Contains("inet 10.0.0.4/24", addresses, StringComparison.Ordinal);
        Assert.Matches("valid_lft " + lifetime, addresses);
        var routes = await RootAsync(session, "ip -4 route show", cancellationToken);
        Assert.All(
            ["default", "168.63.129.16", "169.254.169.254"],
            to => Assert.Contains($"{to} via 10.0.0.1 dev eth0", routes, StringComparison.Ordinal));

        void OnRenewed() => renewed.TrySetResult();
    }

    /// <summary>
    /// Bug 2: what the image keeps alive on Azure's path, both shortened alike, lives; without keepalives it dies. Other work may go on
    /// meanwhile.
    /// </summary>
    private async Task SurvivesIdlenessAsync(
        MachineSession session, TimeSpan idle, Func<Task> meanwhile, CancellationToken cancellationToken)
    {
        const int azureSeconds = 240;
        var sshd = await RootAsync(session, "sshd -T | grep -i ^clientalive", cancellationToken);
        var interval = int.Parse(ClientAliveInterval().Match(sshd).Groups[1].ValueSpan, CultureInfo.InvariantCulture);
        var scale = idle.TotalSeconds / azureSeconds;
        foreach (var name in (string[])["tcp_keepalive_time", "tcp_keepalive_intvl"])
        {
            var seconds = int.Parse(
                await RootAsync(session, "cat /proc/sys/net/ipv4/" + name, cancellationToken), CultureInfo.InvariantCulture);
            await RootAsync(
                session, string.Create(CultureInfo.InvariantCulture, $"echo {seconds * scale:0} > /proc/sys/net/ipv4/{name}"),
                cancellationToken);
        }

        using var folder = new TempFolder();
        using var bySshd = await ConnectAsync(
            string.Create(CultureInfo.InvariantCulture, $"ClientAliveInterval {interval * scale:0}\\nTCPKeepAlive no"));
        using var byKernel = await ConnectAsync("ClientAliveInterval 0\\nTCPKeepAlive yes");
        using var byNothing = await ConnectAsync("ClientAliveInterval 0\\nTCPKeepAlive no");
        await RootAsync(session, "rm /etc/ssh/sshd_config.d/05-test.conf && systemctl restart sshd", cancellationToken);
        await Task.WhenAll(Task.Delay(idle * 2, cancellationToken), meanwhile());
        Assert.True(await bySshd.AnswersAsync(cancellationToken), "The session that sshd keeps alive was forgotten by the path.");
        Assert.True(await byKernel.AnswersAsync(cancellationToken), "The session that the kernel keeps alive was forgotten by the path.");
        Assert.False(await byNothing.AnswersAsync(cancellationToken), "The path forgets nothing, so this test proves nothing.");

        async Task<OpenSshSession> ConnectAsync(string configuration)
        {
            await RootAsync(
                session, $"printf '{configuration}\\n' > /etc/ssh/sshd_config.d/05-test.conf && systemctl restart sshd", cancellationToken);
            return await OpenSshSession.ConnectAsync(folder, session, "azureuser", cancellationToken);
        }
    }

    /// <summary>A machine that is deprovisioned and started with another DVD is a new one, and keeps nothing of the old.</summary>
    private async Task BecomesAnotherAsync(MachineSession session, CancellationToken cancellationToken)
    {
        const string identity = "cat /etc/machine-id; ls /etc/pacman.d/gnupg/canary; ls -d /home/*; grep -h ^PasswordAuthentication "
            + "/etc/ssh/sshd_config.d/50-*.conf; "
            + "readlink /etc/resolv.conf; systemctl list-units --failed --no-legend --plain; true";
        await RootAsync(session, "systemctl start pacman-keyring.service && touch /etc/pacman.d/gnupg/canary", cancellationToken);

        // In QEMU, unlike on Hyper-V, systemd makes the machine id from the firmware's, which stays: the image's record of the last
        // boot is made that of another machine instead.
        await RootAsync(
            session, "grep -qxf /etc/machine-id /var/lib/archazure/machine-id && echo 0123456789abcdef0123456789abcdef > "
                + "/var/lib/archazure/machine-id", cancellationToken);
        var before = (await RootAsync(session, identity, cancellationToken)).Split('\n');
        var hostKey = session.Ssh.HostKeyFingerprint;

        var next = new OvfEnvironment(
            "another-machine", "grace") { UserPassword = "Another 1 password", DisableSshPasswordAuthentication = false };
        var other = await session.ReprovisionAsync(deprovision + " && [ ! -s /etc/machine-id ]", next, cancellationToken);
        using var ssh = other.Ssh;
        await RootAsync(other, done, cancellationToken);
        var after = (await RootAsync(other, identity, cancellationToken)).Split('\n');
        Assert.Matches("^[0-9a-f]{32}$", after[0]);
        Assert.Equal(
            [before[0], "/etc/pacman.d/gnupg/canary", "/home/azureuser", "PasswordAuthentication no",
                "../run/systemd/resolve/stub-resolv.conf", ""], before);
        Assert.Equal([after[0], "/home/grace", "PasswordAuthentication yes", "../run/systemd/resolve/stub-resolv.conf", ""], after);

        Assert.Equal("another-machine", (await RootAsync(other, "hostname", cancellationToken)).Trim());
        Assert.NotEqual(hostKey, ssh.HostKeyFingerprint);
        Assert.NotEqual(0, (await other.SudoAsync("getent passwd azureuser", cancellationToken)).ExitCode);
    }

    // Mounts of disks as fstab has them.
    private const string Mounts = "findmnt --fstab --evaluate --noheadings --raw --output TARGET,UUID,FSTYPE && findmnt --real "
        + "--noheadings --raw --output TARGET,UUID,FSTYPE";

    private static string[] Words(string commandLine) =>
        [.. commandLine.Split(' ', StringSplitOptions.RemoveEmptyEntries)
            .Where(word => word is not ("ro" or "rw") && !word.StartsWith("BOOT_IMAGE=", StringComparison.Ordinal))];

    [GeneratedRegex("^clientaliveinterval ([0-9]+)$", RegexOptions.Multiline | RegexOptions.IgnoreCase, 5000)]
    private static partial Regex ClientAliveInterval();

    [GeneratedRegex(@"^\s*linux\s+\S+ (.*)$", RegexOptions.Multiline, 5000)]
    private static partial Regex LinuxLine();
}
