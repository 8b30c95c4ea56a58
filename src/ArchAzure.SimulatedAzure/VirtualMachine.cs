using System.Globalization;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using ArchAzure.IO;

namespace ArchAzure.SimulatedAzure;

/// <summary>Which machine to start.</summary>
/// <param name="VhdPath">The fixed VHD of the OS disk; it is only read.</param>
/// <param name="Generation">1 or 2.</param>
internal sealed record VirtualMachineOptions(string VhdPath, int Generation)
{
    /// <summary>Where its disks are: for generation 1 IDE only, for generation 2 the others.</summary>
    public DiskController DiskController { get; init; } = DiskControllers.Of(Generation);

    /// <summary>The size the OS disk is to appear with, in MiB; null for the VHD's own. Not less than that.</summary>
    public int? DiskSizeMiB { get; init; }

    /// <summary>The provisioning DVD's image, or null for none at the start.</summary>
    public byte[]? Dvd { get; init; }

    /// <summary>Sizes of further, empty disks in MiB.</summary>
    public IReadOnlyList<int> DataDisksMiB { get; init; } = [];

    /// <summary>
    /// True to put the data disks (of generation 1 the first of them) before the OS disk on its own controller: the kernel then
    /// finds them first, and /dev/sda is not the OS disk. The firmware starts the OS disk all the same.
    /// </summary>
    public bool DataDisksFirst { get; init; }

    /// <summary>Processors. Without KVM two bring a machine to its login prompt in half the time of one.</summary>
    public int Processors { get; init; } = 2;

    /// <summary>The machine's id in its firmware tables.</summary>
    public Guid VmId { get; init; }

    /// <summary>A file for all that the first serial port says.</summary>
    public required string SerialLogPath { get; init; }
}

/// <summary>
/// A QEMU machine that stands for one on Azure. The VHD is read through an overlay which goes with the machine; when
/// this object is disposed of, or this process ends in any way, nothing of it is left but the serial log.
/// </summary>
internal sealed class VirtualMachine : IAsyncDisposable
{
    private static readonly TimeSpan s_startLimit = TimeSpan.FromSeconds(30);

    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _carrying = [];
    private IQemuProcess? _process;
    private QmpClient? _monitor;

    private VirtualMachine(IQemuHost host, VirtualMachineOptions options)
    {
        Host = host;
        Options = options;
    }

    public VirtualMachineOptions Options { get; }

    public IQemuHost Host { get; }

    /// <summary>What the machine says on its first serial port.</summary>
    public SerialConsole Console { get; } = new();

    /// <summary>Ends with QEMU's exit code.</summary>
    public Task<int> Exited => _process!.Exited;

    /// <summary>QEMU's own error output.</summary>
    public string ErrorOutput => _process?.ErrorOutput ?? "";

    public QmpClient Monitor => _monitor!;

    /// <summary>Starts a machine.</summary>
    /// <exception cref="ArchAzureException">No QEMU, no firmware, or QEMU ended with an error.</exception>
    public static async Task<VirtualMachine> StartAsync(
        VirtualMachineOptions options, VirtualNetwork network, IQemuLauncher launcher, IReporter reporter,
        CancellationToken cancellationToken)
    {
        var tools = await launcher.FindToolsAsync(cancellationToken);
        var machine = new VirtualMachine(await launcher.PrepareAsync(Path.GetFullPath(options.VhdPath), cancellationToken), options);
        try
        {
            await machine.StartAsync(tools, network, reporter, cancellationToken);
            return machine;
        }
        catch
        {
            await machine.DisposeAsync();
            throw;
        }
    }

    /// <summary>Writes what the screen shows as a PNG.</summary>
    public async Task SaveScreenAsync(string path, CancellationToken cancellationToken)
    {
        // Written inside the run's directory first: QEMU may run in a container that sees nothing else.
        var picture = Path.Combine(Host.RunDirectory.FullName, "screen.png");
        await Monitor.ExecuteAsync(
            "screendump", new JsonObject { ["filename"] = Host.MapPath(picture), ["format"] = "png" }, cancellationToken);
        await using (var from = File.OpenRead(picture))
        await using (var to = NewFile.Create(path))
        {
            await from.CopyToAsync(to, cancellationToken);
        }

        File.Delete(picture);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_process is not null)
        {
            if (_monitor is not null && !_process.Exited.IsCompleted)
            {
                await QuitAsync();
            }

            await _process.DisposeAsync();
        }

        await _stop.CancelAsync();
        await Task.WhenAll(_carrying);
        if (_monitor is not null)
        {
            await _monitor.DisposeAsync();
        }

