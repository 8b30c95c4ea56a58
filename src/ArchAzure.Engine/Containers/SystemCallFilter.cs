using System.Buffers.Binary;

namespace ArchAzure.Containers;

/// <summary>
/// Gives back what Docker's own filter of system calls refuses to a container without CAP_SYS_ADMIN. A builder that holds a target
/// has that capability for its mounts, and with it Docker's filter lets these calls through.
/// </summary>
/// <remarks>
/// Source: moby, profiles/seccomp/default.json (the rules that ask for CAP_SYS_ADMIN; those for clone and clone3 without it);
/// linux/filter.h, linux/seccomp.h; arch/x86/entry/syscalls/syscall_64.tbl.
/// </remarks>
internal static class SystemCallFilter
{
    private const ushort LoadWord = 0x20;
    private const ushort JumpIfEqual = 0x15;
    private const ushort JumpIfAtLeast = 0x35;
    private const ushort JumpIfAnyBit = 0x45;
    private const ushort Return = 0x06;

    private const uint Allow = 0x7FFF_0000;
    private const uint NotPermitted = 0x0005_0000 | 1;
    private const uint NotImplemented = 0x0005_0000 | 38;

    // Offsets in struct seccomp_data.
    private const uint CallNumber = 0;
    private const uint Architecture = 4;
    private const uint FirstArgument = 16;

    private const uint X86With64Bits = 0xC000_003E;
    private const uint FirstOfX32 = 0x4000_0000;

    private const uint Clone = 56;
    private const uint Clone3 = 435;

    /// <summary>CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.</summary>
    private const uint NewNamespaces = 0x7E02_0000;

    private static readonly (string Name, uint Number)[] s_refused =
    [
        ("bpf", 321), ("fanotify_init", 300), ("fsconfig", 431), ("fsmount", 432), ("fsopen", 430), ("fspick", 433),
        ("lookup_dcookie", 212), ("mount", 165),
        ("mount_setattr", 442), ("move_mount", 429), ("open_tree", 428), ("open_tree_attr", 467), ("perf_event_open", 298),
        ("pivot_root", 155), ("quotactl", 179), ("quotactl_fd", 443),
        ("setdomainname", 171), ("sethostname", 170), ("setns", 308), ("syslog", 103), ("umount2", 166), ("unshare", 272),
    ];

    /// <summary>The filter as setpriv(1) --seccomp-filter takes it: an array of struct sock_filter.</summary>
    public static byte[] Program()
    {
        List<(ushort Code, byte IfTrue, byte IfFalse, uint Value)> lines =
        [
            // Other programs than those of x86-64 have other numbers.
            (LoadWord, 0, 0, Architecture), (JumpIfEqual, 1, 0, X86With64Bits), (Return, 0, 0, NotPermitted),
            (LoadWord, 0, 0, CallNumber), (JumpIfAtLeast, 0, 1, FirstOfX32), (Return, 0, 0, NotPermitted),
        ];
        foreach (var (_, number) in s_refused)
        {
            lines.Add((JumpIfEqual, 0, 1, number));
            lines.Add((Return, 0, 0, NotPermitted));
        }

        lines.AddRange(
        [
            // Its flags lie in memory, where no filter can see them; libc takes clone in its place.
            (JumpIfEqual, 0, 1, Clone3), (Return, 0, 0, NotImplemented),
            (JumpIfEqual, 1, 0, Clone), (Return, 0, 0, Allow),
            (LoadWord, 0, 0, FirstArgument), (JumpIfAnyBit, 0, 1, NewNamespaces), (Return, 0, 0, NotPermitted), (Return, 0, 0, Allow),
        ]);

        var bytes = new byte[lines.Count * 8];
        for (var i = 0; i < lines.Count; i++)
        {
            var line = bytes.AsSpan(i * 8, 8);
            BinaryPrimitives.WriteUInt16LittleEndian(line, lines[i].Code);
            line[2] = lines[i].IfTrue;
            line[3] = lines[i].IfFalse;
            BinaryPrimitives.WriteUInt32LittleEndian(line[4..], lines[i].Value);
        }

        return bytes;
    }
}
