using System.Globalization;

namespace ArchAzure.SimulatedAzure;

/// <summary>What the guest shows to the user who logged in.</summary>
public sealed record GuestFacts
{
    /// <summary>The running host name.</summary>
    public required string HostName { get; init; }

    /// <summary>The user's name.</summary>
    public required string UserName { get; init; }

    /// <summary>The user's groups.</summary>
    public required IReadOnlyList<string> Groups { get; init; }

    /// <summary>True when sudo works without a password.</summary>
    public required bool PasswordlessSudo { get; init; }

    /// <summary>The root file system: source, type, options.</summary>
    public required string RootMount { get; init; }

    /// <summary>The root file system's size in bytes.</summary>
    public required long RootBytes { get; init; }

    /// <summary>The root partition's size in bytes, 0 where it is not known.</summary>
    public required long RootPartitionBytes { get; init; }

    /// <summary>The disk's size in bytes, 0 where it is not known.</summary>
    public required long DiskBytes { get; init; }

    /// <summary>Mounted file systems on disks: target, source, type.</summary>
    public required IReadOnlyList<string> Mounts { get; init; }

    /// <summary>Units in the state failed.</summary>
    public required IReadOnlyList<string> FailedUnits { get; init; }

    /// <summary>What <c>systemctl is-system-running</c> says.</summary>
    public required string SystemState { get; init; }

    /// <summary>The first line of <c>waagent --version</c>.</summary>
    public required string AgentVersion { get; init; }

    /// <summary>The kernel's clock source.</summary>
    public required string ClockSource { get; init; }

    /// <summary>The kernel's release.</summary>
    public required string Kernel { get; init; }

    /// <summary>The kernel's command line.</summary>
    public required string CommandLine { get; init; }

    /// <summary>The machine's id.</summary>
    public required string MachineId { get; init; }

    /// <summary>Active swap areas.</summary>
    public required IReadOnlyList<string> Swaps { get; init; }

    // What follows is asked of images and machines by Microsoft's own tests, https://github.com/microsoft/lisa (lisa/microsoft/testsuites),
    // each in the case that is named.

    /// <summary>The processor's architecture as <c>uname -m</c> has it (verify_azure_64bit_os: x86_64 or aarch64).</summary>
    public required string Architecture { get; init; }

    /// <summary>What <c>openssl version</c> says (verify_openssl_version: 3.0.0 or later).</summary>
    public required string OpenSslVersion { get; init; }

    /// <summary>What <c>python3 --version</c> says (verify_python_version: 3.9 or later).</summary>
    public required string PythonVersion { get; init; }

    /// <summary>
    /// What the kernel and services have logged as errors since the boot, the first 50; none where it may not be read
    /// (verify_boot_error_fail_warnings).
    /// </summary>
    public required IReadOnlyList<string> LoggedErrors { get; init; }

    /// <summary>Whether the driver of floppy disks is loaded (verify_floppy_module_is_blacklisted: it is not).</summary>
    public required bool FloppyLoaded { get; init; }

    /// <summary>
    /// The time-out of each SCSI disk in seconds, as <c>sda 300</c> (verify_disks_device_timeout_setting: OS.RootDeviceScsiTimeout of
    /// waagent.conf).
    /// </summary>
    public required IReadOnlyList<string> DiskTimeouts { get; init; }

    // One script, one round trip: each command takes a second or more where the processor is emulated. It only reads.
    internal const string Script = """
        export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C
        s() { printf '\n@@%s\n' "$1"; }
        s host; hostname 2>/dev/null || cat /proc/sys/kernel/hostname
        s user; id -un
        s groups; id -Gn
        s sudo; sudo -n true 2>/dev/null && echo yes || echo no
        s root; findmnt -n -o SOURCE,FSTYPE,OPTIONS /
        s rootsize; df -B1 --output=size / | tail -n 1
        part=$(findmnt -n -o SOURCE / | sed 's/\[.*//')
        s partsize; lsblk -b -n -d -o SIZE "$part" 2>/dev/null
        s disksize; lsblk -b -n -d -o SIZE "/dev/$(lsblk -n -d -o PKNAME "$part" 2>/dev/null)" 2>/dev/null
        s mounts; findmnt -n -l -o TARGET,SOURCE,FSTYPE --real 2>/dev/null
        s failed; systemctl list-units --failed --no-legend --plain | cut -d ' ' -f 1
        s state; systemctl is-system-running
        s agent; waagent --version 2>/dev/null | head -n 1
        s clock; cat /sys/devices/system/clocksource/clocksource0/current_clocksource
        s kernel; uname -r
        s cmdline; cat /proc/cmdline
        s machine; cat /etc/machine-id
        s swaps; tail -n +2 /proc/swaps
        s architecture; uname -m
        s openssl; openssl version 2>/dev/null
        s python; python3 --version 2>/dev/null
        s errors; sudo -n journalctl --boot --quiet --no-pager --output=cat --priority=err 2>/dev/null | head -n 50
        s floppy; [ -d /sys/module/floppy ] && echo yes || echo no
        s timeouts; for f in /sys/block/sd*/device/timeout; do [ -e "$f" ] && echo "$(echo "$f" | cut -d / -f 4) $(cat "$f")"; done
        """;

    internal static GuestFacts Parse(string output)
    {
        var sections = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        var current = new List<string>();
        foreach (var line in output.Split('\n').Select(l => l.TrimEnd('\r')))
        {
            if (line.StartsWith("@@", StringComparison.Ordinal))
            {
                sections[line[2..]] = current = [];
            }
            else if (line.Length > 0)
            {
                current.Add(line.Trim());
            }
        }

        IReadOnlyList<string> Lines(string name) => sections.TryGetValue(name, out var lines) ? lines : [];
        string One(string name) => Lines(name).Count > 0 ? Lines(name)[0] : "";
        long Bytes(string name) => long.TryParse(One(name), NumberStyles.None, CultureInfo.InvariantCulture, out var bytes) ? bytes : 0;
        return new GuestFacts
        {
            HostName = One("host"),
            UserName = One("user"),
            Groups = One("groups").Split(' ', StringSplitOptions.RemoveEmptyEntries),
            PasswordlessSudo = One("sudo") == "yes",
            RootMount = One("root"),
            RootBytes = Bytes("rootsize"),
            RootPartitionBytes = Bytes("partsize"),
            DiskBytes = Bytes("disksize"),
            Mounts = Lines("mounts"),
            FailedUnits = Lines("failed"),
            SystemState = One("state"),
            AgentVersion = One("agent"),
            ClockSource = One("clock"),
            Kernel = One("kernel"),
            CommandLine = One("cmdline"),
            MachineId = One("machine"),
            Swaps = Lines("swaps"),
            Architecture = One("architecture"),
            OpenSslVersion = One("openssl"),
            PythonVersion = One("python"),
            LoggedErrors = Lines("errors"),
            FloppyLoaded = One("floppy") == "yes",
            DiskTimeouts = Lines("timeouts"),
        };
    }
}
