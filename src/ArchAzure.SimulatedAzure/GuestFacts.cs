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
        };
    }
}
