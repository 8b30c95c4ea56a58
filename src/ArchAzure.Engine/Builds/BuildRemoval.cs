using ArchAzure.Containers;
using ArchAzure.IO;
using ArchAzure.Target;
using ArchAzure.Vhd;

namespace ArchAzure.Builds;

/// <summary>Removes a build.</summary>
internal static class BuildRemoval
{
    /// <summary>Removes containers, images and files of a build. What ArchAzure did not make stays.</summary>
    /// <param name="directory">The work directory.</param>
    /// <param name="includeVhd">Whether the VHD goes too.</param>
    /// <param name="keepImages">Whether the Docker images stay.</param>
    /// <param name="reporter">Gets what is removed.</param>
    /// <param name="cancellationToken">Stops between two removals.</param>
    /// <returns>How many files, folders, images and containers were removed.</returns>
    public static async Task<int> RunAsync(
        WorkDirectory directory, bool includeVhd, bool keepImages, IReporter reporter, CancellationToken cancellationToken)
    {
        // A damaged build.json must not keep its owner from clearing up.
        ArchBuild? build = null;
        try
        {
            build = BuildStore.Load(directory);
        }
        catch (ArchAzureException e) when (e.ErrorId is "BuildFileDamaged" or "BuildFileTooNew")
        {
            reporter.Warning($"{e.Message} Its containers and images, if any, stay: docker ps -a, docker image ls 'archazure/*'.");
        }

        var removed = 0;
        var session = build is null ? null : await BuildSession.OpenAsync(directory, reporter, cancellationToken);
        using (session ?? (IDisposable)BuildLock.Take(directory))
        {
            if (session is not null)
            {
                removed += await RemoveFromDockerAsync(session, keepImages, cancellationToken);
            }

            List<string> files = [];
            if ((build?.VhdPath ?? (build?.Version is { } version ? directory.Vhd(version) : null)) is { } vhd)
            {
                files.AddRange(VhdFiles.Parts(vhd));
                if (includeVhd && build?.Vhd is not null)
                {
                    VhdFiles.RemoveChecksums(vhd);
                    files.AddRange(VhdFiles.Products(vhd));
                }
            }

            // build.json last: whoever is stopped before can begin again.
            foreach (var file in files.Concat(directory.StepFiles).Where(File.Exists))
            {
                reporter.Verbose($"remove {file}");
                File.Delete(file);
                removed++;
            }

            foreach (var folder in new[] { directory.PackageCache, directory.DownloadFolder, directory.LogFolder }.Where(Directory.Exists))
            {
                reporter.Verbose($"remove {folder}");
                Directory.Delete(folder, recursive: true);
                removed++;
            }
        }

        File.Delete(directory.LockFile);
        if (!Directory.EnumerateFileSystemEntries(directory.Path).Any())
        {
            Directory.Delete(directory.Path);
        }

        return removed;
    }

    private static async Task<int> RemoveFromDockerAsync(BuildSession session, bool keepImages, CancellationToken cancellationToken)
    {
        var (directory, build, docker) = (session.Directory, session.Build, session.Docker);
        var removed = await docker.RemoveContainersAsync(build.Id, cancellationToken);
        if (build.Bootstrap is not { } bootstrap)
        {
            return removed;
        }

        if (Posix.EffectiveOwner is { User: not 0 }
            && Directory.Exists(directory.PackageCache)
            && await docker.ImageExistsAsync(bootstrap.BuilderImage, cancellationToken))
        {
            // A killed run may have left files of the builder's root in the cache.
            var spec = new BuilderSpec
            {
                Image = bootstrap.BuilderImage, BuildId = build.Id, Purpose = "remove",
                Mounts = [new(directory.PackageCache, PackageCache.OwnPath)],
            };
            await session.LogAsync(
                Path.Combine(directory.LogFolder, "remove.log"),
                async log =>
                {
                    await using var builder = await Builder.StartAsync(docker, spec, log, cancellationToken);
                    await builder.GiveToUserAsync(PackageCache.OwnPath, cancellationToken);
                    return build;
                },
                cancellationToken);
        }

        return removed + await DockerImageClaims.ReleaseAsync(docker, build, keepImages, session.Reporter, cancellationToken);
    }
}
