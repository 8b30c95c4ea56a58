using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using ArchAzure.Settings;

namespace ArchAzure.Builds;

/// <summary>What a build takes in place of the clock and of chance, so that the same settings give the same bytes.</summary>
/// <param name="Epoch">The time of all that the build makes: the snapshot's day, 0:00 UTC. Files of packages keep theirs where it is
/// earlier.</param>
/// <param name="Seed">What its identities are made from.</param>
internal sealed partial record Reproducibility(DateTimeOffset Epoch, string Seed)
{
    /// <summary>The epoch as programs take it: seconds since 1970.</summary>
    public string EpochSeconds => Epoch.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);

    /// <summary>What the programs of the builder find in their environment.</summary>
    public IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>(StringComparer.Ordinal)
    {
        // https://reproducible-builds.org/specs/source-date-epoch/: mke2fs, mtools, systemd-sysusers, p11-kit, shadow, python's byte
        // code ...
        ["SOURCE_DATE_EPOCH"] = EpochSeconds,

        // The order in sets, which goes into byte code.
        ["PYTHONHASHSEED"] = "0",
    };

    /// <summary>What makes a build of these settings the same each time; null if they do not ask for it.</summary>
    public static Reproducibility? Of(BuildSettings settings) => settings is { Reproducible: true, Snapshot: { } day }
        ? new Reproducibility(
            DateTimeOffset.ParseExact(day, "yyyy.MM.dd", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal), settings.Seed)
        : null;

    /// <summary>
    /// Makes sure that mke2fs writes no time later than the epoch: mke2fs -d takes the time of the last change of status (ctime) from
    /// the tree, where no call can set it.
    /// </summary>
    /// <param name="version">What <c>mke2fs -V</c> prints first.</param>
    /// <exception cref="ArchAzureException"><c>SnapshotTooOld</c>.</exception>
    /// <remarks>Source: e2fsprogs, release notes of 1.47.1.</remarks>
    public static void RequireMke2fs(string version)
    {
        if (!Version.TryParse(Mke2fsVersion().Match(version).Groups[1].Value, out var found) || found < new Version(1, 47, 1))
        {
            throw new ArchAzureException(
                "SnapshotTooOld",
                ErrorKind.InvalidInput,
                $"The same build cannot give the same file system twice with the snapshot's '{version}': e2fsprogs honours "
                + "SOURCE_DATE_EPOCH from 1.47.1 (May 2024) on. Name a later day with -Snapshot or SNAPSHOT, or leave out -Reproducible.",
                version);
        }
    }

    [GeneratedRegex(@"^mke2fs (\d+\.\d+\.\d+)\b", RegexOptions.None, 1000)]
    private static partial Regex Mke2fsVersion();

    /// <summary>A row of identities that is the same for the same seed, epoch and purpose.</summary>
    /// <param name="purpose">Keeps rows apart.</param>
    public Func<Guid> Identities(string purpose)
    {
        var count = 0;
        return () => Identity(Seed, EpochSeconds, purpose, count++);
    }

    /// <summary>An identity that is the same for the same parts.</summary>
    /// <remarks>RFC 9562, section 5.8: a UUID of version 8, here from a SHA-256.</remarks>
    internal static Guid Identity(params object[] parts)
    {
        var bytes = SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', ["ArchAzure", .. parts])))[..16];
        bytes[6] = (byte)((bytes[6] & 0x0F) | 0x80);
        bytes[8] = (byte)((bytes[8] & 0x3F) | 0x80);
        return new Guid(bytes, bigEndian: true);
    }
}
