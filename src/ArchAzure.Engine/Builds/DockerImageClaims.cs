using System.Net;
using ArchAzure.Bootstrap;
using ArchAzure.Containers;
using Docker.DotNet;

namespace ArchAzure.Builds;

/// <summary>
/// Which builds use which Docker images. Builds of the same release and mirror share them, so each build gives those it uses a name of
/// its own too, <c>archazure/build:ID-builder</c>: an image goes with the last build that has it.
/// </summary>
internal static class DockerImageClaims
{
    /// <summary>Marks the images of a build as used by it.</summary>
    public static async Task ClaimAsync(DockerEngine docker, ArchBuild build, CancellationToken cancellationToken)
    {
        foreach (var (image, claim) in Claims(build))
        {
            await docker.ClaimImageAsync(image, claim, cancellationToken);
        }
    }

    /// <summary>Takes the marks of a build away, and removes the images that no other build uses.</summary>
    /// <param name="docker">The engine.</param>
    /// <param name="build">The build.</param>
    /// <param name="keep">Whether to leave the images.</param>
    /// <param name="reporter">Told which were removed, and which stay although they should go.</param>
    /// <param name="cancellationToken">Stops between two removals.</param>
    /// <returns>How many images were removed.</returns>
    public static async Task<int> ReleaseAsync(
        DockerEngine docker, ArchBuild build, bool keep, IReporter reporter, CancellationToken cancellationToken)
    {
        var removed = 0;
        foreach (var (image, claim) in Claims(build))
        {
            await docker.RemoveImageAsync(claim, cancellationToken);
            if (keep)
            {
                continue;
            }

            if ((await docker.ImageNamesAsync(image, cancellationToken)).Any(DockerEngine.IsClaim))
            {
                reporter.Information($"The image {image} stays: another build uses it.");
                continue;
            }

            // QEMU's images stand on the builder's.
            var machines = image == build.Bootstrap!.BuilderImage
                ? await docker.FindImagesAsync(QemuRecipe.Repository, QemuRecipe.TagStart(image), cancellationToken)
                : [];
            foreach (var name in machines.Append(image))
            {
                removed += await RemoveAsync(docker, name, reporter, cancellationToken) ? 1 : 0;
            }
        }

        return removed;
    }

    private static async Task<bool> RemoveAsync(DockerEngine docker, string image, IReporter reporter, CancellationToken cancellationToken)
    {
        try
        {
            var removed = await docker.RemoveImageAsync(image, cancellationToken);
            if (removed)
            {
                reporter.Verbose($"removed image {image}");
            }

            return removed;
        }
        catch (DockerApiException e) when (e.StatusCode == HttpStatusCode.Conflict)
        {
            reporter.Warning($"The image {image} stays: a container or another image uses it. Remove it later: docker image rm {image}");
            return false;
        }
    }

    /// <summary>The builder's first: it stands on the other.</summary>
    private static IEnumerable<(string Image, string Claim)> Claims(ArchBuild build) => build.Bootstrap is { } bootstrap
        ?
        [
            (bootstrap.BuilderImage, $"{DockerEngine.ClaimRepository}:{build.Id:N}-builder"),
            (bootstrap.BootstrapImage, $"{DockerEngine.ClaimRepository}:{build.Id:N}-bootstrap"),
        ]
        : [];
}
