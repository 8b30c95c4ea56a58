using System.Text;
using Org.BouncyCastle.Bcpg;
using Org.BouncyCastle.Bcpg.OpenPgp;

namespace ArchAzure.Bootstrap;

/// <summary>
/// The OpenPGP public key a release must be signed with, and what its own self-signatures say about it: how long it is valid, whether
/// it was
/// revoked, which of its subkeys may sign. BouncyCastle reads those packets without checking them, so every one that is relied on is
/// verified here
/// (RFC 9580, 5.2 and 10.1).
/// </summary>
internal sealed class ReleaseKey
{
    private const int MaximumBytes = 4 << 20;
    private const int SignFlag = 0x02;

    private readonly PgpPublicKeyRing _ring;

    private ReleaseKey(PgpPublicKeyRing ring, string source)
    {
        _ring = ring;
        Source = source;
        Fingerprint = Hex(ring.GetPublicKey());
        UserId = ring.GetPublicKey().GetUserIds().FirstOrDefault() is { } id ? WebText.Plain(id) : "no name";
    }

    /// <summary>
    /// Arch's release key (Pierre Schmitz, pierre@archlinux.org, EdDSA, valid to October 2037), as Debian's archlinux-keyring has it.
    /// </summary>
    public static ReleaseKey Arch { get; } = LoadEmbedded();

    /// <summary>The primary key's fingerprint in capital hexadecimal digits.</summary>
    public string Fingerprint { get; }

    /// <summary>The first user id, for messages.</summary>
    public string UserId { get; }

    /// <summary>Where it was read from, for messages.</summary>
    public string Source { get; }