        _stop.Dispose();
        await Host.DisposeAsync();
    }

    private async Task QuitAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5));
        try
        {
            await _monitor!.ExecuteAsync("quit", null, limit.Token);
            await Exited.WaitAsync(limit.Token);
        }
        catch (Exception e) when (e is ArchAzureException or OperationCanceledException)
        {
            // Then it is killed.
        }
    }

    private async Task StartAsync(QemuTools tools, VirtualNetwork network, IReporter reporter, CancellationToken cancellationToken)
    {
        string Local(string name) => Path.Combine(Host.RunDirectory.FullName, name);
        using var monitorSocket = Listen(Local("monitor"));
        using var networkSocket = Listen(Local("network"));
        using var serialSocket = Listen(Local("serial"));

        var overlay = Local("os.qcow2");
        List<string> create =
        [
            "create", "-q", "-f", "qcow2", "-F", "vpc", "-b", Host.MapPath(Path.GetFullPath(Options.VhdPath)), Host.MapPath(overlay),
        ];
        if (Options.DiskSizeMiB is { } size)
        {
            create.Add(string.Create(CultureInfo.InvariantCulture, $"{size}M"));
        }

        if (await RunImageToolAsync(tools, create, reporter, cancellationToken) is { } failure)
        {
            throw new ArchAzureException("OverlayFailed", ErrorKind.CommandFailed,
                $"qemu-img could not lay an overlay over {Options.VhdPath}: {failure}. It must be a VHD that can be read.",
                Options.VhdPath);
        }

        var firmware = tools.Firmware;
        if (Options.Generation == 2 && firmware is not null)
        {
            // By qemu-img, since the template may lie where only QEMU's side sees it.
            var variables = Host.MapPath(Local("variables.fd"));
            if (await RunImageToolAsync(
                tools, ["convert", "-f", "raw", "-O", "raw", firmware.Variables, variables], reporter, cancellationToken) is { } reason)
            {
                throw new ArchAzureException("FirmwareNotReadable", ErrorKind.CommandFailed,
                    $"The UEFI firmware's variable store {firmware.Variables} could not be copied: {reason}", firmware.Variables);
            }

            firmware = firmware with { Variables = variables };
        }

        var dataDisks = new List<string>();
        foreach (var mebibytes in Options.DataDisksMiB)
        {
            var path = Local($"data{dataDisks.Count}.raw");
            await using (var file = File.Create(path))
            {
                file.SetLength(mebibytes * 1024L * 1024);
            }

            dataDisks.Add(Host.MapPath(path));
        }

        var arguments = QemuCommandLine.Build(new QemuMachine(
            Options, Host.MapPath(overlay), Host.MapPath(Local("monitor")), Host.MapPath(Local("network")), Host.MapPath(Local("serial")))
        {
            UseKvm = tools.KvmUsable,
            Firmware = firmware,
            Dvd = Options.Dvd is { } dvd ? WriteDvd(dvd) : null,
            DataDisks = dataDisks,
        });
        reporter.Verbose($"{tools.System} {string.Join(' ', arguments)}");
        _process = Host.Start(tools.System, arguments);

        using var starting = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        starting.CancelAfter(s_startLimit);
        var connected = ConnectAsync(monitorSocket, networkSocket, serialSocket, network, starting.Token);
        if (await Task.WhenAny(connected, Exited) != connected)
        {
            await starting.CancelAsync();
            await connected.ContinueWith(
                _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            throw new ArchAzureException("QemuFailed", ErrorKind.CommandFailed,
                $"QEMU ended at once with exit code {await Exited}: {ErrorOutput.Trim()}", tools.System);
        }

        try
        {
            await connected;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new ArchAzureException("QemuFailed", ErrorKind.CommandFailed,
                $"QEMU did not open its connections within {s_startLimit.TotalSeconds:0} s. {ErrorOutput.Trim()}", tools.System);
        }

        // QEMU holds all of them open by now. Without names they are gone when it ends, even if we are killed first.
        foreach (var file in Host.RunDirectory.EnumerateFiles())
        {
            file.Delete();
        }
    }

    private async Task<string?> RunImageToolAsync(
        QemuTools tools, IReadOnlyList<string> arguments, IReporter reporter, CancellationToken cancellationToken)
    {
        reporter.Verbose($"{tools.Image} {string.Join(' ', arguments)}");
        var (code, output) = await Host.RunAsync(tools.Image, arguments, cancellationToken);
        return code == 0 ? null : output.Trim();
    }

    private string WriteDvd(byte[] image)
    {
        var path = Path.Combine(Host.RunDirectory.FullName, "provisioning.iso");
        File.WriteAllBytes(path, image);
        return Host.MapPath(path);
    }

    private async Task ConnectAsync(
        Socket monitor, Socket network, Socket serial, VirtualNetwork virtualNetwork, CancellationToken cancellationToken)
    {
        // QEMU connects each when it parses that option and waits for none of them, so the order does not matter.
        var accepted = await Task.WhenAll(
            monitor.AcceptAsync(cancellationToken).AsTask(), network.AcceptAsync(cancellationToken).AsTask(),
            serial.AcceptAsync(cancellationToken).AsTask());
        _carrying.Add(CarryAsync(new NetworkStream(accepted[1], ownsSocket: true), virtualNetwork.RunAsync));
        _carrying.Add(CarryAsync(new NetworkStream(accepted[2], ownsSocket: true), CopySerialAsync));
        _monitor = await QmpClient.ConnectAsync(new NetworkStream(accepted[0], ownsSocket: true), cancellationToken);
        _monitor.EventReceived += name =>
        {
            if (name == "RESET")
            {
                virtualNetwork.OnGuestReset();
            }
        };
    }

    private async Task CarryAsync(NetworkStream stream, Func<Stream, CancellationToken, Task> work)
    {
        await using (stream)
        {
            await work(stream, _stop.Token);
        }
    }

    private async Task CopySerialAsync(Stream stream, CancellationToken cancellationToken)
    {
        await using var log = NewFile.Create(Options.SerialLogPath, FileShare.Read);
        await Console.ReadAsync(stream, log, cancellationToken);
    }

    private static Socket Listen(string path)
    {
        UnixDomainSocketEndPoint address;
        try
        {
            address = new UnixDomainSocketEndPoint(path);
        }
        catch (ArgumentOutOfRangeException e)
        {
            throw new ArchAzureException("TempPathTooLong", ErrorKind.InvalidInput,
                $"The path '{path}' is too long for a socket. Name a shorter folder for temporary files in TMPDIR, e.g. /tmp.", path, e);
        }

        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(address);
        socket.Listen(1);
        return socket;
    }
}
