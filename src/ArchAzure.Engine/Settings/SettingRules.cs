using System.Globalization;
using System.Text.RegularExpressions;

namespace ArchAzure.Settings;

/// <summary>
/// What a single value must look like, as plain yes-or-no questions for the settings table.
/// The patterns are narrow on purpose: these values end up as arguments, file names and lines of configuration in the target.
/// </summary>
internal static partial class SettingRules
{
    /// <summary>Smallest disk in MiB: an Arch base with kernel and agent, and room to work.</summary>
    public const int MinimumDiskSizeMiB = 2048;

    /// <summary>Largest disk in MiB: 4 TiB, Azure's limit for an OS disk of a generation 2 machine.</summary>
    public const int MaximumDiskSizeMiB = 4 * 1024 * 1024;

    /// <summary>Sectors of 512 bytes in 1 MiB, which every partition is aligned to.</summary>
    public const int SectorsPerMiB = 2048;

    /// <summary>Highest sector the first partition may start at (32 MiB).</summary>
    public const int MaximumBootStart = 65536;

    /// <summary>Largest swap file in MiB (1 TiB); what really fits depends on the machine's size.</summary>
    public const int MaximumResourceDiskSwapMiB = 1024 * 1024;

    /// <summary>A UTF-8 locale as <c>locale.gen</c> names it, e.g. <c>en_US.UTF-8</c>, <c>eo.UTF-8</c>, <c>C.UTF-8</c>.</summary>
    public static bool IsLocale(string? value) => value is not null && LocalePattern().IsMatch(value);

    /// <summary>The name of a tz database zone, e.g. <c>UTC</c>, <c>Europe/Berlin</c>, <c>America/Argentina/Buenos_Aires</c>.</summary>
    /// <remarks>It becomes the target of a link below /usr/share/zoneinfo, so no dots and no empty parts.</remarks>
    public static bool IsTimeZone(string? value) => value is not null && TimeZonePattern().IsMatch(value);

    /// <summary>One word: the name of a console keymap (vconsole.conf), e.g. <c>de-latin1-nodeadkeys</c>, or a seed.</summary>
    public static bool IsWord(string? value) => value is not null && WordPattern().IsMatch(value);

    /// <summary>A pacman package name (PKGBUILD(5), <c>pkgname</c>: no leading hyphen or dot).</summary>
    public static bool IsPackageName(string? value) => value is not null && PackagePattern().IsMatch(value);

    /// <summary><c>latest</c> or the date of a monthly release, <c>YYYY.MM.DD</c>.</summary>
    public static bool IsArchVersion(string? value) =>
        value == "latest"
        || DateOnly.TryParseExact(value, "yyyy.MM.dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _);

    /// <summary>The first day of the Arch Linux Archive's <c>repos</c>.</summary>
    public const string FirstSnapshot = "2013.08.31";

    /// <summary>A day of the Arch Linux Archive, <c>YYYY.MM.DD</c>.</summary>
    public static bool IsSnapshot(string? value) =>
        value != "latest" && IsArchVersion(value) && string.CompareOrdinal(value, FirstSnapshot) >= 0;

    /// <summary>A full git commit id: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits.</summary>
    public static bool IsCommit(string? value) => value is not null && CommitPattern().IsMatch(value);

    /// <summary>A disk size Azure takes, in whole MiB.</summary>
    public static bool IsDiskSizeMiB(long value) => value is >= MinimumDiskSizeMiB and <= MaximumDiskSizeMiB;

    /// <summary>A size of the resource disk's swap file in MiB, 0 for none: whole blocks of 64 MiB.</summary>
    /// <remarks>
    /// The agent writes the file in such blocks and the rest over the first of them, so that any other size comes out smaller.
    /// </remarks>
    public static bool IsResourceDiskSwapMiB(long value) => value is >= 0 and <= MaximumResourceDiskSwapMiB && value % 64 == 0;

    /// <summary>A start of the first partition in sectors of 512 bytes: whole MiB, up to 32 MiB.</summary>
    public static bool IsBootStart(long value) => value is >= SectorsPerMiB and <= MaximumBootStart && value % SectorsPerMiB == 0;

    /// <summary>A web address without query or fragment, as a base to put file names behind.</summary>
    public static bool IsWebAddress(string? value) =>
        value is not null
        && !value.Any(c => char.IsWhiteSpace(c) || char.IsControl(c) || c is '"' or '\'' or '\\' or '<' or '>')
        && Uri.TryCreate(value, UriKind.Absolute, out var uri)
        && (uri.Scheme == Uri.UriSchemeHttp || uri.Scheme == Uri.UriSchemeHttps)
        && uri.Host.Length > 0 && uri.Query.Length == 0 && uri.Fragment.Length == 0;

    /// <summary>
    /// Whether an address holds a password, or a user name that may be a token. What is in a setting goes into logs, build.json,
    /// Docker images and the image itself. A bare user name of ssh (<c>ssh://git@host</c>) is no secret.
    /// </summary>
    public static bool HoldsSecret(string? value) => value is not null && SecretPattern().IsMatch(value);

    /// <summary>Whether an address, also a mirror's with <c>$repo</c> in it, is one of this machine's loopback.</summary>
    public static bool IsLoopbackAddress(string value) =>
        Uri.TryCreate(value.Replace("$", "", StringComparison.Ordinal), UriKind.Absolute, out var uri) && uri.IsLoopback;

    /// <summary>What git fetches over a network, not from a path: <c>scheme://...</c>, or ssh's short form <c>user@host:path</c>.</summary>
    public static bool IsGitAddress(string? value) => value is not null && GitAddressPattern().IsMatch(value);

    /// <summary>
    /// Whether the user or host of an address, also in ssh's short form <c>user@host:path</c>, begins with a hyphen or hides it as
    /// <c>%2d</c>: ssh would take it for an option, and options name programs to run (CVE-2017-1000117).
    /// </summary>
    public static bool HoldsOption(string? value) => value is not null && OptionPattern().IsMatch(value);

    // \z, not $: $ also matches before a final newline, and a newline in a name is a new line of configuration.
    [GeneratedRegex(@"^(?:C|[a-z]{2,3}(?:_[A-Z]{2})?)\.UTF-8(?:@[a-z]+)?\z", RegexOptions.CultureInvariant)]
    private static partial Regex LocalePattern();

    [GeneratedRegex(@"^[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9][A-Za-z0-9_+-]*){0,2}\z", RegexOptions.CultureInvariant)]
    private static partial Regex TimeZonePattern();

    [GeneratedRegex(@"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}\z", RegexOptions.CultureInvariant)]
    private static partial Regex WordPattern();

    [GeneratedRegex(@"^[a-z0-9@_+][a-z0-9@._+-]*\z", RegexOptions.CultureInvariant)]
    private static partial Regex PackagePattern();

    [GeneratedRegex(@"^(?!ssh://[^:/@]*@)[a-z][a-z0-9+.-]+:/+[^/?#]*@", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex SecretPattern();

    [GeneratedRegex(
        @"^(?:[a-z][a-z0-9+.-]*://)(?:[^/]*@)?(?:-|[^/]*%)|^[a-z][a-z0-9+.-]*://-|^[^/:]*@-",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex OptionPattern();

    [GeneratedRegex(@"^(?:[a-z][a-z0-9+.-]*://|[^/\\\s@:]+@[^/\\\s@:]+:)", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex GitAddressPattern();

    [GeneratedRegex(@"^(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})\z", RegexOptions.CultureInvariant)]
    private static partial Regex CommitPattern();
}
