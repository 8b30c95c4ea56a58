using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using ArchAzure.Settings;

namespace ArchAzure.Builds;

/// <summary>What a build takes in place of the clock and of chance, so that the same settings give the same bytes.</summary>
/// <param name="Epoch">The time of all that the build makes: the snapshot's day, 0:00 UTC. Files of packages keep theirs where it is earlier.</param>
/// <param name="Seed">What its identities are made from.</param>
public sealed record Reproducibility(DateTimeOffset Epoch, string Seed)
{
    /// <summary>The epoch as programs take it: seconds since 1970.</summary>
    public string EpochSeconds => Epoch.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);

    /// <summary>What the programs of the builder find in their environment.</summary>
    public IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>(StringComparer.Ordinal)
    {
        // https://reproducible-builds.org/specs/source-date-epoch/: mtools, systemd-sysusers, p11-kit, shadow, python's byte code ...
        ["SOURCE_DATE_EPOCH"] = EpochSeconds,

        // mke2fs(8) before 1.47.1 knows this one only.
        ["E2FSPROGS_FAKE_TIME"] = EpochSeconds,

        // The order in sets, which goes into byte code.
        ["PYTHONHASHSEED"] = "0",
    };

    /// <summary>What makes a build of these settings the same each time; null if they do not ask for it.</summary>
    public static Reproducibility? Of(BuildSettings settings) => settings is { Reproducible: true, Snapshot: { } day }
        ? new Reproducibility(DateTimeOffset.ParseExact(day, "yyyy.MM.dd", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal), settings.Seed)
        : null;

    /// <summary>A row of identities that is the same for the same seed, epoch and purpose.</summary>
    /// <param name="purpose">Keeps rows apart.</param>
    /// <remarks>RFC 9562, section 5.8: UUIDs of version 8, here from a SHA-256.</remarks>
    public Func<Guid> Identities(string purpose)
    {
        var count = 0;
        return () =>
        {
            var bytes = SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', "ArchAzure", Seed, EpochSeconds, purpose, count++)))[..16];
            bytes[6] = (byte)((bytes[6] & 0x0F) | 0x80);
            bytes[8] = (byte)((bytes[8] & 0x3F) | 0x80);
            return new Guid(bytes, bigEndian: true);
        };
    }
}
