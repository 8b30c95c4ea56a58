namespace ArchAzure.Containers;

/// <summary>
/// Every Linux capability a builder has, each with its reason; all others are dropped. A builder is never privileged,
/// gets no device, and keeps Docker's default seccomp profile.
/// </summary>
internal static class BuilderCapabilities
{
    /// <summary>What unpacking packages as root into a folder takes.</summary>
    public static IReadOnlyDictionary<string, string> Files { get; } = new SortedDictionary<string, string>(StringComparer.Ordinal)
    {
        ["CHOWN"] = "files of packages and snapshots belong to many users",
        ["DAC_OVERRIDE"] = "root writes into folders of other users, e.g. the user's own work directory",
        ["FOWNER"] = "modes and times are set on files of other users",
        ["FSETID"] = "files keep the set-group-id bit of a group that root is not in (wall, write; /var/log/journal)",
        ["SETFCAP"] = "files carry capabilities (newuidmap, ping)",
        ["SETGID"] = "scripts of packages and layers run commands as another user (runuser, sudo -u)",
        ["SETUID"] = "the same; pacman downloads as user alpm where its configuration says so",
        ["SYS_CHROOT"] = "pacman runs scriptlets and hooks with the target as their root",
    };

    /// <summary>What a builder that holds a target needs on top. No command that may run code of packages, layers or agents has it: see
    /// <see cref="TargetChroot"/>.</summary>
    public static IReadOnlyDictionary<string, string> Mounts { get; } = new SortedDictionary<string, string>(StringComparer.Ordinal)
    {
        ["SETPCAP"] = "gives up SYS_ADMIN and itself for good before a command begins",
        ["SYS_ADMIN"] =
            "mounts /proc, /sys, /dev, /run and /tmp for the target, in the container's own mount namespace, once; "
            + "gives each command process numbers of its own",
    };
}
