using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using ArchAzure.SimulatedAzure;

namespace ArchAzure.AzureTests;

/// <summary>Which machine a test boots, and what it does with it.</summary>
internal sealed record MachineTestOptions(string VhdPath, int Generation) : BootTestOptions(VhdPath, Generation)
{
    public string HostName { get; init; } = "archazure-test";

    public string UserName { get; init; } = "azureuser";

    /// <summary>The first user's password, or null for a login with the key only.</summary>
    public string? Password { get; init; }

    /// <summary>True when the image must refuse passwords over ssh.</summary>
    public bool DisableSshPasswordAuthentication { get; init; } = true;

    /// <summary>How long after <see cref="DvdDelayFrom"/> the DVD is put in; null: it is there from the start.</summary>
    public TimeSpan? DvdDelay { get; init; }

    /// <summary>
    /// The line on the serial console from which <see cref="DvdDelay"/> counts; null: from when the machine was given its address.
    /// </summary>
    public Regex? DvdDelayFrom { get; init; }

    /// <summary>Sizes of further, empty disks in MiB. The kernel finds them before the OS disk, so that /dev/sda is not that.</summary>
    public IReadOnlyList<int> DataDisksMiB { get; init; } = [];

    /// <summary>Extension handlers; each must report success.</summary>
    public ExtensionHandler[] Extensions { get; init; } = [];

    /// <summary>The port on this machine of a mirror of packages that the guest finds at <see cref="MirrorAddress"/>; null: none.</summary>
    public int? MirrorPort { get; init; }

    /// <summary>Where the mirror is for the guest: https://www.rfc-editor.org/rfc/rfc5737 keeps the address for examples.</summary>
    public static IPAddress MirrorAddress { get; } = IPAddress.Parse("203.0.113.5");

    /// <summary>The virtual network's behaviour.</summary>
    public VirtualNetworkOptions Network { get; init; } = new();

    /// <summary>Further work on the machine once it is Ready and logged in to, or null. What it throws fails the test.</summary>
    public Func<MachineSession, CancellationToken, Task>? WhileUp { get; init; }
}

/// <summary>
/// A boot test of another machine than Test-AzureVhd's, with more work on it. It has one processor: two machines at once on two cores are
/// then as quick as one after the other with two, and none spins while the other one has the core.
/// </summary>
internal sealed class MachineTest(IQemuLauncher launcher, MachineTestOptions options, IReporter reporter)
    : BootTest(launcher, options, reporter)
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(100);

    private byte[] _dvd = [];

    protected override OvfEnvironment Environment => new(options.HostName, options.UserName)
    {
        UserPassword = options.Password,
        DisableSshPasswordAuthentication = options.DisableSshPasswordAuthentication,
    };

    protected override VirtualNetworkOptions Network => options.Network;

    protected override void Offer(VirtualNetwork network)
    {
        if (options.MirrorPort is { } port)
        {
            network.Listen(MachineTestOptions.MirrorAddress, 80, (stream, token) => ConnectAsync(stream, port, token));
        }
    }

    private static async Task ConnectAsync(Stream guest, int port, CancellationToken cancellationToken)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, port, cancellationToken);
        await Task.WhenAny(
            guest.CopyToAsync(client.GetStream(), cancellationToken), client.GetStream().CopyToAsync(guest, cancellationToken));
    }

    protected override VirtualMachineOptions Prepare(VirtualMachineOptions machine)
    {
        _dvd = machine.Dvd!;
        return machine with
        {
            Dvd = options.DvdDelay is null ? _dvd : null,
            DataDisksMiB = options.DataDisksMiB,
            DataDisksFirst = options.DataDisksMiB.Count > 0,
            Processors = 1,
        };
    }

    protected override async Task<Outcome> WorkAsync(BootSession session, CancellationToken cancellationToken)
    {
        var machine = new MachineSession(session, options.Password, new ExtensionStatuses(session.Platform));
        if (options.Extensions.Length > 0)
        {
            machine.Publish(options.Extensions);
        }

        if (options.DvdDelay is { } delay)
        {
            await (options.DvdDelayFrom is { } line
                ? ShownAsync(session, line, cancellationToken) : AddressAsync(session, cancellationToken));
            await Task.Delay(delay, cancellationToken);
            await machine.InsertDvdAsync(_dvd, cancellationToken);
            Reach("DvdInserted");
        }

        var outcome = await base.WorkAsync(session, cancellationToken);
        if (options.Extensions.Length > 0)
        {
            Waiting("the extensions' status");
            await session.Platform.WaitForAsync(
                _ => options.Extensions.All(
                    handler => machine.Extensions.Find(handler) is { } status && (status.IsFinal || status.IsFailure)), cancellationToken);
            Reach("Extensions");
            if (options.Extensions.Select(handler => machine.Extensions.Find(handler)!)
                .FirstOrDefault(status => status.IsFailure || status.Status == "error") is { } failed)
            {
                return outcome with { ErrorId = "ExtensionFailed", Error = $"{Name}: {failed}" };
            }
        }

        if (options.WhileUp is { } further)
        {
            Waiting("the further work on the machine");
            try
            {
                await further(machine, cancellationToken);
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                return outcome with { ErrorId = "SessionFailed", Error = $"{Name} was Ready and let us in, but then: {e.Message}" };
            }
        }

        return outcome;
    }

    private static async Task ShownAsync(BootSession session, Regex line, CancellationToken cancellationToken)
    {
        while (!session.Machine.Console.LastLines(int.MaxValue).Any(line.IsMatch))
        {
            await Task.Delay(s_pause, cancellationToken);
        }
    }

    private static async Task AddressAsync(BootSession session, CancellationToken cancellationToken)
    {
        var reached = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        session.Network.AddressAssigned += () => reached.TrySetResult();
        await reached.Task.WaitAsync(cancellationToken);
    }
}
