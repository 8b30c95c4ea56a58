using System.Globalization;
using System.Text.RegularExpressions;
using ArchAzure.Containers;

namespace ArchAzure.Target;

/// <summary>Installs packages into the target and into builders, and puts pacman's errors into words.</summary>
internal sealed partial class Pacman(Builder builder, IReporter reporter, string activity)
{
    /// <summary>
    /// Some 14 seconds of pauses: a mirror that is restarted is back by then, and nobody waits long for one that is gone.
    /// </summary>
    private static readonly RetryLimits s_limits = RetryLimits.Default with { FirstPause = TimeSpan.FromSeconds(2) };

    private const string DownloadFailed = "PackageDownloadFailed";
    private const string NotTrusted = "PackageNotTrusted";
    private const string CacheDamaged = "PackageCacheDamaged";

    /// <summary>Installs packages and all they need; what is installed already is brought to the mirror's state along with them.</summary>
    /// <exception cref="ArchAzureException"><c>PackageNotFound</c>, <c>PackageDownloadFailed</c>, <c>PackageNotTrusted</c>,
    /// <c>PackageCacheDamaged</c>, <c>NotEnoughSpace</c> or <c>CommandFailed</c>.</exception>
    public async Task InstallAsync(IReadOnlyList<string> packages, CancellationToken cancellationToken)
    {
        var total = 0;
        var done = 0;

        // --sysupgrade: no partial upgrade when this runs on a later day than the step before.
        await RunAsync(
            builder,
            [
                "pacman", "--root", TargetChroot.Root, "--sync", "--refresh", "--sysupgrade", "--noconfirm", "--needed",
                "--noprogressbar", .. packages,
            ],
            line =>
            {
                if (PackageCount().Match(line) is { Success: true } count)
                {
                    total = int.Parse(count.Groups[1].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture);
                }
                else if (line.StartsWith("installing ", StringComparison.Ordinal)
                    || line.StartsWith("upgrading ", StringComparison.Ordinal))
                {
                    done++;
                    reporter.Progress(new(activity, line.TrimEnd('.'), total == 0 ? null : Math.Min(done * 100 / total, 100), Minor: true));
                }
                else if ((line.StartsWith(':') && !line.Contains("[Y/n]", StringComparison.Ordinal))
                    || line.Contains("downloading", StringComparison.Ordinal))
                {
                    reporter.Progress(
                        new(
                            activity,
                            line.TrimStart(':', ' ').TrimEnd('.'),
                            total == 0 ? null : done * 100 / total,
                            Minor: !line.StartsWith(':')));
                }
            },
            cancellationToken);
    }

    /// <summary>Brings a builder up to the mirror's state and installs packages into it.</summary>
    /// <exception cref="ArchAzureException">As <see cref="InstallAsync"/>.</exception>
    public static async Task UpgradeBuilderAsync(
        Builder builder, IReadOnlyList<string> packages, Action<string>? onLine, CancellationToken cancellationToken)
    {
        // An old release's keyring may not know today's packagers: it comes first, as Arch advises.
        await RunAsync(
            builder, ["pacman", "-Sy", "--noconfirm", "--needed", "--noprogressbar", "archlinux-keyring"], null, cancellationToken);
        await RunAsync(builder, ["pacman", "-Su", "--noconfirm", "--needed", "--noprogressbar", .. packages], onLine, cancellationToken);
        await builder.RunAsync(["gpgconf", "--homedir", "/etc/pacman.d/gnupg", "--kill", "all"], null, cancellationToken);
    }

