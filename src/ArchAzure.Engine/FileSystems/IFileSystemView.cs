namespace ArchAzure.FileSystems;

/// <summary>What a file is.</summary>
internal enum FileType
{
    /// <summary>None of the others; only damaged images have such.</summary>
    Unknown,

    /// <summary>A regular file.</summary>
    File,

    /// <summary>A directory.</summary>
    Directory,

    /// <summary>A symbolic link.</summary>
    SymbolicLink,

    /// <summary>A device node, a FIFO or a socket.</summary>
    Special,
}

/// <summary>What <c>stat</c> would say of a file in an image.</summary>
/// <param name="Type">What it is.</param>
/// <param name="Mode">The permission bits (07777). File systems without such say 0755.</param>
/// <param name="UserId">The owner.</param>
/// <param name="GroupId">The group.</param>
/// <param name="Size">Bytes; for a symbolic link the length of its target.</param>
/// <param name="LinkTarget">Where a symbolic link points, as written; else null.</param>
internal sealed record FileStatus(FileType Type, int Mode, uint UserId, uint GroupId, long Size, string? LinkTarget = null)
{
    /// <summary>Whether anyone may execute it.</summary>
    public bool IsExecutable => Type == FileType.File && (Mode & 0b001_001_001) != 0;
}

/// <summary>
/// A file system in a disk image, read without mounting. Paths are absolute, with '/'; symbolic links are followed inside the image only.
/// Every member throws <see cref="ArchAzureException"/> (<c>ImageDamaged</c>, <c>ImageNotReadable</c>, <c>ImageFileTooLarge</c>,
/// <c>CheckLimitReached</c>) where the image is damaged, uses an unknown feature or asks for too much. Not safe for use by several
/// threads at once.
/// </summary>
internal interface IFileSystemView
{
    /// <summary>Type, UUID and label.</summary>
    FileSystemIdentity Identity { get; }

    /// <summary>What pays for the reads; whoever keeps what it reads, or works long on it, pays from it too.</summary>
    ReadBudget Budget { get; }

    /// <summary>The status of a file, or null if there is none (also where a link leads nowhere).</summary>
    /// <param name="path">The file.</param>
    /// <param name="followLinks">False to ask for a final symbolic link itself.</param>
    FileStatus? GetStatus(string path, bool followLinks = true);

    /// <summary>The names in a directory without '.' and '..', in ordinal order; empty where there is no such directory.</summary>
    IReadOnlyList<string> ReadDirectory(string path);

    /// <summary>The content of a regular file, for seeking and reading.</summary>
    /// <exception cref="ArchAzureException">Also <c>ImageFileNotFound</c>.</exception>
    Stream OpenRead(string path);

    /// <summary>The whole content of a regular file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="maximumLength">The most bytes the caller is ready for.</param>
    /// <exception cref="ArchAzureException">Also <c>ImageFileNotFound</c>; <c>ImageFileTooLarge</c> if it is larger.</exception>
    byte[] ReadAllBytes(string path, int maximumLength);
}

/// <summary>Short forms.</summary>
internal static class FileSystemViewExtensions
{
    // No configuration file or unit comes near.
    private const int MaximumTextLength = 1 << 20;

    // What a parsed line takes besides its characters: some objects, and their places in lists.
    private const int CostOfLine = 100;

    /// <summary>Whether there is such a file, directory or link (a link that leads nowhere does not count).</summary>
    public static bool Exists(this IFileSystemView fileSystem, string path) => fileSystem.GetStatus(path) is not null;

    /// <summary>Whether there is such a regular file.</summary>
    public static bool FileExists(this IFileSystemView fileSystem, string path) => fileSystem.GetStatus(path)?.Type == FileType.File;

    /// <summary>Whether there is such a directory.</summary>
    public static bool DirectoryExists(this IFileSystemView fileSystem, string path) =>
        fileSystem.GetStatus(path)?.Type == FileType.Directory;

    /// <summary>A file of text, or null if there is none. What is not UTF-8 becomes U+FFFD.</summary>
    public static string? ReadText(this IFileSystemView fileSystem, string path, int maximumLength = MaximumTextLength) =>
        fileSystem.FileExists(path) ? System.Text.Encoding.UTF8.GetString(fileSystem.ReadAllBytes(path, maximumLength)) : null;

    /// <summary>The lines of such a file, without ends of line; none if there is no such file.</summary>
    public static IEnumerable<string> ReadLines(this IFileSystemView fileSystem, string path) =>
        fileSystem.ReadText(path) is { } text ? fileSystem.Lines(text) : [];

    /// <summary>The lines of a text that was read from the file system; each is paid for when it is asked for.</summary>
    public static IEnumerable<string> Lines(this IFileSystemView fileSystem, string text)
    {
        for (var start = 0; start <= text.Length;)
        {
            var end = text.IndexOf('\n', start) is var found and >= 0 ? found : text.Length;
            fileSystem.Budget.Spend(ReadCost.Memory, CostOfLine + end - start);
            yield return text[start..end].TrimEnd('\r');
            start = end + 1;
        }
    }
}
