using System.Diagnostics;
using System.Text;
using ArchAzure.IO;

namespace ArchAzure.SimulatedAzure;

/// <summary>A UEFI firmware build for x86-64 in the two files that QEMU maps as flash.</summary>
/// <param name="Code">The code, read-only.</param>
/// <param name="Variables">The template of the variable store; machines work on a throwaway copy.</param>
internal sealed record UefiFirmware(string Code, string Variables)
{
    /// <summary>Where distributions keep it: builds without Secure Boot, 4 MB before 2 MB.</summary>
    public static IReadOnlyList<UefiFirmware> KnownPlaces { get; } =
    [
        new("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"), // Debian, Ubuntu
        new("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"), // Arch
        new("/usr/share/edk2-ovmf/x64/OVMF_CODE.4m.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.4m.fd"), // Arch, before 2025
        new("/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"), // Arch, before 2024
        new("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"), // Fedora
        new("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"), // openSUSE
        new("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"), // older Debian, Ubuntu
    ];
}

/// <summary>What there is to run machines with.</summary>
/// <param name="System">The emulator, e.g. <c>/usr/bin/qemu-system-x86_64</c>.</param>
/// <param name="Image">The image tool, e.g. <c>/usr/bin/qemu-img</c>.</param>
/// <param name="KvmUsable">
/// Whether /dev/kvm can be opened for reading and writing, and has the processor's virtualization behind it.
/// </param>
/// <param name="Firmware">The UEFI firmware, or null where none was found.</param>
internal sealed record QemuTools(string System, string Image, bool KvmUsable, UefiFirmware? Firmware)
{
    // -netdev stream with a unix socket came with 7.2.
    private static readonly Version s_oldest = new(7, 2);

    // Fixed by QEMU's commit deba78709a ("accel/tcg: Always lock pages before translation").
    private static readonly Version s_emulatesPatchedCode = new(8, 1);

    /// <summary>The emulator's version, or null where it was not looked at.</summary>
    public Version? Version { get; init; }

    /// <summary>
    /// Whether an emulated processor can get a guest's kernel wrong: before 8.1 one of two processors may run an instruction that the
    /// other has just patched back, and a sound kernel panics (<c>Oops: int3</c>), once in some twenty boots.
    /// </summary>
    public bool MayPanicSoundKernels => !KvmUsable && Version is { } version && version < s_emulatesPatchedCode;

    /// <summary>Refuses an emulator that is too old.</summary>
    /// <param name="program">Which.</param>
    /// <param name="output">What it says at <c>--version</c>.</param>
    /// <param name="remedy">What to do then.</param>
    /// <returns>The version.</returns>
    /// <exception cref="ArchAzureException"><c>QemuTooOld</c>.</exception>
    public static Version CheckVersion(string program, string output, string remedy)
    {
        var version = output.Split([' ', '\n', '('], StringSplitOptions.RemoveEmptyEntries)
            .Select(word => word.Contains('.', StringComparison.Ordinal) && Version.TryParse(word, out var parsed) ? parsed : null)
            .FirstOrDefault(parsed => parsed is not null);
        if (version is null || version < s_oldest)
        {
            throw new ArchAzureException("QemuTooOld", ErrorKind.NotFound,
                $"{program} is of version {version?.ToString() ?? "unknown"}; the boot test needs {s_oldest} or newer, "
                + $"which connects a machine's network to a unix socket. {remedy}", program);
        }

        return version;
    }

    /// <summary>Whether this process may use the host's processor for a machine.</summary>
    public static bool IsKvmUsable() => IsKvmUsable("/dev/kvm", "/proc/cpuinfo");

