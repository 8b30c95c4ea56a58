namespace ArchAzure.IO;

/// <summary>
/// Makes files at names that others can guess. What has the name goes first and the new file is made exclusively (O_EXCL), so a
/// link that somebody planted there never leads the writing to another file. The umask decides about modes, except that no file
/// or folder is ever writable by everyone.
/// </summary>
internal static class NewFile
{
    private const UnixFileMode PlainMode =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead;

    private const UnixFileMode FolderMode = PlainMode | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    /// <summary>Makes a file and opens it.</summary>
    /// <exception cref="IOException">It cannot be made, or somebody was quicker to put something else there.</exception>
    public static FileStream Create(string path, FileShare share = FileShare.None)
    {
        File.Delete(path);
        return Open(path, FileMode.CreateNew, share);
    }

    /// <summary>Makes an empty file.</summary>
    public static void CreateEmpty(string path) => Create(path).Dispose();

    /// <summary>Opens a file to write, that another run may hold, or makes it. A link in its place goes.</summary>
    public static FileStream OpenOrCreate(string path, FileShare share)
    {
        if (new FileInfo(path).LinkTarget is not null)
        {
            File.Delete(path);
        }

        return Open(path, FileMode.OpenOrCreate, share);
    }

    /// <summary>Makes a folder where there is none.</summary>
    public static void CreateFolder(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(path);
        }
        else
        {
            Directory.CreateDirectory(path, FolderMode);
        }
    }

    private static FileStream Open(string path, FileMode mode, FileShare share)
    {
        var options = new FileStreamOptions { Mode = mode, Access = FileAccess.ReadWrite, Share = share, BufferSize = 0 };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = PlainMode;
        }

        return new FileStream(path, options);
    }
}
