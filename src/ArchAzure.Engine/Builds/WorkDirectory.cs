using ArchAzure.IO;

namespace ArchAzure.Builds;

/// <summary>The folder of one build and the names of what lies in it.</summary>
internal sealed class WorkDirectory
{
    /// <summary>Names a work directory; nothing is touched.</summary>
    public WorkDirectory(string path) => Path = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(path));

    /// <summary>The full path.</summary>
    public string Path { get; }

    /// <summary>The build's state.</summary>
    public string BuildFile => In("build.json");

    /// <summary>The lock of the run at work here.</summary>
    public string LockFile => In("build.lock");

    public string SettingsFile => In("settings.env");

    /// <summary>The folder of the logs, one a step.</summary>
    public string LogFolder => In("logs");

    public string DownloadFolder => In("download");

    /// <summary>pacman's package cache.</summary>
    public string PackageCache => In("cache");

    /// <summary>The raw disk of step 2.</summary>
    public string Disk => In("disk.img");

    public string Log(int step) => System.IO.Path.Combine(LogFolder, $"{step}-{StepName.All[step - 1]}.log");

    /// <summary>What a step leaves of the target.</summary>
    public string Snapshot(int step) => In($"target-{step}.tar.zst");

    /// <summary>The snapshots that together are the target at the end of a step: the whole one, and what the next step changed.</summary>
    public IReadOnlyList<string> Snapshots(int step) => [.. Enumerable.Range(3, Math.Max(step - 2, 0)).Select(Snapshot)];

    /// <summary>The VHD of a release, unless the user names another place.</summary>
    public string Vhd(string version) => In($"ArchLinux-{version}.vhd");

    /// <summary>What the steps make here, and what is left of each where a run was killed; without the VHD.</summary>
    public IEnumerable<string> StepFiles =>
        [.. new[] { Disk, Snapshot(3), Snapshot(4), BuildFile }.SelectMany(file => new[] { file + ".part", file }), SettingsFile + ".part"];

    /// <summary>Makes the folder where needed and checks that a build can live in it.</summary>
    /// <exception cref="ArchAzureException"><c>WorkDirectoryNotWritable</c>, <c>WorkDirectoryIsFile</c> or
    /// <c>NoSparseFiles</c>.</exception>
    public void Prepare()
    {
        if (File.Exists(Path))
        {
            throw new ArchAzureException(
                "WorkDirectoryIsFile", ErrorKind.InvalidInput, $"'{Path}' is a file. Name a folder as the work directory.", Path);
        }

        try
        {
            NewFile.CreateFolder(Path);
            if (!SparseFile.IsSupportedIn(Path))
            {
                throw new ArchAzureException(
                    "NoSparseFiles",
                    ErrorKind.ResourceUnavailable,
                    $"The file system of '{Path}' has no sparse files, and a disk image would take its whole size. Use a work directory "
                    + "on ext4, XFS, btrfs, APFS or NTFS.",
                    Path);
            }
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw new ArchAzureException(
                "WorkDirectoryNotWritable", ErrorKind.PermissionDenied, $"The work directory '{Path}' cannot be written: "
                + $"{e.Message.TrimEnd('.')}. Change its permissions or its disk, or name another.", Path, e);
        }
    }

    /// <summary>
    /// Refuses a work directory in which others can plant what this user's build then reads or writes: one that belongs to, or holds
    /// something of, a user other than this one and root, or that everyone may write to. Whoever shares its group is trusted.
    /// </summary>
    /// <exception cref="ArchAzureException"><c>WorkDirectoryNotOwn</c>.</exception>
    public void RequireOwn()
    {
        if (Posix.EffectiveOwner is not { User: var user } || OperatingSystem.IsWindows() || !Directory.Exists(Path))
        {
            return;
        }

        // The folder itself may be named through a link; "/." is what the link leads to.
        foreach (var path in Directory.EnumerateFileSystemEntries(Path).Prepend(Path + "/."))
        {
            if (Posix.Owner(path) is { } owner && owner != user && owner != 0)
            {
                throw NotOwn(path, $"belongs to the user with the number {owner}, who could have the build write to files of yours");
            }
        }

        foreach (var path in new[] { Path, DownloadFolder, PackageCache, LogFolder }.Where(Directory.Exists))
        {
            if (File.GetUnixFileMode(path).HasFlag(UnixFileMode.OtherWrite))
            {
                throw NotOwn(path, "can be written by every user of this machine, who could have the build write to files of yours");
            }
        }
    }

    private ArchAzureException NotOwn(string path, string reason)
    {
        var name = path.EndsWith("/.", StringComparison.Ordinal) ? Path : path;
        return new(
            "WorkDirectoryNotOwn",
            ErrorKind.PermissionDenied,
            $"The work directory '{Path}' is not used: '{name}' {reason}. Take a new folder, or make it yours alone: check what is in it, "
            + "then chown it and chmod o-w it.",
            name);
    }

    /// <summary>Whether a file lies in the folder itself.</summary>
    public bool Holds(string path) => System.IO.Path.GetDirectoryName(path) == Path;

    private string In(string name) => System.IO.Path.Combine(Path, name);
}