    /// <summary>
    /// Whether KVM can be used and runs on the processor's own virtualization. There are hosts whose /dev/kvm works without (PVM, in
    /// virtual machines that may not nest): an unprepared guest's kernel is interpreted there, many times slower than QEMU emulates it.
    /// </summary>
    public static bool IsKvmUsable(string device, string processors)
    {
        try
        {
            using var kvm = new FileStream(device, FileMode.Open, FileAccess.ReadWrite);
            return File.ReadLines(processors).FirstOrDefault(line => line.StartsWith("flags", StringComparison.Ordinal))
                ?.Split(' ').Any(flag => flag is "vmx" or "svm") ?? false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}

/// <summary>A machine's running emulator.</summary>
internal interface IQemuProcess : IAsyncDisposable
{
    /// <summary>Ends with the exit code.</summary>
    Task<int> Exited { get; }

    /// <summary>The end of what it wrote to its error output.</summary>
    string ErrorOutput { get; }

    /// <summary>Ends it at once.</summary>
    void Kill();
}

/// <summary>Where QEMU runs: on the host, or in containers.</summary>
internal interface IQemuLauncher : IDisposable
{
    /// <summary>Finds the programs and the firmware.</summary>
    /// <exception cref="ArchAzureException">There is no QEMU, or one that is too old.</exception>
    Task<QemuTools> FindToolsAsync(CancellationToken cancellationToken);

    /// <summary>Makes the surroundings of one machine. Disposing of them ends what runs in them and removes the run's directory.</summary>
    Task<IQemuHost> PrepareAsync(string vhdPath, CancellationToken cancellationToken);
}

/// <summary>
/// The surroundings of one machine. Only files and unix sockets below the run's directory connect the two sides, so no network
/// is needed between them.
/// </summary>
internal interface IQemuHost : IAsyncDisposable
{
    /// <summary>
    /// The folder of the machine's sockets and overlay, which both sides see and only this user can enter. Its path is short: a
    /// unix socket's holds 107 bytes.
    /// </summary>
    DirectoryInfo RunDirectory { get; }

    /// <summary>A path of this process as QEMU sees it: the VHD's, or one below the run directory.</summary>
    string MapPath(string path);

    /// <summary>Runs a program to its end.</summary>
    /// <returns>Its exit code, and what it wrote to both outputs.</returns>
    Task<(int ExitCode, string Output)> RunAsync(string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken);

    /// <summary>Starts the emulator. It ends when this process does, however that ends.</summary>
    IQemuProcess Start(string program, IReadOnlyList<string> arguments);
}

/// <summary>Runs the QEMU that is installed on the host.</summary>
internal sealed class HostQemuLauncher : IQemuLauncher
{
    private readonly Func<string, string?> _find;
    private QemuTools? _tools;

    /// <summary>Creates a launcher that looks for programs on PATH.</summary>
    public HostQemuLauncher()
        : this(FindOnPath)
    {
    }

    /// <summary>Creates a launcher with another way to find programs.</summary>
    /// <param name="find">Gives a program's path by its name, or null.</param>
    public HostQemuLauncher(Func<string, string?> find) => _find = find;

    /// <inheritdoc/>
    public async Task<QemuTools> FindToolsAsync(CancellationToken cancellationToken)
    {
        if (_tools is not null)
        {
            return _tools;
        }

        if (_find("qemu-system-x86_64") is not { } system || _find("qemu-img") is not { } image)
        {
            throw new ArchAzureException("QemuNotFound", ErrorKind.NotFound,
                "The boot test needs QEMU, and qemu-system-x86_64 or qemu-img is not on PATH. Install it: Debian, Ubuntu: "
                + "'apt-get install qemu-system-x86 qemu-utils ovmf'; Arch: 'pacman -S qemu-system-x86 qemu-img edk2-ovmf'; "
                + "Fedora: 'dnf install qemu-system-x86-core qemu-img edk2-ovmf'. "
                + "Or let Docker bring it: -Qemu Builder makes it from the builder image of the VHD's build. "
                + "Without it the image can still be tested without -Boot.");
        }

        var (_, output) = await RunAsync(system, ["--version"], cancellationToken);
        var version = QemuTools.CheckVersion(system, output, "Install a newer QEMU.");
        var firmware = UefiFirmware.KnownPlaces.FirstOrDefault(f => File.Exists(f.Code) && File.Exists(f.Variables));
        return _tools = new QemuTools(system, image, QemuTools.IsKvmUsable(), firmware) { Version = version };
    }

    /// <inheritdoc/>
    public Task<IQemuHost> PrepareAsync(string vhdPath, CancellationToken cancellationToken) =>
        Task.FromResult<IQemuHost>(new Surroundings(_find("setpriv")));

    /// <inheritdoc/>
    public void Dispose()
    {
        // Nothing is held between two machines.
    }

    private static async Task<(int ExitCode, string Output)> RunAsync(
        string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        using var process = Process.Start(StartInfo(program, arguments))!;
        process.StandardInput.Close();
        var written = new QemuOutput();
        var outputs = written.ReadAsync(process, cancellationToken);
        try
        {
            await process.WaitForExitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }

        await outputs;
        return (process.ExitCode, written.ToString());
    }

    private static ProcessStartInfo StartInfo(string program, IReadOnlyList<string> arguments) => new(program, arguments)
    {
        RedirectStandardInput = true,
        RedirectStandardOutput = true,
        RedirectStandardError = true,
        UseShellExecute = false,
    };

    private static string? FindOnPath(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Select(directory => Path.Combine(directory, name)).FirstOrDefault(File.Exists);

    private sealed class Surroundings(string? setpriv) : IQemuHost
    {
        private readonly TemporaryFolder _folder = QemuRunDirectory.Create();

        public DirectoryInfo RunDirectory => _folder.Directory;

        public string MapPath(string path) => path;

        public Task<(int ExitCode, string Output)> RunAsync(
            string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken) =>
            HostQemuLauncher.RunAsync(program, arguments, cancellationToken);

        // The kernel kills the child when its parent dies, even by SIGKILL; .NET cannot ask for that itself. The signal
        // is tied to the *thread* that forked, so the process is started by one that lives as long as the child.
        public IQemuProcess Start(string program, IReadOnlyList<string> arguments) =>
            new HostProcess(
                setpriv is null ? StartInfo(program, arguments) : StartInfo(setpriv, ["--pdeathsig", "KILL", "--", program, .. arguments]));

        public ValueTask DisposeAsync()
        {
            _folder.Dispose();
            return ValueTask.CompletedTask;
        }
    }

    private sealed class HostProcess : IQemuProcess
    {
        private readonly TaskCompletionSource<int> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource<Process> _started = new();
        private readonly QemuOutput _errors = new();
        private readonly Process _process;

        public HostProcess(ProcessStartInfo startInfo)
        {
            new Thread(() => Run(startInfo)) { IsBackground = true, Name = "QEMU" }.Start();
            _process = _started.Task.GetAwaiter().GetResult();
        }

        public Task<int> Exited => _exited.Task;

        public string ErrorOutput => _errors.ToString();

        public void Kill()
        {
            try
            {
                _process.Kill();
            }
            catch (InvalidOperationException)
            {
                // It has ended by itself.
            }
        }

        public async ValueTask DisposeAsync()
        {
            Kill();
            await _exited.Task;
            _process.Dispose();
        }

        private void Run(ProcessStartInfo startInfo)
        {
            Process process;
            try
            {
                process = Process.Start(startInfo)!;
            }
            catch (Exception e)
            {
                _started.SetException(e);
                return;
            }

            process.StandardInput.Close();
            var outputs = _errors.ReadAsync(process, CancellationToken.None);
            _started.SetResult(process);
            process.WaitForExit();

            // However reading ended: an exception of this thread would end the whole process.
            ((IAsyncResult)outputs).AsyncWaitHandle.WaitOne();
            _exited.SetResult(process.ExitCode);
        }
    }
}

/// <summary>The run's directory on this side.</summary>
internal static class QemuRunDirectory
{
    public static TemporaryFolder Create() => TemporaryFolder.Create("archazure-vm-");
}

/// <summary>What QEMU's programs wrote to their outputs, as much of it as an error can show; the rest is read and dropped.</summary>
internal sealed class QemuOutput
{
    private const int Limit = 16 * 1024;
    private readonly StringBuilder _text = new();

    /// <summary>Takes both outputs of a program to their end.</summary>
    public Task ReadAsync(Process process, CancellationToken cancellationToken) =>
        Task.WhenAll(ReadAsync(process.StandardOutput, cancellationToken), ReadAsync(process.StandardError, cancellationToken));

    private async Task ReadAsync(StreamReader output, CancellationToken cancellationToken)
    {
        var buffer = new char[4096];
        int count;
        while ((count = await output.ReadAsync(buffer, cancellationToken)) > 0)
        {
            Add(buffer.AsSpan(0, count));
        }
    }

    public void Add(ReadOnlySpan<char> text)
    {
        lock (_text)
        {
            _text.Append(text[..Math.Min(text.Length, Limit - _text.Length)]);
        }
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        lock (_text)
        {
            return _text.ToString();
        }
    }
}
