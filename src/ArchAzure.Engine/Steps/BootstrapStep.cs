using System.Text.RegularExpressions;
using ArchAzure.Bootstrap;
using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.IO;
using ArchAzure.Target;

namespace ArchAzure.Steps;

/// <summary>Step 1, New-ArchBootstrap: a verified release becomes a Docker image, and that the builder.</summary>
internal sealed partial class BootstrapStep : BuildStep
{
    private const string Sha256Label = "archazure.bootstrap.sha256";
    private const string SignerLabel = "archazure.bootstrap.signed-by";

    public override string Name => StepName.Bootstrap;

    public override IEnumerable<string> OtherInputs(StepContext context) => [BuilderRecipe.PacmanConfiguration, .. BuilderRecipe.Tools];

    public override Task<bool> ProductExistsAsync(StepContext context, CancellationToken cancellationToken) =>
        context.Docker.ImageExistsAsync(context.Build.Bootstrap!.BuilderImage, cancellationToken);

    public override bool MadeTheSame(ArchBuild before, ArchBuild after) => before.Bootstrap == after.Bootstrap;

    public override async Task<ArchBuild> RunAsync(StepContext context, CancellationToken cancellationToken)
    {
        var settings = context.Settings;
        var key = settings.ReleaseKey is { } path ? ReleaseKey.LoadFile(path) : ReleaseKey.Arch;
        using var http = ArchHttp.CreateClient();
        await RequireSnapshotAsync(context, http, cancellationToken);
        var archive = settings.BootstrapPath is { } local
            ? LocalArchive(local, settings.ArchVersion)
            : await FindAsync(context, http, cancellationToken);

        var image = $"archazure/bootstrap:{archive.Version}";
        var reuse = settings.ReuseDockerImage && !context.Request.Force;
        var labels = await context.Docker.ImageLabelsAsync(image, cancellationToken);
        string sha256;
        if (reuse && archive.Sha256 is not null && labels is not null
            && labels.TryGetValue(Sha256Label, out var imported) && imported == archive.Sha256
            && labels.TryGetValue(SignerLabel, out var signer) && signer == key.Fingerprint)
        {
            context.Reporter.Verbose($"image {image} is there already");
            sha256 = imported;
        }
        else
        {
            if (archive.Release is { } release)
            {
                await DownloadAsync(context, http, release, archive, cancellationToken);
            }

            context.Say($"checking {archive.FileName}", 0);
            var verifier = new ReleaseVerifier { SetAside = archive.Release is not null };
            var verified = await verifier.VerifyAsync(
                archive.Path, archive.Sha256, archive.Path + ".sig", key, context.Reporter, cancellationToken);
            sha256 = verified.Sha256;
            context.Say($"importing {archive.FileName} into Docker");
            await ImportAsync(
                context,
                archive,
                image,
                new Dictionary<string, string>(StringComparer.Ordinal) { [Sha256Label] = sha256, [SignerLabel] = key.Fingerprint },
                cancellationToken);
        }

        var builderImage = BuilderRecipe.Image(archive.Version, sha256, settings.PackageMirror);
        if (reuse && await context.Docker.ImageExistsAsync(builderImage, cancellationToken))
        {
            context.Reporter.Verbose($"image {builderImage} is there already");
        }
        else
        {
            await MakeBuilderAsync(context, image, builderImage, cancellationToken);
        }

        return context.Build with
        {
            Bootstrap = new BootstrapProduct(archive.Version, archive.FileName, sha256, key.Fingerprint, image, builderImage),
        };
    }

    /// <summary>A day that the archive does not have is told here, not by pacman in the middle of the work.</summary>
    private static async Task RequireSnapshotAsync(StepContext context, HttpClient http, CancellationToken cancellationToken)
    {
        if (context.Settings.Snapshot is not { } day)
        {
            return;
        }

        var folder = context.Settings.PackageMirror.Replace("$repo", "core", StringComparison.Ordinal)
            .Replace("$arch", context.Settings.Architecture, StringComparison.Ordinal);
        var database = new Uri($"{folder}/core.db");
        if (!await ArchHttp.ExistsAsync(http, database, new TransferLimits(), context.Reporter, cancellationToken))
        {
            throw new ArchAzureException(
                "SnapshotNotFound", ErrorKind.NotFound, $"The archive has no packages of {day}: there is no {database}. Name another day "
                + "with -Snapshot or SNAPSHOT, at the latest yesterday.", day);
        }
    }

