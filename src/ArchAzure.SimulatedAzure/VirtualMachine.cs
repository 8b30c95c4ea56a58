using System.Globalization;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using ArchAzure.IO;

namespace ArchAzure.SimulatedAzure;

/// <summary>Which machine to start.</summary>
/// <param name="VhdPath">The fixed VHD of the OS disk; it is only read.</param>
/// <param name="Generation">1 or 2.</param>
public sealed record VirtualMachineOptions(string VhdPath, int Generation)
{
    /// <summary>The size the OS disk is to appear with, in MiB; null for the VHD's own. Not less than that.</summary>
    public int? DiskSizeMiB { get; init; }

    /// <summary>The provisioning DVD's image, or null for none at the start.</summary>
    public ReadOnlyMemory<byte>? Dvd { get; init; }

    /// <summary>Sizes of further, empty disks in MiB.</summary>
    public IReadOnlyList<int> DataDisksMiB { get; init; } = [];

    /// <summary>True to put the data disks before the OS disk, so that /dev/sda is not the OS disk.</summary>
    public bool DataDisksFirst { get; init; }

    /// <summary>Memory in MiB.</summary>
    public int MemoryMiB { get; init; } = 1024;

    /// <summary>Processors.</summary>
    public int Processors { get; init; } = 2;

    /// <summary>The network interface's hardware address.</summary>
    public IReadOnlyList<byte> MacAddress { get; init; } = [0x00, 0x0D, 0x3A, 0x11, 0x22, 0x33];

    /// <summary>The machine's id.</summary>
    public Guid VmId { get; init; } = Guid.NewGuid();

    /// <summary>A file for all that the first serial port says.</summary>
    public required string SerialLogPath { get; init; }
}

/// <summary>
/// A QEMU machine that stands for one on Azure. The VHD is read through an overlay which goes with the machine; when
/// this object is disposed of, or this process ends in any way, nothing of it is left but the serial log.
/// </summary>
public sealed class VirtualMachine : IAsyncDisposable
{
    private static readonly TimeSpan s_startLimit = TimeSpan.FromSeconds(30);

    private readonly IQemuHost _host;
    private readonly VirtualMachineOptions _options;
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _carrying = [];
    private IQemuProcess? _process;
    private int _insertedDvds;
    private QmpClient? _monitor;

    private VirtualMachine(IQemuHost host, VirtualMachineOptions options)
    {
        _host = host;
        _options = options;
    }

    /// <summary>What the machine says on its first serial port.</summary>
    public SerialConsole Console { get; } = new();

    /// <summary>Ends with QEMU's exit code.</summary>
    public Task<int> Exited => _process!.Exited;

    /// <summary>QEMU's own error output.</summary>
    public string ErrorOutput => _process?.ErrorOutput ?? "";

    /// <summary>QEMU's monitor.</summary>
    public QmpClient Monitor => _monitor!;

    /// <summary>Starts a machine.</summary>
    /// <param name="options">Which.</param>
    /// <param name="network">The network it is put into.</param>
    /// <param name="launcher">Where QEMU runs.</param>
    /// <param name="reporter">Told of the commands run.</param>
    /// <param name="cancellationToken">Ends the start.</param>
    /// <exception cref="ArchAzureException">No QEMU, no firmware, or QEMU ended with an error.</exception>
    public static async Task<VirtualMachine> StartAsync(
        VirtualMachineOptions options, VirtualNetwork network, IQemuLauncher launcher, IReporter reporter, CancellationToken cancellationToken)
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

