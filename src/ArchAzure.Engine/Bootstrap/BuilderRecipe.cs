using System.Security.Cryptography;
using System.Text;

namespace ArchAzure.Bootstrap;

/// <summary>How the builder's image is made of the bootstrap's: its pacman configuration, its tools, and the hash that names it.</summary>
internal static class BuilderRecipe
{
    /// <summary>What the steps need: FAT, file systems, the agent's repository, the names of keymaps, snapshots.</summary>
    public static IReadOnlyList<string> Tools { get; } =
        ["dosfstools", "mtools", "e2fsprogs", "btrfs-progs", "git", "kbd", "tar", "zstd"];

    /// <summary>
    /// pacman.conf(5) of the builder; never of the image. pacman 7 downloads in a Landlock sandbox of its own, which fails in
    /// containers; pacman 6 warns about the unknown word. CheckSpace is left out: it cannot read a container's mounts.
    /// </summary>
    public const string PacmanConfiguration =
        """
        [options]
        HoldPkg = pacman glibc
        Architecture = x86_64
        CacheDir = /work/cache/
        SigLevel = Required DatabaseOptional
        LocalFileSigLevel = Optional
        ParallelDownloads = 5
        DisableSandbox

        [core]
        Include = /run/mirrorlist

        [extra]
        Include = /run/mirrorlist

        """;

    /// <summary>
    /// Where pacman's list of mirrors lies in the builder: what an image remembers may have changed since, and most builders cannot
    /// write to their root.
    /// </summary>
    public const string MirrorListPath = "/run/mirrorlist";

    /// <summary>The list of one mirror.</summary>
    public static string MirrorList(string mirror) => $"Server = {mirror}\n";

    /// <summary>The image's name: its tag changes with everything that goes into it.</summary>
    public static string Image(string version, string bootstrapSha256, string mirror)
    {
        var text = string.Join('\0', [bootstrapSha256, mirror, PacmanConfiguration, .. Tools]);
        return $"archazure/builder:{version}-{Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..12].ToLowerInvariant()}";
    }
}
