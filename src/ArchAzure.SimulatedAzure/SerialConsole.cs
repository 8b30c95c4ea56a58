using System.Text;
using System.Text.RegularExpressions;

namespace ArchAzure.SimulatedAzure;

/// <summary>A stage of the boot that shows on the serial console.</summary>
internal enum BootStage
{
    /// <summary>The kernel's first line.</summary>
    Kernel,

    /// <summary>The kernel ran the initramfs' init.</summary>
    Initramfs,

    /// <summary>systemd is process 1 of the root file system (or of the initramfs, where that has it).</summary>
    Systemd,

    LoginPrompt,
}

/// <summary>The first serial port: its lines, and what they tell of the boot.</summary>
internal sealed partial class SerialConsole
{
    private const int KeptLines = 400;
    private const int LongestLine = 4096;

    // A boot with all of systemd's debug messages writes some 5 MiB. What a guest writes beyond is shown, not kept.
    private const long LongestLog = 64 << 20;

    // Where a machine that shows one of these goes nowhere any more; without the last word it would be waited for in vain.
    private static readonly (string Text, string Meaning)[] s_ends =
    [
        ("Kernel panic - not syncing", "the kernel panicked"),
        ("---[ end Kernel panic", "the kernel panicked"),
        ("grub rescue>", "GRUB found neither its modules nor its configuration"),
        ("You are in emergency mode", "systemd ended in emergency mode"),
        ("Cannot open access to console, the root account is locked", "systemd ended in emergency mode"),
        ("You are now being dropped into an emergency shell", "the initramfs did not find or mount the root file system"),
        // BusyBox's banner: any initramfs that ends in its shell.
        (" built-in shell (ash)", "the initramfs did not find or mount the root file system"),
        ("(initramfs) ", "the initramfs did not find or mount the root file system"),
        ("No bootable device", "the firmware found nothing to boot"),
        ("BdsDxe: No bootable option or device was found", "the firmware found nothing to boot"),
        ("UEFI Interactive Shell", "the firmware found nothing to boot"),
    ];

    private readonly object _gate = new();
    private readonly Queue<string> _lines = new();
    private readonly Dictionary<BootStage, DateTimeOffset> _stages = [];
    private readonly StringBuilder _line = new();
    private readonly TaskCompletionSource<string> _dead = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Ends with the reason when the console shows that the machine goes nowhere any more.</summary>
    public Task<string> Dead => _dead.Task;

    /// <summary>When each stage first showed.</summary>
    public IReadOnlyDictionary<BootStage, DateTimeOffset> Stages
    {
        get
        {
            lock (_gate)
            {
                return new Dictionary<BootStage, DateTimeOffset>(_stages);
            }
        }
    }

    /// <summary>The last lines, without terminal control sequences.</summary>
    /// <param name="count">At most so many, of the 400 that are kept.</param>
    public IReadOnlyList<string> LastLines(int count)
    {
        lock (_gate)
        {
            return [.. _lines.Append(Clean(_line.ToString())).Where(line => line.Length > 0).TakeLast(count)];
        }
    }

    /// <summary>Takes all that comes until the port closes.</summary>
    public async Task ReadAsync(Stream port, Stream log, CancellationToken cancellationToken)
    {
        var buffer = new byte[8192];
        try
        {
            int count;
            var logged = 0L;
            while ((count = await port.ReadAsync(buffer, cancellationToken)) > 0)
            {
                var kept = (int)Math.Min(count, LongestLog - logged);
                if (kept > 0)
                {
                    logged += kept;
                    await log.WriteAsync(buffer.AsMemory(0, kept), CancellationToken.None);
                    if (logged == LongestLog)
                    {
                        await log.WriteAsync(
                            Encoding.ASCII.GetBytes($"\n[the log ends here, after {LongestLog >> 20} MiB]\n"), CancellationToken.None);
                    }

                    await log.FlushAsync(CancellationToken.None);
                }

                Take(Encoding.Latin1.GetString(buffer, 0, count));
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The machine has ended.
        }
    }

    /// <summary>Takes some output.</summary>
    public void Take(string text)
    {
        lock (_gate)
        {
            foreach (var c in text)
            {
                if (c == '\n' || _line.Length >= LongestLine)
                {
                    var line = Clean(_line.ToString());
                    Look(line);
                    _lines.Enqueue(line);
                    while (_lines.Count > KeptLines)
                    {
                        _lines.Dequeue();
                    }

                    _line.Clear();
                }

                if (c != '\n')
                {
                    _line.Append(c);
                }
            }

            // Prompts end without a line's end.
            Look(Clean(_line.ToString()));
        }
    }

    private void Look(string line)
    {
        foreach (var (text, meaning) in s_ends)
        {
            if (line.Contains(text, StringComparison.Ordinal))
            {
                _dead.TrySetResult(meaning);
            }
        }

        if (line.Contains("Linux version ", StringComparison.Ordinal))
        {
            Reach(BootStage.Kernel);
        }
        else if (line.Contains(" as init process", StringComparison.Ordinal)
            || line.Contains("Loading, please wait...", StringComparison.Ordinal)
            || line.StartsWith(":: ", StringComparison.Ordinal))
        {
            Reach(BootStage.Initramfs);
        }
        else if (line.Contains("systemd[1]: ", StringComparison.Ordinal)
            && line.Contains("running in system mode", StringComparison.Ordinal))
        {
            Reach(BootStage.Systemd);
        }
        else if (line.EndsWith(" login: ", StringComparison.Ordinal) || line.EndsWith(" login:", StringComparison.Ordinal))
        {
            Reach(BootStage.LoginPrompt);
        }
    }

    private void Reach(BootStage stage) => _stages.TryAdd(stage, DateTimeOffset.UtcNow);

    private static string Clean(string line) => ControlSequence().Replace(line, "").TrimEnd('\r');

    [GeneratedRegex(
        @"\x1B(\[[0-?]*[ -/]*[@-~]|[()][0-9A-Za-z]|[=>78cDEHMNOZ])|[\x00-\x08\x0B\x0C\x0E-\x1A\x7F]", RegexOptions.CultureInvariant)]
    private static partial Regex ControlSequence();
}
