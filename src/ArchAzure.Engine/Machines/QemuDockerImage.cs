using ArchAzure.Bootstrap;
using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.IO;
using ArchAzure.SimulatedAzure;
using ArchAzure.Target;

namespace ArchAzure.Machines;

/// <summary>The Docker image that runs a build's virtual machines: its builder's image and QEMU, from the build's mirror.</summary>
internal static class QemuDockerImage
{
    /// <summary>The label with the path of the UEFI firmware's code in the image; empty where it has none.</summary>
    public const string FirmwareLabel = "archazure.qemu.firmware";

    /// <summary>The emulator in the image.</summary>
    public const string Emulator = "/usr/bin/qemu-system-x86_64";

    public const string ImageTool = "/usr/bin/qemu-img";

    private const string Activity = "Test-AzureVhd";

    /// <summary>Gives the image's name; the image is made where it is missing.</summary>
    /// <exception cref="ArchAzureException">
    /// The build has no builder image, the mirror did not deliver, or another run works on the build.
    /// </exception>
    public static async Task<string> EnsureAsync(
        DockerEngine docker, ArchBuild build, IReporter reporter, CancellationToken cancellationToken)
    {
        var builderImage = build.Bootstrap!.BuilderImage;
        var image = QemuRecipe.Image(builderImage);
        if (await docker.ImageExistsAsync(image, cancellationToken))
        {
            return image;
        }

        var directory = new WorkDirectory(build.WorkDirectory);
        using var session = await BuildSession.OpenAsync(directory, reporter, cancellationToken);
        if (await docker.ImageExistsAsync(image, cancellationToken))
        {
            return image;
        }

        reporter.Information($"Making the image {image}, which runs QEMU in Docker; it is kept for the next time.");
        try
        {
            return await session.LogAsync(
                Path.Combine(directory.LogFolder, "qemu.log"), log => MakeAsync(session, image, log, cancellationToken), cancellationToken);
        }
        finally
        {
            reporter.Progress(new(Activity, "done", Completed: true));
        }
    }

    private static async Task<string> MakeAsync(BuildSession session, string image, StepLog log, CancellationToken cancellationToken)
    {
        var (directory, build, reporter) = (session.Directory, session.Build, session.Reporter);
        var settings = new StepRequest().SettingsOf(directory, build);
        var (mirror, cache) = (settings.PackageMirror, new PackageCache(directory.PackageCache, settings.SharedPackageCache));
        var spec = new BuilderSpec
        {
            Image = build.Bootstrap!.BuilderImage,
            BuildId = build.Id,
            Purpose = "qemu",
            Network = BuilderSpec.NetworkFor(mirror),
            Mounts = cache.Open(),
        };
        await using var builder = await Builder.StartAsync(session.Docker, spec, log, cancellationToken);
        reporter.Progress(new(Activity, "making QEMU's image: packages"));
        await builder.WriteFileAsync(BuilderRecipe.MirrorListPath, BuilderRecipe.MirrorList(mirror), cancellationToken);
        await cache.UseAsync(
            builder,
            () => Pacman.UpgradeBuilderAsync(builder, QemuRecipe.Packages, line => Show(line, reporter), cancellationToken),
            cancellationToken);

        var version = await builder.RunAsync([Emulator, "--version"], null, cancellationToken);
        QemuTools.CheckVersion(Emulator, version.Output, "The build's mirror is of an older date: use a newer one, or a QEMU of the host.");
        var found = await builder.RunAsync(
            ["ls", "--", .. UefiFirmware.KnownPlaces.SelectMany(firmware => (string[])[firmware.Code, firmware.Variables])],
            new CommandOptions { AllowFailure = true }, cancellationToken);
        var labels = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            [DockerEngine.BuildLabel] = build.Id.ToString(),
            [FirmwareLabel] = FirmwareIn(found.Output.Split('\n'))?.Code ?? "",
        };
        await builder.CommitAsync(image, labels, cancellationToken);
        return image;
    }

    /// <summary>The first known firmware both of whose files are among those that are there.</summary>
    internal static UefiFirmware? FirmwareIn(IReadOnlyCollection<string> files) =>
        UefiFirmware.KnownPlaces.FirstOrDefault(firmware =>
            files.Contains(firmware.Code, StringComparer.Ordinal) && files.Contains(firmware.Variables, StringComparer.Ordinal));

    private static void Show(string line, IReporter reporter)
    {
        if (line.StartsWith("installing ", StringComparison.Ordinal) || line.StartsWith("upgrading ", StringComparison.Ordinal))
        {
            reporter.Progress(new(Activity, $"making QEMU's image: {line.TrimEnd('.')}", Minor: true));
        }
    }
}
