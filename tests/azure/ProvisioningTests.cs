using System.Text.RegularExpressions;
using ArchAzure.SimulatedAzure;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>The old bugs, each with the machine on which it showed.</summary>
public sealed partial class ProvisioningTests(ITestOutputHelper output) : AzureTest(output)
{
    /// <summary>
    /// Generation 1: a password although python has no <c>crypt</c>, an infinite lease without the wire server's address in it,
    /// a data disk, extensions; then a second boot without a DVD.
    /// </summary>
    [Fact]
    [Trait("Speed", "slow")]
    public async Task Password_extensions_and_a_second_boot()
    {
        const string password = "Correct-horse 7 'battery' \"staple\"";
        using var folder = new TempFolder();
        var vhd = await TestImage.WithoutAsync(folder, [.. await CryptOfPythonAsync()]);
        var report = await BootAsync(new BootTestOptions(vhd, 1)
        {
            LogDirectory = Logs(),
            Timeout = Limit,
            HostName = "first-machine",
            UserName = "ada",
            Password = password,
            DisableSshPasswordAuthentication = false,
            DataDisksMiB = [64],
            Extensions = [Handlers.Python, Handlers.Shell],
            Network = new VirtualNetworkOptions { LeaseSeconds = uint.MaxValue, OfferWireServerAddress = false },
            WhileUp = WorkAsync,
        });
        Assert.True(report.Passed, report.Error);
        Assert.Empty(report.Violations);
        var guest = report.Guest!;
        Assert.Equal("first-machine", guest.HostName);
        Assert.Equal("ada", guest.UserName);
        Assert.Equal(report.ReportedHostKey is null ? null : report.SeenHostKey, report.ReportedHostKey);
        Assert.Empty(guest.FailedUnits);
        Assert.Empty(guest.Swaps);
        Assert.Equal(["python 3 was told canary", "shell was told canary"], report.Extensions.Select(extension => extension.Message).Order(StringComparer.Ordinal));

        async Task WorkAsync(BootSession session, CancellationToken cancellationToken)
        {
            using (var login = SshProbe.WithPassword(session.SshPort, "ada", password))
            {
                Assert.True(await login.TryLogInAsync(cancellationToken), "sshd refused the password that the platform set.");
            }

            using (var login = SshProbe.WithPassword(session.SshPort, "ada", "wrong"))
            {
                Assert.False(await login.TryLogInAsync(cancellationToken), "sshd took a wrong password.");
            }

            // Without the layer's own there would be no crypt here, and the agent could set no password.
            Assert.NotEqual(0, (await session.SudoAsync("python3 -c 'import crypt'", cancellationToken)).ExitCode);

            await HasAddressAsync(session, "forever", cancellationToken);

            // What grub-mkconfig makes later in the machine is what the machine was started with; but for `rw`, which Arch's
            // grub-mkconfig writes and that of the stand-in's Debian does not.
            var running = Words((await RootAsync(session, "cat /proc/cmdline", cancellationToken)).Trim());
            var configuration = await RootAsync(session, "grub-mkconfig 2> /dev/null | grep '^[[:space:]]*linux'", cancellationToken);
            Assert.Equal(running, Words(LinuxLine().Match(configuration).Groups[1].Value));

            await session.Machine.RemoveDvdAsync(cancellationToken);
            var mounts = await RootAsync(session, Mounts, cancellationToken);
            await session.RebootAsync(cancellationToken);
            Assert.Equal(mounts, await RootAsync(session, Mounts, cancellationToken));
            Assert.Equal("", await RootAsync(session, "systemctl list-units --failed --no-legend --plain", cancellationToken));
            Assert.Equal("first-machine", (await RootAsync(session, "hostname", cancellationToken)).Trim());
            await HasAddressAsync(session, "forever", cancellationToken);
        }
    }

    /// <summary>Bug 4: address and routes are there, also after the lease was renewed.</summary>
    private async Task HasAddressAsync(BootSession session, string lifetime, CancellationToken cancellationToken)
    {
        var renewed = new TaskCompletionSource();
        session.Network.AddressAssigned += OnRenewed;
        await RootAsync(session, "networkctl renew eth0", cancellationToken);
        await renewed.Task.WaitAsync(TimeSpan.FromMinutes(1), cancellationToken);
        session.Network.AddressAssigned -= OnRenewed;

        var addresses = await RootAsync(session, "ip -4 address show dev eth0", cancellationToken);
        Assert.Contains("inet 10.0.0.4/24", addresses, StringComparison.Ordinal);
        Assert.Matches("valid_lft " + lifetime, addresses);
        var routes = await RootAsync(session, "ip -4 route show", cancellationToken);
        Assert.All(["default", "168.63.129.16", "169.254.169.254"], to => Assert.Contains($"{to} via 10.0.0.1 dev eth0", routes, StringComparison.Ordinal));

        void OnRenewed(object? sender, EventArgs e) => renewed.TrySetResult();
    }

    // Mounts of disks as fstab has them.
    private const string Mounts = "findmnt --fstab --evaluate --noheadings --raw --output TARGET,SOURCE,FSTYPE && findmnt --real --noheadings --raw --output TARGET,SOURCE,FSTYPE";

    /// <summary>Commands that take `crypt` out of the image's python; 3.13 and later have none.</summary>
    private static async Task<IReadOnlyList<string>> CryptOfPythonAsync()
    {
        var listing = await Tool.RunAsync("tar", "--zstd", "--list", "--file", TestImage.Directory.Snapshot(4));
        return [.. listing.Split('\n').Where(path => PythonsCrypt().IsMatch(path)).Select(path => "rm /" + path.TrimStart('.', '/'))];
    }

    private static string[] Words(string commandLine) => [.. commandLine.Split(' ', StringSplitOptions.RemoveEmptyEntries).Where(word => word is not ("ro" or "rw") && !word.StartsWith("BOOT_IMAGE=", StringComparison.Ordinal))];

    [GeneratedRegex(@"^\s*linux\s+\S+ (.*)$", RegexOptions.Multiline, 5000)]
    private static partial Regex LinuxLine();

    [GeneratedRegex(@"/lib/python3\.\d+/(crypt\.py|lib-dynload/_crypt\..*\.so)$", RegexOptions.None, 5000)]
    private static partial Regex PythonsCrypt();
}
