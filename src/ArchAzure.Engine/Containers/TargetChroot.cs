namespace ArchAzure.Containers;

/// <summary>
/// The target in a builder, and the wall around what runs in it. The tree is a volume; <c>/proc</c>, <c>/sys</c>, <c>/dev</c>, <c>/run</c>
/// and <c>/tmp</c> are mounted on a second view of it, once, before anything of packages, layers or agents runs. Every later command of
/// the builder first gives up CAP_SYS_ADMIN for good; the builder's own root cannot be written, so no command can alter the next one's
/// start.
/// </summary>
internal static class TargetChroot
{
    /// <summary>The tree as it will be in the image, without mounts.</summary>
    public const string Tree = "/target";

    /// <summary>The tree with the mounts: what commands of the target have as their root.</summary>
    public const string Root = "/run/target";

    /// <summary>What <see cref="MountCommand"/> says where <see cref="SystemCallFilter"/> works.</summary>
    public const string Filtered = "filtered";

    /// <summary>What <see cref="MountCommand"/> says where the tree is in memory.</summary>
    public const string InMemory = "memory";

    /// <summary>Makes the mounts.</summary>
    /// <param name="memory">The most bytes of memory to keep the tree in; 0 for none.</param>
    public static IReadOnlyList<string> MountCommand(long memory) => ["bash", "-s", "--", Tree, Root, $"{memory}"];

    /// <summary>
    /// What each command is run by: it gets process numbers of its own, so that nothing it started outlives it, and neither
    /// CAP_SYS_ADMIN nor a way to regain it.
    /// </summary>
    /// <param name="filtered">Whether the filter of system calls works.</param>
    /// <param name="offline">Whether it gets no network.</param>
    public static IReadOnlyList<string> Confinement(bool filtered, bool offline) =>
    [
        "unshare", "--fork", "--pid", "--kill-child", .. offline ? ["--net"] : Array.Empty<string>(), "--",
        "setpriv", "--bounding-set=-sys_admin,-setpcap",
        .. filtered ? ["--seccomp-filter=/run/archazure/filter"] : Array.Empty<string>(), "--",

        // Takes number 1, which makes some programs behave in other ways (timeout 9.10 gives up).
        "sh", "-c", "\"$@\"; exit", "sh",
    ];

    /// <summary>What <see cref="MountCommand"/> is run with: its script as the input, the filter in the environment.</summary>
    public static CommandOptions MountOptions => new()
    {
        Input = WriteScriptAsync,
        Environment = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["FILTER"] = Convert.ToBase64String(SystemCallFilter.Program()),
        },
    };

    private static async Task WriteScriptAsync(Stream stream, CancellationToken cancellationToken)
    {
        await using var script = typeof(TargetChroot).Assembly.GetManifestResourceStream("chroot-mounts.sh")!;
        await script.CopyToAsync(stream, cancellationToken);
    }
}