    /// <summary>Puts the DVD in while the machine runs: into generation 1's drive; generation 2 gets the drive with it.</summary>
    /// <param name="image">The DVD's image.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async Task InsertDvdAsync(ReadOnlyMemory<byte> image, CancellationToken cancellationToken)
    {
        var file = WriteDvd(image);
        var path = _host.MapPath(file);
        if (_options.Generation == 1)
        {
            // IDE knows no hot plug: the drive was there, empty.
            await Monitor.ExecuteAsync("blockdev-change-medium",
                new JsonObject { ["id"] = QemuCommandLine.DvdDevice, ["filename"] = path, ["format"] = "raw", ["read-only-mode"] = "read-only" }, cancellationToken);
            File.Delete(file);
            return;
        }

        // A node of its own each time: that of a drive that was removed goes only when the guest has let go of it.
        var node = string.Create(CultureInfo.InvariantCulture, $"dvd-{++_insertedDvds}");
        await Monitor.ExecuteAsync("blockdev-add", new JsonObject
        {
            ["driver"] = "raw",
            ["node-name"] = node,
            ["read-only"] = true,
            ["file"] = new JsonObject { ["driver"] = "file", ["filename"] = path, ["read-only"] = true },
        }, cancellationToken);
        await Monitor.ExecuteAsync("device_add", new JsonObject
        {
            ["driver"] = "scsi-cd",
            ["bus"] = "scsi.0",
            ["scsi-id"] = QemuCommandLine.OsTarget(_options.DataDisksFirst),
            ["lun"] = 2,
            ["drive"] = node,
            ["id"] = QemuCommandLine.DvdDevice,
        }, cancellationToken);
        File.Delete(file);
    }

    /// <summary>Takes the DVD out, with generation 2's drive, as Azure does once the machine is provisioned.</summary>
    public async Task RemoveDvdAsync(CancellationToken cancellationToken)
    {
        if (_options.Generation == 1)
        {
            await Monitor.ExecuteAsync("eject", new JsonObject { ["id"] = QemuCommandLine.DvdDevice, ["force"] = true }, cancellationToken);
        }
        else
        {
            await Monitor.ExecuteAsync("device_del", new JsonObject { ["id"] = QemuCommandLine.DvdDevice }, cancellationToken);
        }
    }

    /// <summary>Writes what the screen shows as a PNG.</summary>
    /// <param name="path">The file; it is replaced.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public async Task SaveScreenAsync(string path, CancellationToken cancellationToken)
    {
        // Written inside the run's directory first: QEMU may run in a container that sees nothing else.
        var picture = Path.Combine(_host.RunDirectory.FullName, "screen.png");
        await Monitor.ExecuteAsync("screendump", new JsonObject { ["filename"] = _host.MapPath(picture), ["format"] = "png" }, cancellationToken);
        await using (var from = File.OpenRead(picture))
        await using (var to = NewFile.Create(path))
        {
            await from.CopyToAsync(to, cancellationToken);
        }

        File.Delete(picture);
    }

    /// <summary>Asks the guest to power off, and ends the machine when it has, or when the time is up.</summary>
    /// <returns>True when the guest went by itself.</returns>
    public async Task<bool> ShutDownAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        await Monitor.ExecuteAsync("system_powerdown", null, cancellationToken);
        try
        {
            await Exited.WaitAsync(limit, cancellationToken);
            return true;
        }
        catch (TimeoutException)
        {
            _process!.Kill();
            await Exited;
            return false;
        }
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
        await _host.DisposeAsync();
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
        string Local(string name) => Path.Combine(_host.RunDirectory.FullName, name);
        using var monitorSocket = Listen(Local("monitor"));
        using var networkSocket = Listen(Local("network"));
        using var serialSocket = Listen(Local("serial"));

        var overlay = Local("os.qcow2");
        List<string> create = ["create", "-q", "-f", "qcow2", "-F", "vpc", "-b", _host.MapPath(Path.GetFullPath(_options.VhdPath)), _host.MapPath(overlay)];
        if (_options.DiskSizeMiB is { } size)
        {
            create.Add(string.Create(CultureInfo.InvariantCulture, $"{size}M"));
        }

        if (await RunImageToolAsync(tools, create, reporter, cancellationToken) is { } failure)
        {
            throw new ArchAzureException("OverlayFailed", ErrorKind.CommandFailed,
                $"qemu-img could not lay an overlay over {_options.VhdPath}: {failure}. It must be a VHD that can be read.", _options.VhdPath);
        }

