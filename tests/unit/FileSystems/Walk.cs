using System.Security.Cryptography;
using ArchAzure.FileSystems;

namespace ArchAzure.UnitTests.FileSystems;

/// <summary>Reads everything there is in an image.</summary>
internal static class Walk
{
    /// <summary>
    /// One line for each file: path, type, mode, size, and link target or digest. Meant for images that may be damaged: bounded.
    /// </summary>
    public static List<string> All(IFileSystemView fileSystem, int maximumFiles = 2000, int maximumLength = 1 << 20)
    {
        var lines = new List<string>();
        var pending = new Stack<string>(["/"]);
        while (pending.TryPop(out var directory) && lines.Count < maximumFiles)
        {
            foreach (var name in fileSystem.ReadDirectory(directory).Take(maximumFiles - lines.Count))
            {
                var path = $"{directory.TrimEnd('/')}/{name}";
                var status = fileSystem.GetStatus(path, followLinks: false);
                lines.Add(
                    $"{path} {status?.Type} {Convert.ToString(status?.Mode ?? 0, 8)} "
                    + $"{(status?.Type == FileType.Directory ? 0 : status?.Size)} {Content(fileSystem, path, status, maximumLength)}");
                if (status?.Type == FileType.Directory && path.Length < 500)
                {
                    pending.Push(path);
                }
            }
        }

        lines.Sort(StringComparer.Ordinal);
        return lines;
    }

    private static string? Content(IFileSystemView fileSystem, string path, FileStatus? status, int maximumLength) => status switch
    {
        { Type: FileType.SymbolicLink } => status.LinkTarget,
        { Type: FileType.File } when status.Size <= maximumLength =>
            Convert.ToHexString(SHA256.HashData(fileSystem.ReadAllBytes(path, maximumLength))),
        _ => "",
    };
}
