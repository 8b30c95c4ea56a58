using ArchAzure.IO;
using ArchAzure.Target;

namespace ArchAzure.Builds;

/// <summary>What lies next to a VHD while it is made.</summary>
internal static class VhdFiles
{
    /// <summary>The disk that becomes the VHD.</summary>
    public static string ImagePart(string vhd) => vhd + ".part";

    /// <summary>The root file system, where it is made in a file of its own.</summary>
    public static string RootPart(string vhd) => vhd + ".root.part";

    /// <summary>What a killed run may leave where the VHD was to be.</summary>
    public static IEnumerable<string> Parts(string vhd) =>
        [
            ImagePart(vhd), RootPart(vhd), PackageList.PathBeside(vhd) + ".part",
            Path.Combine(Path.GetDirectoryName(vhd)!, ChecksumFile.Name + ".part"),
        ];
}
