using System.Security.Cryptography;
using System.Text;
using ArchAzure.Containers;

namespace ArchAzure.Bootstrap;

/// <summary>How the image that runs virtual machines is made of a builder's, and the hash that names it.</summary>
internal static class QemuRecipe
{
    /// <summary>The images' repository.</summary>
    public const string Repository = "archazure/qemu";

    /// <summary>The emulator, the image tool, the UEFI firmware.</summary>
    public static IReadOnlyList<string> Packages { get; } = ["qemu-system-x86", "qemu-img", "edk2-ovmf"];

    /// <summary>The image's name: its tag begins with the builder's and changes with everything that goes into it.</summary>
    public static string Image(string builderImage) =>
        $"{Repository}:{TagStart(builderImage)}"
        + Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', Packages))))[..8].ToLowerInvariant();

    /// <summary>What the tags of all images made of a builder's begin with, whichever version of this module made them.</summary>
    public static string TagStart(string builderImage) => DockerEngine.SplitImage(builderImage).Tag + "-";
}