        var firmware = tools.Firmware;
        if (_options.Generation == 2 && firmware is not null)
        {
            // By qemu-img, since the template may lie where only QEMU's side sees it.
            var variables = _host.MapPath(Local("variables.fd"));
            if (await RunImageToolAsync(tools, ["convert", "-f", "raw", "-O", "raw", firmware.Variables, variables], reporter, cancellationToken) is { } reason)
            {
                throw new ArchAzureException("FirmwareNotReadable", ErrorKind.CommandFailed,
                    $"The UEFI firmware's variable store {firmware.Variables} could not be copied: {reason}", firmware.Variables);
            }

            firmware = firmware with { Variables = variables };
        }

        var dataDisks = new List<string>();
        foreach (var mebibytes in _options.DataDisksMiB)
        {
            var path = Local($"data{dataDisks.Count}.raw");
            await using (var file = File.Create(path))
            {
                file.SetLength(mebibytes * 1024L * 1024);
            }

            dataDisks.Add(_host.MapPath(path));
        }

        var arguments = QemuCommandLine.Build(new QemuMachine(_options.Generation, _host.MapPath(overlay),
            _host.MapPath(Local("monitor")), _host.MapPath(Local("network")), _host.MapPath(Local("serial")))
        {
            MemoryMiB = _options.MemoryMiB,
            Processors = _options.Processors,
            UseKvm = tools.KvmUsable,
            Firmware = firmware,
            Dvd = _options.Dvd is { } dvd ? _host.MapPath(WriteDvd(dvd)) : null,
            DataDisks = dataDisks,
            DataDisksFirst = _options.DataDisksFirst,
            MacAddress = _options.MacAddress,
            VmId = _options.VmId,
        });
        reporter.Verbose($"{tools.System} {string.Join(' ', arguments)}");
        _process = _host.Start(tools.System, arguments);

        using var starting = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        starting.CancelAfter(s_startLimit);
        var connected = ConnectAsync(monitorSocket, networkSocket, serialSocket, network, starting.Token);
        if (await Task.WhenAny(connected, Exited) != connected)
        {
            await starting.CancelAsync();
            await connected.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
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
        foreach (var file in _host.RunDirectory.EnumerateFiles())
        {
            file.Delete();
        }
    }

    private async Task<string?> RunImageToolAsync(QemuTools tools, IReadOnlyList<string> arguments, IReporter reporter, CancellationToken cancellationToken)
    {
        reporter.Verbose($"{tools.Image} {string.Join(' ', arguments)}");
        var (code, output) = await _host.RunAsync(tools.Image, arguments, cancellationToken);
        return code == 0 ? null : output.Trim();
    }

    private string WriteDvd(ReadOnlyMemory<byte> image)
    {
        var path = Path.Combine(_host.RunDirectory.FullName, "provisioning.iso");
        using var file = new FileStream(path, FileMode.Create, FileAccess.Write);
        file.Write(image.Span);
        return path;
    }

    private async Task ConnectAsync(Socket monitor, Socket network, Socket serial, VirtualNetwork virtualNetwork, CancellationToken cancellationToken)
    {
        // QEMU connects each when it parses that option and waits for none of them, so the order does not matter.
        var accepted = await Task.WhenAll(
            monitor.AcceptAsync(cancellationToken).AsTask(), network.AcceptAsync(cancellationToken).AsTask(), serial.AcceptAsync(cancellationToken).AsTask());
        _carrying.Add(CarryAsync(new NetworkStream(accepted[1], ownsSocket: true), virtualNetwork.RunAsync));
        _carrying.Add(CarryAsync(new NetworkStream(accepted[2], ownsSocket: true), CopySerialAsync));
        _monitor = await QmpClient.ConnectAsync(new NetworkStream(accepted[0], ownsSocket: true), cancellationToken);
        _monitor.EventReceived += (_, e) =>
        {
            if (e.Item == "RESET")
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
        await using var log = NewFile.Create(_options.SerialLogPath, FileShare.Read);
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