    /// <summary>
    /// Runs a command of pacman's family and names what went wrong. Where the mirror stalled (pacman gives up after 10 s without a
    /// byte), broke off or was out of order for a moment, the same command runs again: nothing is installed before all is there,
    /// and what is downloaded is kept, down to the last byte of a broken-off file. Hooks and scripts that complain without failing it
    /// become warnings.
    /// </summary>
    /// <param name="builder">Where; with the package cache.</param>
    /// <param name="command">The command.</param>
    /// <param name="onLine">Gets its lines, or null.</param>
    /// <param name="cancellationToken">Stops waiting, also between two attempts.</param>
    /// <param name="limits">How often it is tried; null for the defaults.</param>
    /// <exception cref="ArchAzureException">As <see cref="InstallAsync"/>.</exception>
    public static async Task<CommandResult> RunAsync(
        Builder builder, IReadOnlyList<string> command, Action<string>? onLine, CancellationToken cancellationToken,
        RetryLimits? limits = null)
    {
        limits ??= s_limits;
        var isTransient = false;
        var parts = false;
        var shared = true;
        HashSet<string?> refused = [];
        BoundedLines errors = new();
        return await Retries.Pipeline(limits, command[0], builder.Log.Detail, e => e is ArchAzureException
            && isTransient, describe: _ => errors.Count > 0 ? errors[0] : "it failed").ExecuteAsync(
            async token =>
            {
                parts |= await HasPartsAsync(builder, token);
                errors.Clear();
                var (changed, sharedIsRefused) = (false, false);
                var complaints = new HookComplaints(command[0]);
                try
                {
                    var result = await builder.RunAsync(
                        shared ? [.. command, "--cachedir", PackageCache.SharedPath] : command,
                        new CommandOptions { OnLine = OnLine },
                        token);
                    builder.Log.Warn(complaints.Warnings(builder.Log.Path));
                    return result;
                }
                catch (CommandFailedException e)
                {
                    var error = Explain(errors, e);
                    isTransient = !changed && error?.ErrorId == DownloadFailed && errors.All(IsTransient);
                    if (!changed && sharedIsRefused)
                    {
                        // Without the shared packages, this one is downloaded, and takes the place of the damaged one.
                        shared = false;
                        isTransient = true;
                    }
                    else if (!changed && parts && error?.ErrorId is null or NotTrusted or CacheDamaged && refused.Add(error?.ErrorId))
                    {
                        // A part that is whole (pacman was killed before it gave it its name) stops it run after run: pacman 6 takes it
                        // for a damaged package, pacman 7 does not find it. One with wrong bytes in it is damaged once its end has
                        // come. Whatever a refusal without a known cause comes from: without the parts, what they hold is fetched
                        // again. Once for each kind: a part may have become a damaged package before another one stops pacman.
                        await RemovePartsAsync(builder, token);
                        isTransient = true;
                    }

                    throw error ?? e;
                }

                void OnLine(string line, bool isError)
                {
                    // The second names the file, the first does not.
                    if (line.Contains("error: ", StringComparison.Ordinal)
                        || line.EndsWith(" is invalid or corrupted", StringComparison.Ordinal))
                    {
                        errors.Add(line);
                    }

                    complaints.Add(line);
                    sharedIsRefused |= line.Contains($"{PackageCache.SharedPath}/", StringComparison.Ordinal);
                    changed |= line.StartsWith(":: Processing package changes", StringComparison.Ordinal);
                    onLine?.Invoke(line);
                }
            },
            cancellationToken);
    }

    /// <summary>
    /// Whether a line of pacman's errors leaves hope for the next attempt: not where the mirror says that it will not deliver.
    /// </summary>
    internal static bool IsTransient(string line)
    {
        if (StatusCode().Match(line) is { Success: true } status)
        {
            // 416: a part that is longer than the file; pacman drops it then.
            return status.Groups[1].Value is "408" or "416" or "425" or "429" || status.Groups[1].Value[0] == '5';
        }

        return !line.Contains("certificate", StringComparison.OrdinalIgnoreCase) && !line.Contains("SSL", StringComparison.Ordinal);
    }

    private static async Task<bool> HasPartsAsync(Builder builder, CancellationToken cancellationToken) =>
        (
            await builder.RunAsync(
                ["find", PackageCache.OwnPath, "-maxdepth", "1", "-name", "*.part", "-print", "-quit"],
                null,
                cancellationToken)).Output.Length > 0;

    private static Task RemovePartsAsync(Builder builder, CancellationToken cancellationToken) =>
        builder.RunAsync(["find", PackageCache.OwnPath, "-maxdepth", "1", "-name", "*.part", "-delete"], null, cancellationToken);