    private static BootstrapArchiveFile LocalArchive(string path, string version)
    {
        path = Path.GetFullPath(path);
        if (!File.Exists(path))
        {
            throw new ArchAzureException(
                "BootstrapNotFound",
                ErrorKind.NotFound,
                $"There is no bootstrap archive '{path}'. Correct -BootstrapPath, or leave it out to download one.",
                path);
        }

        var named = FileVersion().Match(Path.GetFileName(path));
        if (!named.Success && version == "latest")
        {
            throw new ArchAzureException(
                "BootstrapVersionUnknown", ErrorKind.InvalidInput, $"The name of '{path}' does not tell its version. Give it with "
                + "-Version YYYY.MM.DD, or name the file archlinux-bootstrap-YYYY.MM.DD-x86_64.tar.zst.", path);
        }

        return new BootstrapArchiveFile(named.Success ? named.Groups[1].Value : version, path, null, null);
    }

    private static async Task<BootstrapArchiveFile> FindAsync(StepContext context, HttpClient http, CancellationToken cancellationToken)
    {
        context.Say("looking for the release");
        var release = await new ReleaseIndex(http, context.Reporter, context.Settings.Architecture).FindAsync(
            context.Settings.ReleaseUrl, context.Settings.ArchVersion, cancellationToken, notAfter: context.Settings.Snapshot);
        return new BootstrapArchiveFile(
            release.Version, Path.Combine(context.Directory.DownloadFolder, release.FileName), release.Sha256, release);
    }

    private static async Task DownloadAsync(
        StepContext context, HttpClient http, ArchRelease release, BootstrapArchiveFile archive, CancellationToken cancellationToken)
    {
        NewFile.CreateFolder(context.Directory.DownloadFolder);
        var downloader = new Downloader(http, context.Reporter);
        if (!File.Exists(archive.Path))
        {
            await downloader.DownloadAsync(
                release.Uri, archive.Path, new DownloadOptions { ExpectedSha256 = release.Sha256 }, cancellationToken);
        }

        await downloader.DownloadAsync(
            release.SignatureUri, archive.Path + ".sig", new DownloadOptions { Overwrite = true }, cancellationToken);
    }

    /// <summary>Streams the archive's root into an image; nothing is unpacked on the host.</summary>
    private static Task ImportAsync(
        StepContext context,
        BootstrapArchiveFile archive,
        string image,
        IReadOnlyDictionary<string, string> labels,
        CancellationToken cancellationToken) =>
        context.Docker.ImportImageAsync(
            image,
            async (stream, token) =>
            {
                await using var input = File.OpenRead(archive.Path);
                await BootstrapArchive.RewriteAsync(input, archive.FileName, stream, context.Settings.Architecture, null, token);
            },
            labels,
            cancellationToken);

    private async Task MakeBuilderAsync(
        StepContext context, string bootstrapImage, string builderImage, CancellationToken cancellationToken)
    {
        context.Say("making the builder: keyring");
        var cache = context.PackageCache;
        var spec = new BuilderSpec
        {
            Image = bootstrapImage,
            BuildId = context.Build.Id,
            Purpose = "bootstrap",
            HasServer = true,
            Network = context.MirrorNetwork,
            Mounts = cache.Open(),
        };
        await using var builder = await Builder.StartAsync(context.Docker, spec, context.Log, cancellationToken);
        await builder.WriteFileAsync("/etc/pacman.conf", BuilderRecipe.PacmanConfiguration, cancellationToken);
        await builder.WriteFileAsync(
            BuilderRecipe.MirrorListPath, BuilderRecipe.MirrorList(context.Settings.PackageMirror), cancellationToken);
        await builder.RunAsync(["pacman-key", "--init"], null, cancellationToken);
        await builder.RunAsync(["pacman-key", "--populate", "archlinux"], null, cancellationToken);

        context.Say("making the builder: packages");
        await cache.UseAsync(
            builder,
            () => Pacman.UpgradeBuilderAsync(builder, BuilderRecipe.Tools, line => ShowPackage(context, line), cancellationToken),
            cancellationToken);
        await builder.CommitAsync(
            builderImage, new Dictionary<string, string>(StringComparer.Ordinal) { ["archazure.builder"] = Name }, cancellationToken);
    }

    private static void ShowPackage(StepContext context, string line)
    {
        if (line.StartsWith("installing ", StringComparison.Ordinal) || line.StartsWith("upgrading ", StringComparison.Ordinal))
        {
            context.Say($"making the builder: {line.TrimEnd('.')}", minor: true);
        }
    }

    [GeneratedRegex(@"(\d{4}\.\d{2}\.\d{2})", RegexOptions.None, 1000)]
    private static partial Regex FileVersion();

    private sealed record BootstrapArchiveFile(string Version, string Path, string? Sha256, ArchRelease? Release)
    {
        public string FileName => System.IO.Path.GetFileName(Path);
    }
}
