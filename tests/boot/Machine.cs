using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using ArchAzure.SimulatedAzure;

namespace ArchAzure.BootTests;

/// <summary>How a machine is laid out: which firmware starts it and on which bus its disk is.</summary>
public enum Generation
{
    /// <summary>BIOS and an IDE disk, as Azure's generation 1.</summary>
    Bios,

    /// <summary>UEFI and a SCSI disk, as Azure's generation 2.</summary>
    Uefi,
}

/// <summary>QEMU with a VHD under a throwaway overlay and its first serial port as text. Its end ends QEMU and removes the overlay.</summary>
internal sealed partial class Machine : IAsyncDisposable
{
    private static readonly string[] FirmwareFolders = ["/usr/share/OVMF", "/usr/share/edk2/x64", "/usr/share/edk2-ovmf/x64"];

    private readonly string _folder = Directory.CreateTempSubdirectory("boot-tests-").FullName;
    private readonly StringBuilder _serial = new();
    private Process? _process;
    private Task _reading = Task.CompletedTask;
    private bool _ended;
    private TaskCompletionSource _more = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private Machine()
    {
    }

    /// <summary>What came out of the serial port so far, without colours and cursor movements.</summary>
    public string Serial
    {
        get
        {
            lock (_serial)
            {
                return Escape().Replace(_serial.ToString(), "").Replace("\r", "", StringComparison.Ordinal);
            }
        }
    }

    /// <summary>The overlay; of use when the machine has ended.</summary>
    public string Overlay => Path.Combine(_folder, "overlay.qcow2");

    /// <summary>A folder that goes with the machine.</summary>
    public string Folder => _folder;

    /// <summary>Starts a machine.</summary>
    /// <param name="vhd">The VHD; it is opened for reading only.</param>
    /// <param name="generation">Firmware and bus.</param>
    /// <param name="extraMiB">By how much the disk is larger than the VHD.</param>
    public static async Task<Machine> StartAsync(string vhd, Generation generation, long extraMiB)
    {
        var machine = new Machine();
        try
        {
            await machine.StartQemuAsync(vhd, generation, extraMiB);
            return machine;
        }
        catch
        {
            await machine.DisposeAsync();
            throw;
        }
    }

    /// <summary>Waits until the serial port has said something that matches.</summary>
    /// <exception cref="TimeoutException">It has not within the limit; the message ends in its last lines.</exception>
    public async Task WaitForAsync(Regex pattern, TimeSpan limit)
    {
        using var late = new CancellationTokenSource(limit);
        while (true)
        {
            Task more;
            bool ended;
            lock (_serial)
            {
                more = _more.Task;
                ended = _ended;
            }

            if (pattern.IsMatch(Serial))
            {
                return;
            }

            if (ended)
            {
                await _process!.WaitForExitAsync(late.Token);
                throw new InvalidOperationException($"QEMU ended with {_process.ExitCode} before '{pattern}' came:\n{Tail()}\n{await _process.StandardError.ReadToEndAsync(CancellationToken.None)}");
            }

            try
            {
                await more.WaitAsync(late.Token);
            }
            catch (OperationCanceledException e)
            {
                throw new TimeoutException($"'{pattern}' did not come within {limit}. The last lines:\n{Tail()}", e);
            }
        }
    }

    /// <summary>Ends QEMU as it ends at a signal: what the guest has written is in the overlay.</summary>
    public async Task StopAsync()
    {
        if (_process is { HasExited: false } process)
        {
            using var kill = Process.Start("kill", ["-TERM", $"{process.Id}"]);
            await kill.WaitForExitAsync();
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            try
            {
                await process.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                process.Kill();
                await process.WaitForExitAsync(CancellationToken.None);
            }
        }

        await _reading;
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _process?.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Runs a program that must end well, and returns its output.</summary>
    internal static async Task<string> RunAsync(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}: {await error}");
        return output;
    }

    private async Task StartQemuAsync(string vhd, Generation generation, long extraMiB)
    {
        await RunAsync("qemu-img", "create", "-q", "-f", "qcow2", "-b", Path.GetFullPath(vhd), "-F", "vpc", Overlay);
        if (extraMiB > 0)
        {
            await RunAsync("qemu-img", "resize", "-q", Overlay, $"+{extraMiB}M");
        }

        // Behind TCG: what PROTOTYPE.md found fastest.
        List<string> arguments =
        [
            .. QemuTools.IsKvmUsable() ? new[] { "-accel", "kvm" } : [], "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024", "-nodefaults", "-no-reboot", "-display", "none", "-vga", "std",
            "-serial", "stdio", "-monitor", "none", "-device", "virtio-rng-pci",
            "-drive", $"if=none,id=disk,file={Overlay},format=qcow2,cache=unsafe,discard=unmap", "-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net",
        ];
        if (generation == Generation.Bios)
        {
            arguments.AddRange(["-machine", "pc", "-device", "ide-hd,bus=ide.0,drive=disk"]);
        }
        else
        {
            var folder = FirmwareFolders.FirstOrDefault(folder => File.Exists(Path.Combine(folder, "OVMF_CODE_4M.fd")))
                ?? throw new FileNotFoundException($"OVMF_CODE_4M.fd is in none of {string.Join(", ", FirmwareFolders)}: install the package ovmf.");
            var variables = Path.Combine(_folder, "vars.fd");
            File.Copy(Path.Combine(folder, "OVMF_VARS_4M.fd"), variables);
            arguments.AddRange(
            [
                "-machine", "q35", "-drive", $"if=pflash,format=raw,readonly=on,file={Path.Combine(folder, "OVMF_CODE_4M.fd")}", "-drive", $"if=pflash,format=raw,file={variables}",
                "-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-hd,bus=scsi.0,drive=disk",
            ]);
        }

        // timeout: an end, should the tests themselves be killed. (The parent-death signal would not do: it goes by the thread, not the process.)
        var start = new ProcessStartInfo("timeout", ["--foreground", "1800", "qemu-system-x86_64", .. arguments])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        _process = Process.Start(start)!;
        _reading = ReadAsync(_process.StandardOutput.BaseStream);
    }

    private async Task ReadAsync(Stream serial)
    {
        var buffer = new byte[4096];
        while (true)
        {
            var read = await serial.ReadAsync(buffer);
            lock (_serial)
            {
                _ended = read == 0;
                _serial.Append(Encoding.Latin1.GetString(buffer, 0, read));
                _more.TrySetResult();
                _more = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            }

            if (read == 0)
            {
                return;
            }
        }
    }

    private string Tail() => string.Join('\n', Serial.Split('\n').TakeLast(40));

    [GeneratedRegex(@"\x1B(\[[0-9;?=]*[A-Za-z]|[c()][0-9A-Z]?)", RegexOptions.None, 5000)]
    private static partial Regex Escape();
}