    /// <summary>What lines of pacman's errors mean, or null where they are best left as they are.</summary>
    internal static ArchAzureException? Explain(IReadOnlyList<string> errors, Exception cause)
    {
        var missing = errors.Select(line => TargetNotFound().Match(line))
            .Where(match => match.Success)
            .Select(match => match.Groups[1].Value)
            .ToList();
        if (missing.Count > 0)
        {
            return new ArchAzureException(
                "PackageNotFound",
                ErrorKind.NotFound,
                $"The mirror has no package '{string.Join("', '", missing)}'. Check the name (in -Package, PACKAGES or a layer's file "
                + "'packages'): https://archlinux.org/packages/.",
                missing[0],
                cause);
        }

        // A full disk brings a line for each file.
        const int most = 10;
        var text = string.Join(
            "\n    ", errors.Count <= most ? errors : [.. errors.Take(most - 2), $"({errors.Count - most + 1} more)", errors[^1]]);

        // libcurl's word for a full disk, seen by pacman as a download that failed; libc's; pacman's own.
        if (errors.Any(line => line.Contains("writing output to destination", StringComparison.Ordinal)
            || line.Contains("No space left on device", StringComparison.Ordinal)
            || line.Contains("not enough free disk space", StringComparison.Ordinal)))
        {
            return new ArchAzureException(
                "NotEnoughSpace",
                ErrorKind.ResourceUnavailable,
                $"There is no space left for the packages:\n    {text}\nThey are kept in the work directory's folder 'cache' and unpacked "
                + "in the Docker engine's data folder. Free some room in both, and run the step again.",
                null,
                cause);
        }

        // libarchive: "(Write failed)", "(Can't create ...)"; the reason is not told.
        if (errors.Any(line => line.Contains("could not extract ", StringComparison.Ordinal)))
        {
            return new ArchAzureException(
                "NotEnoughSpace",
                ErrorKind.ResourceUnavailable,
                "The packages could not be unpacked; most likely there is no space left in the Docker engine's data folder:\n    "
                + $"{text}\nFree some room there (see 'docker info', Docker Root Dir), and run the step again.",
                null,
                cause);
        }

        if (errors.Any(line => line.Contains("could not find package in cache", StringComparison.Ordinal)
            || line.Contains("could not find or read package", StringComparison.Ordinal)))
        {
            return new ArchAzureException(
                CacheDamaged,
                ErrorKind.InvalidData,
                $"pacman does not find a package that it took for downloaded:\n    {text}\nEmpty the work directory's folder 'cache', "
                + "where its packages are, and run the step again; they are downloaded again.",
                null,
                cause);
        }

        // A mirror without a package's signature does not fail to deliver: it hands out what nobody has signed.
        var isStripped = errors.Any(
            line =>
                line.Contains(".sig' from ", StringComparison.Ordinal)
                    && StatusCode().Match(line) is { Success: true } status
                    && status.Groups[1].Value == "404");
        if (!isStripped
            && errors.Any(
                line => line.Contains("failed retrieving file", StringComparison.Ordinal)
                    || line.Contains("failed to synchronize", StringComparison.Ordinal)
                    || line.Contains("failed to retrieve", StringComparison.Ordinal)))
        {
            return new ArchAzureException(
                DownloadFailed, ErrorKind.ConnectionError, $"The mirror did not deliver:\n    {text}\nCheck the network and the setting "
                    + "MIRROR, and run the step again; what is downloaded is kept.", null, cause);
        }

        if (isStripped
            || errors.Any(
                line => line.Contains("signature", StringComparison.Ordinal)
                    || line.Contains("missing from keyring", StringComparison.Ordinal)
                    || line.Contains("invalid or corrupted package", StringComparison.Ordinal)
                    || line.Contains("is corrupted", StringComparison.Ordinal)))
        {
            return new ArchAzureException(
                NotTrusted,
                ErrorKind.InvalidData,
                $"pacman refused a package:\n    {text}\nThe mirror is damaged or not trusted by the release's keyring. Use another "
                + "mirror, or make the builder again with a newer release: New-ArchBootstrap -Version latest -Force.",
                null,
                cause);
        }

        return null;
    }

    [GeneratedRegex(@"^Packages \((\d+)\)", RegexOptions.None, 1000)]
    private static partial Regex PackageCount();

    [GeneratedRegex("The requested URL returned error: ([0-9]{3})", RegexOptions.None, 1000)]
    private static partial Regex StatusCode();

    [GeneratedRegex("error: target not found: (.+)$", RegexOptions.None, 1000)]
    private static partial Regex TargetNotFound();
}
