using System.Text;
using System.Text.RegularExpressions;
using ArchAzure.Settings;

namespace ArchAzure.Bootstrap;

/// <summary>A bootstrap tarball on a release server.</summary>
/// <param name="Version">Its date, <c>YYYY.MM.DD</c>.</param>
/// <param name="FileName">The file's name.</param>
/// <param name="Uri">Its address.</param>
/// <param name="SignatureUri">The address of its detached OpenPGP signature.</param>
/// <param name="Sha256">Its SHA-256 by the server's list, in small hexadecimal digits.</param>
internal sealed record ArchRelease(string Version, string FileName, Uri Uri, Uri SignatureUri, string Sha256);

/// <summary>
/// Finds a release on a release server: a folder with <c>latest/</c> and one folder for each date, in each <c>sha256sums.txt</c> and
/// <c>archlinux-bootstrap-YYYY.MM.DD-ARCH.tar.zst</c> (<c>.tar.gz</c> before 2024) with its <c>.sig</c>.
/// </summary>
/// <param name="client">As <see cref="ArchHttp.CreateClient"/> makes it.</param>
/// <param name="reporter">Gets each decision as a verbose message.</param>
/// <param name="architecture">The architecture in the file names.</param>
/// <param name="limits">Retries and limits on silence; null for the default.</param>
internal sealed partial class ReleaseIndex(
    HttpClient client, IReporter reporter, string architecture = "x86_64", TransferLimits? limits = null)
{
    // A listing of every month since 2005 is some 100 KiB.
    private const int MaximumPageBytes = 4 << 20;

    private readonly TransferLimits _limits = limits ?? new TransferLimits();

    /// <summary>Arch's own release server; keeps the last few months.</summary>
    public static Uri DefaultReleaseUrl { get; } = new("https://geo.mirror.pkgbuild.com/iso/");

    /// <summary>Arch's archive; keeps all.</summary>
    public static Uri ArchiveReleaseUrl { get; } = new("https://archive.archlinux.org/iso/");

    /// <summary>Finds the newest release, or the one of a date.</summary>
    /// <param name="releaseUrl">The folder of the releases. Only at <see cref="DefaultReleaseUrl"/> is a date that is missing looked for in
    /// <see cref="ArchiveReleaseUrl"/>: who names a server gets what that server has.</param>
    /// <param name="version"><c>latest</c> or <c>YYYY.MM.DD</c>.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <param name="notAfter">The last date that <c>latest</c> may mean, <c>YYYY.MM.DD</c>; null for the server's own word.</param>
    /// <exception cref="ArchAzureException"><c>UnknownVersion</c>, <c>ReleaseIncomplete</c>, <c>UnsupportedAddress</c>, or as for
    /// <see cref="Downloader"/>.</exception>
    public async Task<ArchRelease> FindAsync(Uri releaseUrl, string version, CancellationToken cancellationToken, string? notAfter = null)
    {
        ArgumentNullException.ThrowIfNull(releaseUrl);
        ArchHttp.CheckScheme(releaseUrl);
        if (!SettingRules.IsArchVersion(version))
        {
            throw new ArchAzureException("UnknownVersion", ErrorKind.InvalidInput,
                $"'{WebText.Plain(version)}' is not a version. Write latest, or a release's date such as 2026.11.01.", version);
        }

        var root = releaseUrl.AbsoluteUri.EndsWith('/') ? releaseUrl : new Uri(releaseUrl.AbsoluteUri + "/");
        var found = version == "latest"
            ? await LatestAsync(root, notAfter, cancellationToken)
            : await InFolderAsync(root, version, version, cancellationToken);
        if (found is null && version != "latest" && root == DefaultReleaseUrl)
        {
            reporter.Verbose($"{WebText.Show(root)} has no {version}; looking in the archive {ArchiveReleaseUrl}");
            found = await InFolderAsync(ArchiveReleaseUrl, version, version, cancellationToken);
        }

        if (found is null)
        {
            throw await UnknownAsync(root, version, notAfter, cancellationToken);
        }

        reporter.Verbose($"release {found.Version}: {WebText.Show(found.Uri)}, sha256 {found.Sha256}");
        return found;
    }

    private async Task<ArchRelease?> LatestAsync(Uri root, string? notAfter, CancellationToken cancellationToken)
    {
        if (notAfter is null)
        {
            if (await InFolderAsync(root, "latest", null, cancellationToken) is { } latest)
            {
                return latest;
            }

            reporter.Verbose($"{WebText.Show(root)} has no latest/; looking for the newest dated folder");
        }

        // A folder may be there before its files are (mirrors copy in any order): the newest that is complete counts.
        var dates = await ListingAsync(root, cancellationToken);
        foreach (var date in dates.Where(date => notAfter is null || string.CompareOrdinal(date, notAfter) <= 0).Take(3))
        {
            if (await InFolderAsync(root, date, date, cancellationToken) is { } release)
            {
                return release;
            }
        }

        return null;
    }

    // Null where the folder or its list is not there.
    private async Task<ArchRelease?> InFolderAsync(Uri root, string folder, string? version, CancellationToken cancellationToken)
    {
        var sums = new Uri(root, $"{folder}/sha256sums.txt");
        if (await PageAsync(sums, cancellationToken) is not { } text)
        {
            return null;
        }

        ArchRelease? best = null;
        foreach (Match match in SumLine().Matches(text))
        {
            var name = match.Groups["name"].Value;
            if (BootstrapName().Match(name) is not { Success: true } parts
                || parts.Groups["arch"].Value != architecture
                || !SettingRules.IsArchVersion(parts.Groups["date"].Value)
                || (version is not null && parts.Groups["date"].Value != version))
            {
                continue;
            }

            // The dates sort as text. Of one date .zst comes before .gz: half the download.
            var date = parts.Groups["date"].Value;
            var order = best is null ? 1 : string.CompareOrdinal(date, best.Version);
            if (order > 0 || (order == 0 && name.EndsWith(".zst", StringComparison.Ordinal)))
            {
                best = new ArchRelease(
                    date,
                    name,
                    new Uri(root, $"{folder}/{name}"),
                    new Uri(root, $"{folder}/{name}.sig"),
                    match.Groups["sum"].Value.ToLowerInvariant());
            }
        }

        return best ?? throw new ArchAzureException("ReleaseIncomplete", ErrorKind.InvalidData,
            $"{WebText.Show(sums)} names no archlinux-bootstrap-{version ?? "YYYY.MM.DD"}-{architecture}.tar.zst or .tar.gz. "
            + "Wait until the server has its files, choose another version by -Version, or another server by -ReleaseUrl.",
            WebText.Show(sums));
    }

    private async Task<ArchAzureException> UnknownAsync(Uri root, string version, string? notAfter, CancellationToken cancellationToken)
    {
        var offered = await ListingAsync(root, cancellationToken);
        var what = version == "latest" ? $"no release{(notAfter is null ? "" : $" of {notAfter} or before")}" : $"no release {version}";
        if (version != "latest" && root == DefaultReleaseUrl)
        {
            what += $" (nor has {ArchiveReleaseUrl})";
        }

        var list = offered.Count switch
        {
            0 => "It shows no list of releases; check the address (-ReleaseUrl or RELEASE_URL).",
            <= 12 => $"It offers {string.Join(", ", offered)}.",
            _ => $"It offers {string.Join(", ", offered.Take(12))} and {offered.Count - 12} older ones.",
        };
        return new ArchAzureException("UnknownVersion", ErrorKind.NotFound, $"{WebText.Show(root)} has {what}. {list}", version);
    }

    /// <summary>The dated folders a server's directory listing links to, newest first; empty where it has none.</summary>
    private async Task<IReadOnlyList<string>> ListingAsync(Uri root, CancellationToken cancellationToken)
    {
        if (await PageAsync(root, cancellationToken) is not { } html)
        {
            return [];
        }

        return FolderLink().Matches(html)
            .Select(m => m.Groups["date"].Value)
            .Where(SettingRules.IsArchVersion)
            .Distinct(StringComparer.Ordinal)
            .OrderDescending(StringComparer.Ordinal)
            .ToArray();
    }

    // A small text, or null for 404.
    private async Task<string?> PageAsync(Uri uri, CancellationToken cancellationToken)
    {
        try
        {
            return await ArchHttp.Retries(_limits, reporter, WebText.Show(uri)).ExecuteAsync(
                async token =>
                {
                    using var response = await ArchHttp.GetAsync(client, uri, _limits, null, token);
                    ArchHttp.CheckStatus(response, _limits);
                    await using var body = await ArchHttp.WithStallLimitAsync(response.Content.ReadAsStreamAsync, _limits, token);
                    using var text = new MemoryStream();
                    var buffer = new byte[16 * 1024];
                    int read;
                    while ((read = await ArchHttp.WithStallLimitAsync(t => body.ReadAsync(buffer, t).AsTask(), _limits, token)) > 0)
                    {
                        text.Write(buffer, 0, read);
                        if (text.Length > MaximumPageBytes)
                        {
                            throw new PermanentTransferException("DownloadFailed",
                                $"it is larger than {MaximumPageBytes >> 20} MiB, which no list is", "Check the address, or choose "
                                + "another server");
                        }
                    }

                    return Encoding.UTF8.GetString(text.GetBuffer(), 0, (int)text.Length);
                },
                cancellationToken);
        }
        catch (PermanentTransferException e) when (e.ErrorId == "DownloadNotFound")
        {
            return null;
        }
        catch (Exception e) when (e is TransientTransferException or PermanentTransferException)
        {
            throw ArchHttp.Failed(uri, e, _limits, "");
        }
    }

    // sha256sum(1): digest, a space, a space or '*', name. \r for lists that went through other systems.
    [GeneratedRegex(@"^(?<sum>[0-9a-fA-F]{64}) [ *](?<name>[A-Za-z0-9._+-]+)\r?$", RegexOptions.Multiline | RegexOptions.CultureInvariant)]
    private static partial Regex SumLine();

    [GeneratedRegex(
        @"^archlinux-bootstrap-(?<date>[0-9]{4}\.[0-9]{2}\.[0-9]{2})-(?<arch>[a-z0-9_]+)\.tar\.(?:zst|gz)\z",
        RegexOptions.CultureInvariant)]
    private static partial Regex BootstrapName();

    // Listings link relative ("2026.11.01/"), with "./", or absolute ("/iso/2026.11.01/"). No '=' before the date: of a page that
    // says nothing but "href=" each would be read to the page's end.
    [GeneratedRegex(
        @"href\s*=\s*[""']?(?:[^""'>=\s]*/)?(?<date>[0-9]{4}\.[0-9]{2}\.[0-9]{2})/?[""'>\s]",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex FolderLink();
}