    /// <summary>Reads a key file, armoured or binary.</summary>
    /// <param name="path">The file.</param>
    /// <param name="expectedFingerprint">The fingerprint it must have (spaces allowed); in a file of several keys, the one to take.</param>
    /// <exception cref="ArchAzureException"><c>ReleaseKeyNotFound</c>, <c>ReleaseKeyInvalid</c>.</exception>
    public static ReleaseKey LoadFile(string path, string? expectedFingerprint = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            if (!File.Exists(path))
            {
                throw new ArchAzureException("ReleaseKeyNotFound", ErrorKind.NotFound,
                    $"The key file '{path}' does not exist. Give the path of an OpenPGP public key, or leave RELEASE_KEY empty for Arch's "
                    + "own.", path);
            }

            return new FileInfo(path).Length > MaximumBytes
                ? throw Invalid(path, "it is larger than 4 MiB, which no key is", null)
                : Load(File.ReadAllBytes(path), path, expectedFingerprint);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Invalid(path, e.Message.TrimEnd('.'), e);
        }
    }

    /// <summary>Whether this key or one of its subkeys has the id a signature names.</summary>
    internal bool Holds(long keyId) => _ring.GetPublicKey(keyId) is not null;

    /// <summary>Throws when the key is not to be trusted with anything at this time.</summary>
    internal void CheckUsable(DateTimeOffset now)
    {
        var primary = _ring.GetPublicKey();
        if (
            primary.GetSignaturesOfType(PgpSignature.KeyRevocation)
                .Any(s => Verified(() => Certifies(s, primary, v => v.VerifyCertification(primary)))))
        {
            throw Unusable("ReleaseKeyRevoked", "was revoked by its owner");
        }

        if (Expiry(primary, SelfSignatures(primary)) is { } expiry && expiry <= now)
        {
            throw Unusable("ReleaseKeyExpired", $"expired on {expiry:yyyy-MM-dd}");
        }

        ArchAzureException Unusable(string id, string what) => new(id, ErrorKind.InvalidData,
            $"The release key {Named(primary)} from {Source} {what}, so what it signed cannot be trusted. "
            + "Get the current key from a source you trust (https://archlinux.org/download/ names it) and give it by -ReleaseKey or "
            + "RELEASE_KEY.", Fingerprint);
    }

    /// <summary>
    /// The key that may have made a signature with this issuer at that time.
    /// </summary>
    /// <param name="keyId">The issuer by the signature.</param>
    /// <param name="made">When the signature says it was made.</param>
    /// <param name="now">The time now.</param>
    /// <param name="problem">Why it may not sign; null when it may.</param>
    internal PgpPublicKey SigningKey(long keyId, DateTimeOffset made, DateTimeOffset now, out string? problem)
    {
        var key = _ring.GetPublicKey(keyId);
        var primary = _ring.GetPublicKey();
        PgpSignature? newest;
        bool maySign;
        if (key.IsMasterKey)
        {
            newest = SelfSignatures(primary).MaxBy(s => s.CreationTime);
            maySign = newest is not null && (Flags(newest) is not { } flags || (flags & SignFlag) != 0);
        }
        else
        {
            var bindings = key.GetSignaturesOfType(PgpSignature.SubkeyBinding)
                .Where(s => IsSelfSignature(s, primary, v => v.VerifyCertification(primary, key)))
                .ToList();
            newest = bindings.MaxBy(s => s.CreationTime);
            maySign = newest is not null && (Flags(newest) & SignFlag) is > 0 && BoundBack(newest, primary, key);
            if (
                key.GetSignaturesOfType(PgpSignature.SubkeyRevocation)
                    .Any(s => Verified(() => Certifies(s, primary, v => v.VerifyCertification(primary, key)))))
            {
                problem = $"its subkey {Named(key)} was revoked";
                return key;
            }
        }

        var created = Utc(key.CreationTime);
        problem = newest is null ? $"the key {Named(key)} is not bound to {Fingerprint} by a valid signature"
            : !maySign ? $"the key {Named(key)} is not meant for signing data"
            : Expiry(key, [newest]) is { } expiry && expiry <= now ? $"the key {Named(key)} expired on {expiry:yyyy-MM-dd}"
            : made < created ? $"it claims to be from {made:yyyy-MM-dd}, before its key was made ({created:yyyy-MM-dd})"
            : null;
        return key;
    }

    /// <summary>A key's fingerprint with its name, for messages.</summary>
    internal string Named(PgpPublicKey key) =>
        key.IsMasterKey ? $"{Fingerprint} ({UserId})" : $"{Hex(key)}, a subkey of {Fingerprint} ({UserId})";

    internal static DateTimeOffset Utc(DateTime time) => new(DateTime.SpecifyKind(time, DateTimeKind.Utc));

    /// <summary>SHA-256 and stronger. SHA-1 and MD5 collide; RIPEMD-160 and SHA-224 are of their time.</summary>
    internal static bool IsStrong(HashAlgorithmTag hash) =>
        hash is HashAlgorithmTag.Sha256 or HashAlgorithmTag.Sha384 or HashAlgorithmTag.Sha512
        or HashAlgorithmTag.Sha3_256 or HashAlgorithmTag.Sha3_512;

    private static string Hex(PgpPublicKey key) => Convert.ToHexString(key.GetFingerprint());

    private static ReleaseKey LoadEmbedded()
    {
        using var stream = typeof(ReleaseKey).Assembly.GetManifestResourceStream("arch-release.asc")
            ?? throw new InvalidOperationException("The release key is missing from the assembly.");
        using var bytes = new MemoryStream();
        stream.CopyTo(bytes);
        return Load(bytes.ToArray(), "this module", "3E80CA1A8B89F69CBA57D98A76A5EF9054449A5C");
    }

    private static ReleaseKey Load(byte[] bytes, string source, string? expectedFingerprint)
    {
        var rings = new List<PgpPublicKeyRing>();
        try
        {
            using var decoder = PgpUtilities.GetDecoderStream(new MemoryStream(bytes, writable: false));
            var factory = new PgpObjectFactory(decoder);
            while (factory.NextPgpObject() is { } item)
            {
                switch (item)
                {
                    case PgpPublicKeyRing ring:
                        rings.Add(ring);
                        break;
                    case PgpSecretKeyRing:
                        throw Invalid(
                            source,
                            "it holds a secret key. Export only the public one (gpg --armor --export), and keep the secret one to yourself",
                            null);
                    default:
                        throw Invalid(source, "it holds something else than public keys", null);
                }
            }
        }
        catch (Exception e) when (e is not ArchAzureException)
        {
            // The library ends on damaged input with whatever it stumbled over.
            throw Invalid(source, "it is not an OpenPGP public key, or it is damaged", e);
        }

        var expected = expectedFingerprint?.Replace(" ", "", StringComparison.Ordinal).ToUpperInvariant();
        var fitting = expected is null ? rings : rings.Where(r => Hex(r.GetPublicKey()) == expected).ToList();
        var key = fitting.Count switch
        {
            1 => new ReleaseKey(fitting[0], source),
            0 when rings.Count > 0 =>
                throw Invalid(
                    source, $"it holds {string.Join(", ", rings.Take(5).Select(r => Hex(r.GetPublicKey())))} and not {expected}", null),
            0 => throw Invalid(source, "it is not an OpenPGP public key, or it is empty", null),
            _ =>
                throw Invalid(
                    source, $"it holds {fitting.Count} keys, and which of them signs releases is not clear. Export that one alone", null),
        };
        return SelfSignatures(key._ring.GetPublicKey()).Count > 0
            ? key
            : throw Invalid(source, "its owner has not signed it with SHA-256 or stronger (no valid self-signature)", null);
    }

    private static ArchAzureException Invalid(string source, string reason, Exception? inner) =>
        new("ReleaseKeyInvalid", ErrorKind.InvalidInput,
        $"The release key from '{source}' cannot be used: {reason}. Give a file made by 'gpg --armor --export FINGERPRINT'.", source,
        inner);

    private static List<PgpSignature> SelfSignatures(PgpPublicKey primary)
    {
        // None for a name that is not UTF-8: the library looks it up by its text.
        var certifications = primary.GetUserIds().SelectMany(id => (primary.GetSignaturesForId(id) ?? [])
            .Where(s => s.IsCertification() && IsSelfSignature(s, primary, v => v.VerifyCertification(id, primary))));
        var direct = primary.GetSignaturesOfType(PgpSignature.DirectKey)
            .Where(s => IsSelfSignature(s, primary, v => v.VerifyCertification(primary)));
        return [.. certifications, .. direct];
    }

    private static bool IsSelfSignature(PgpSignature signature, PgpPublicKey primary, Func<PgpSignature, bool> verify) =>
        IsStrong(signature.HashAlgorithm) && Verified(() => Certifies(signature, primary, verify));

    private static bool Certifies(PgpSignature signature, PgpPublicKey primary, Func<PgpSignature, bool> verify)
    {
        if (signature.KeyId != primary.KeyId)
        {
            return false;
        }

        signature.InitVerify(primary);
        return verify(signature);
    }

    // A subkey that signs must itself say that it belongs to the primary key, or anybody could adopt it (RFC 9580, 5.2.1.9).
    private static bool BoundBack(PgpSignature binding, PgpPublicKey primary, PgpPublicKey subkey) =>
        new[] { binding.GetHashedSubPackets(), binding.GetUnhashedSubPackets() }
            .Where(v => v is not null)
            .Select(v => v.GetEmbeddedSignatures())
            .SelectMany(list => Enumerable.Range(0, list.Count).Select(i => list[i]))
            .Any(s => s.SignatureType == PgpSignature.PrimaryKeyBinding && IsStrong(s.HashAlgorithm) && Verified(() =>
            {
                s.InitVerify(subkey);
                return s.VerifyCertification(primary, subkey);
            }));

    private static bool Verified(Func<bool> check)
    {
        try
        {
            return check();
        }
        catch (Exception)
        {
            // Damaged numbers in a signature make the library throw; such a signature proves nothing.
            return false;
        }
    }

    private static int? Flags(PgpSignature signature) =>
        signature.GetHashedSubPackets() is { } packets && packets.HasSubpacket(SignatureSubpacketTag.KeyFlags)
            ? packets.GetKeyFlags()
            : null;

    // The newest statement counts; of two made in the same second the stricter.
    private static DateTimeOffset? Expiry(PgpPublicKey key, IEnumerable<PgpSignature> signatures)
    {
        var seconds = signatures
            .GroupBy(s => s.CreationTime)
            .MaxBy(g => g.Key)?
            .Select(s => s.GetHashedSubPackets()?.GetKeyExpirationTime() ?? 0)
            .Select(s => s == 0 ? long.MaxValue : s)
            .Min() ?? long.MaxValue;
        return seconds == long.MaxValue ? null : Utc(key.CreationTime).AddSeconds(seconds);
    }
}
