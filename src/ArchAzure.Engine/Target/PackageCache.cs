using ArchAzure.Containers;
using ArchAzure.IO;

namespace ArchAzure.Target;

/// <summary>
/// The packages that pacman has downloaded: those of one build, which its builders write, and those that all builds of a user share, which
/// builders only read. pacman checks the signature of each package before it installs it, wherever it comes from.
/// </summary>
/// <param name="own">The build's own.</param>
/// <param name="shared">What the builds share.</param>
internal sealed class PackageCache(string own, string shared)
{
    /// <summary>Where the build's own is mounted, in a builder.</summary>
    public const string OwnPath = "/work/cache";

    /// <summary>Where the shared one is mounted.</summary>
    public const string SharedPath = "/work/packages";

    private const string SharedSetting = "PACKAGE_CACHE";

    private static readonly TimeSpan s_oldest = TimeSpan.FromDays(90);

    /// <summary>Makes both folders where they are missing.</summary>
    /// <returns>What a builder mounts.</returns>
    /// <exception cref="ArchAzureException"><c>PackageCacheRefused</c>.</exception>
    public IReadOnlyList<BindMount> Open()
    {
        NewFile.CreateFolder(own);
        try
        {
            NewFile.CreateFolder(shared);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ArchAzureException(
                "PackageCacheRefused",
                ErrorKind.PermissionDenied,
                $"The folder '{shared}' of the packages that builds share cannot be made: {e.Message} Name another one with the setting "
                + $"{SharedSetting}.",
                shared,
                e);
        }

        return [new(own, OwnPath), new(shared, SharedPath, ReadOnly: true) { Setting = SharedSetting }];
    }

    /// <summary>Lets pacman work, and shares what it has installed without an error.</summary>
    /// <param name="builder">With the mounts.</param>
    /// <param name="install">The work.</param>
    /// <param name="cancellationToken">Ends the builder; what is downloaded stays.</param>
    public async Task UseAsync(Builder builder, Func<Task> install, CancellationToken cancellationToken)
    {
        try
        {
            await install();
        }
        finally
        {
            if (!cancellationToken.IsCancellationRequested)
            {
                await builder.GiveToUserAsync(OwnPath, cancellationToken);
            }
        }

        Share();
    }

    /// <summary>
    /// Moves the build's packages, and removes what no build has used for 90 days. A file that is there already is replaced in one rename:
    /// several builds may do so at once, and others read it meanwhile.
    /// </summary>
    private void Share()
    {
        // A package's signature first: pacman refuses a package without one.
        var files = new DirectoryInfo(own).GetFiles("*.pkg.tar*").OrderByDescending(file => file.Extension == ".sig");
        foreach (var file in files.Where(file => file.LinkTarget is null && file.Extension != ".part" && !Posix.IsSpecial(file.FullName)))
        {
            // A rename between two file systems is a copy, and may end half way.
            var part = Path.Combine(shared, $".{Guid.NewGuid():N}.part");
            try
            {
                File.Move(file.FullName, part);
                File.Move(part, Path.Combine(shared, file.Name), overwrite: true);
            }
            finally
            {
                File.Delete(part);
            }
        }

        foreach (var file in new DirectoryInfo(shared).GetFiles().Where(file => DateTime.UtcNow - LastUse(file) > s_oldest))
        {
            file.Delete();
        }
    }

    private static DateTime LastUse(FileInfo file) =>
        file.LastAccessTimeUtc > file.LastWriteTimeUtc ? file.LastAccessTimeUtc : file.LastWriteTimeUtc;
}
