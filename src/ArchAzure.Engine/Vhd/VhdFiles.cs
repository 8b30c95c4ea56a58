using ArchAzure.IO;

namespace ArchAzure.Vhd;

/// <summary>What lies next to a VHD. None of it may speak of another VHD: it goes before the VHD is replaced, and comes after.</summary>
internal static class VhdFiles
{
    /// <summary>The disk that becomes the VHD.</summary>
    public static string ImagePart(string vhd) => vhd + ".part";

    /// <summary>The root file system, where it is made in a file of its own.</summary>
    public static string RootPart(string vhd) => vhd + ".root.part";

    /// <summary>The list of the packages in it.</summary>
    public static string PackageList(string vhd) => vhd + ".cdx.json";

    /// <summary>The same, compressed.</summary>
    public static string Compressed(string vhd) => vhd + ".zst";

    /// <summary>The VHD and what is made of it.</summary>
    public static IEnumerable<string> Products(string vhd) => [vhd, PackageList(vhd), Compressed(vhd)];

    /// <summary>What a killed run may leave where the VHD was to be.</summary>
    public static IEnumerable<string> Parts(string vhd) =>
        [
            RootPart(vhd), ChecksumFile.Sha256.PathNextTo(vhd) + ".part", ChecksumFile.FsVerity.PathNextTo(vhd) + ".part",
            .. Products(vhd).Select(product => product + ".part"),
        ];

    /// <summary>Removes the lines of checksum files that speak of a VHD and of what is made of it.</summary>
    public static void RemoveChecksums(string vhd)
    {
        ChecksumFile.FsVerity.Remove(vhd);
        foreach (var product in Products(vhd))
        {
            ChecksumFile.Sha256.Remove(product);
        }
    }

    /// <summary>Removes all that speaks of a VHD, which is then replaced.</summary>
    public static void RemoveAllAbout(string vhd)
    {
        RemoveChecksums(vhd);
        foreach (var product in Products(vhd).Where(product => product != vhd))
        {
            File.Delete(product);
        }
    }

    /// <summary>Computes the SHA-256 of the whole VHD and writes it to <c>SHA256SUMS</c>.</summary>
    /// <returns>64 lower-case hexadecimal digits.</returns>
    public static async Task<string> AddChecksumAsync(string vhd, string activity, IReporter reporter, CancellationToken cancellationToken)
    {
        var progress = new ByteProgress(
            reporter, activity, $"computing the SHA-256 of {Path.GetFileName(vhd)}", new FileInfo(vhd).Length);
        var hash = await SparseFile.Sha256Async(vhd, progress.Report, cancellationToken);
        ChecksumFile.Sha256.Add(vhd, hash);
        return hash;
    }

    /// <summary>Compresses the VHD, and writes the SHA-256 of what comes out to <c>SHA256SUMS</c>.</summary>
    public static async Task AddCompressedAsync(string vhd, string activity, IReporter reporter, CancellationToken cancellationToken)
    {
        var (compressed, part) = (Compressed(vhd), Compressed(vhd) + ".part");
        var progress = new ByteProgress(reporter, activity, $"compressing {Path.GetFileName(vhd)}", SparseFile.AllocatedBytes(vhd));
        try
        {
            string hash;
            using (var file = NewFile.Create(part))
            {
                hash = await SparseZstd.CompressAsync(vhd, file, progress.Report, cancellationToken);
            }

            AtomicFile.Commit(part, compressed);
            ChecksumFile.Sha256.Add(compressed, hash);
        }
        catch
        {
            File.Delete(part);
            throw;
        }
    }
}
