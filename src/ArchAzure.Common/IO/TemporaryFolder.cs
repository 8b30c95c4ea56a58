namespace ArchAzure.IO;

/// <summary>
/// A folder below the system's temporary one that goes with its owner: on disposal, or, where the owner was killed, when the next is made.
/// A lock of the kernel's (flock, share mode) in it tells whether the owner lives.
/// </summary>
internal sealed class TemporaryFolder : IDisposable
{
    private const string LockName = ".lock";

    /// <summary>A lock younger than this may be one that its owner has made and not taken yet.</summary>
    private static readonly TimeSpan s_youth = TimeSpan.FromSeconds(10);

    private readonly FileStream _lock;
    private bool _kept;

    private TemporaryFolder(DirectoryInfo directory, FileStream held)
    {
        Directory = directory;
        _lock = held;
    }

    /// <summary>The folder; only this user may enter it.</summary>
    public DirectoryInfo Directory { get; }

    /// <summary>Makes a folder, and removes those of this prefix whose owners were killed.</summary>
    /// <param name="prefix">What its name begins with.</param>
    /// <exception cref="ArchAzureException"><c>TemporaryFolderMissing</c>.</exception>
    public static TemporaryFolder Create(string prefix)
    {
        var parent = Path.GetTempPath();
        if (!System.IO.Directory.Exists(parent))
        {
            // .NET would make it, as root wherever that is.
            throw new ArchAzureException(
                "TemporaryFolderMissing", ErrorKind.NotFound,
                $"The folder for temporary files, '{parent}', does not exist. Make it, or set TMPDIR to one that does.", parent);
        }

        foreach (var path in System.IO.Directory.EnumerateDirectories(parent, prefix + "*"))
        {
            RemoveIfLeft(path);
        }

        var directory = System.IO.Directory.CreateTempSubdirectory(prefix);
        return new TemporaryFolder(directory, NewFile.Create(Path.Combine(directory.FullName, LockName)));
    }

    /// <summary>Leaves the folder where it is, for its user.</summary>
    public void Keep()
    {
        _kept = true;
        _lock.Dispose();
        File.Delete(_lock.Name);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _lock.Dispose();
        Directory.Refresh();
        if (Directory.Exists && !_kept)
        {
            Directory.Delete(recursive: true);
        }
    }

    /// <summary>Not one of another user, not what a link leads to, not one whose lock is held or missing.</summary>
    private static void RemoveIfLeft(string path)
    {
        var held = new FileInfo(Path.Combine(path, LockName));
        try
        {
            if (new DirectoryInfo(path).LinkTarget is not null || Posix.Owner(path) != Posix.EffectiveOwner?.User
                || !held.Exists || held.LinkTarget is not null || DateTime.UtcNow - held.LastWriteTimeUtc < s_youth)
            {
                return;
            }

            using (held.Open(FileMode.Open, FileAccess.ReadWrite, FileShare.None))
            {
                System.IO.Directory.Delete(path, recursive: true);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Its owner lives, or another run was quicker.
        }
    }
}
