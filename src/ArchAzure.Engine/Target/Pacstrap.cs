using System.Globalization;
using System.Text.RegularExpressions;
using ArchAzure.Containers;

namespace ArchAzure.Target;

/// <summary>Installs packages into the target with pacstrap, and puts pacman's errors into words.</summary>
public sealed partial class Pacstrap(Builder builder, IReporter reporter, string activity)
{
    /// <summary>Where the work directory's package cache is mounted, in the builder.</summary>
    public const string CachePath = "/work/cache";

    /// <summary>Installs packages and all they need; what is installed already is brought to the mirror's state along with them.</summary>
    /// <exception cref="ArchAzureException"><c>PackageNotFound</c>, <c>PackageDownloadFailed</c>, <c>PackageNotTrusted</c>, <c>NotEnoughSpace</c> or <c>CommandFailed</c>.</exception>
    public async Task InstallAsync(IReadOnlyList<string> packages, CancellationToken cancellationToken)
    {
        var total = 0;
        var done = 0;

        // -c: the host's cache (ours); -G, -M: neither keyring nor mirror list goes into the image. -u: no partial upgrade when
        // this runs on a later day than the step before.
        await RunAsync(
            builder,
            ["pacstrap", "-C", "/etc/pacman.conf", "-c", "-G", "-M", TargetTree.Root, "--needed", "--noprogressbar", "-u", .. packages],
            line =>
            {
                if (PackageCount().Match(line) is { Success: true } count)
                {
                    total = int.Parse(count.Groups[1].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture);
                }
                else if (line.StartsWith("installing ", StringComparison.Ordinal) || line.StartsWith("upgrading ", StringComparison.Ordinal))
                {
                    done++;
                    reporter.Progress(new(activity, line.TrimEnd('.'), total == 0 ? null : Math.Min(done * 100 / total, 100)));
                }
                else if (line.Contains("downloading", StringComparison.Ordinal) || line.StartsWith(':'))
                {
                    reporter.Progress(new(activity, line.TrimStart(':', ' ').TrimEnd('.'), total == 0 ? null : done * 100 / total));
                }
            },
            cancellationToken);
    }

    /// <summary>Brings a builder up to the mirror's state and installs packages into it.</summary>
    /// <exception cref="ArchAzureException">As <see cref="InstallAsync"/>.</exception>
    public static async Task UpgradeBuilderAsync(Builder builder, IReadOnlyList<string> packages, Action<string>? onLine, CancellationToken cancellationToken)
    {
        // An old release's keyring may not know today's packagers: it comes first, as Arch advises.
        await RunAsync(builder, ["pacman", "-Sy", "--noconfirm", "--needed", "--noprogressbar", "archlinux-keyring"], null, cancellationToken);
        await RunAsync(builder, ["pacman", "-Su", "--noconfirm", "--needed", "--noprogressbar", .. packages], onLine, cancellationToken);
        await builder.RunAsync(["gpgconf", "--homedir", "/etc/pacman.d/gnupg", "--kill", "all"], null, cancellationToken);
    }

    /// <summary>Runs a command of pacman's family and names what went wrong.</summary>
    public static async Task<CommandResult> RunAsync(Builder builder, IReadOnlyList<string> command, Action<string>? onLine, CancellationToken cancellationToken)
    {
        List<string> errors = [];
        try
        {
            return await builder.RunAsync(
                command,
                new CommandOptions
                {
                    OnLine = (line, _) =>
                    {
                        if (line.Contains("error: ", StringComparison.Ordinal))
                        {
                            errors.Add(line);
                        }

                        onLine?.Invoke(line);
                    },
                },
                cancellationToken);
        }
        catch (CommandFailedException e)
        {
            throw Explain(errors, e) ?? e;
        }
    }

    private static ArchAzureException? Explain(List<string> errors, CommandFailedException cause)
    {
        var missing = errors.Select(line => TargetNotFound().Match(line)).Where(match => match.Success).Select(match => match.Groups[1].Value).ToList();
        if (missing.Count > 0)
        {
            return new ArchAzureException(
                "PackageNotFound",
                ErrorKind.NotFound,
                $"The mirror has no package '{string.Join("', '", missing)}'. Check the name (in -Package, PACKAGES or a layer's file 'packages'): https://archlinux.org/packages/.",
                missing[0],
                cause);
        }

        var text = string.Join("\n    ", errors);

        // libcurl's word for a full disk, seen by pacman as a download that failed; libc's; pacman's own.
        if (errors.Any(line => line.Contains("writing output to destination", StringComparison.Ordinal) || line.Contains("No space left on device", StringComparison.Ordinal) || line.Contains("not enough free disk space", StringComparison.Ordinal)))
        {
            return new ArchAzureException(
                "NotEnoughSpace",
                ErrorKind.ResourceUnavailable,
                $"There is no space left for the packages:\n    {text}\nThey are kept in the work directory's folder 'cache' and unpacked in the Docker engine's data folder. Free some room in both, and run the step again.",
                null,
                cause);
        }

        if (errors.Any(line => line.Contains("failed retrieving file", StringComparison.Ordinal) || line.Contains("failed to synchronize", StringComparison.Ordinal) || line.Contains("failed to retrieve", StringComparison.Ordinal)))
        {
            return new ArchAzureException(
                "PackageDownloadFailed", ErrorKind.ConnectionError, $"The mirror did not deliver:\n    {text}\nCheck the network and the setting MIRROR, and run the step again; what is downloaded is kept.", null, cause);
        }

        if (errors.Any(line => line.Contains("signature", StringComparison.Ordinal) || line.Contains("invalid or corrupted package", StringComparison.Ordinal) || line.Contains("is corrupted", StringComparison.Ordinal)))
        {
            return new ArchAzureException(
                "PackageNotTrusted",
                ErrorKind.InvalidData,
                $"pacman refused a package:\n    {text}\nThe mirror is damaged or not trusted by the release's keyring. Use another mirror, or make the builder anew with a newer release: New-ArchBootstrap -Version latest -Force.",
                null,
                cause);
        }

        return null;
    }

    [GeneratedRegex(@"^Packages \((\d+)\)", RegexOptions.None, 1000)]
    private static partial Regex PackageCount();

    [GeneratedRegex("error: target not found: (.+)$", RegexOptions.None, 1000)]
    private static partial Regex TargetNotFound();
}
