using System.Diagnostics;
using System.Security.Cryptography;
using Org.BouncyCastle.Bcpg;
using Org.BouncyCastle.Bcpg.OpenPgp;

namespace ArchAzure.Bootstrap;

/// <summary>Who vouches for a release.</summary>
/// <param name="Fingerprint">The fingerprint of the primary key.</param>
/// <param name="UserId">Its first user id.</param>
/// <param name="SignedAt">When the signature was made.</param>
/// <param name="Sha256">The file's SHA-256 in small hexadecimal digits.</param>
internal sealed record VerifiedRelease(string Fingerprint, string UserId, DateTimeOffset SignedAt, string Sha256);

/// <summary>
/// Checks a bootstrap tarball: its SHA-256 and its detached OpenPGP signature, in one pass over the file, in this process. A tarball
/// that fails is
/// moved aside to <c>NAME.bad</c> (its signature too), so that no later run can take it for good.
/// </summary>
/// <param name="clock">The time keys and signatures are judged by; null for the system's.</param>
internal sealed class ReleaseVerifier(TimeProvider? clock = null)
{
    private const int MaximumSignatureBytes = 64 * 1024;

    // Two machines' clocks may differ by this much.
    private static readonly TimeSpan s_clockSkew = TimeSpan.FromMinutes(5);

    private readonly TimeProvider _clock = clock ?? TimeProvider.System;

    /// <summary>The step's name for progress.</summary>
    public string Activity { get; init; } = "New-ArchBootstrap";

    /// <summary>
    /// Whether what fails is moved to <c>NAME.bad</c>. Off for a file that is the user's own and not in the work directory.
    /// </summary>
    public bool SetAside { get; init; } = true;

    /// <summary>Checks the file; returns only when all is right.</summary>
    /// <param name="tarball">The file.</param>
    /// <param name="expectedSha256">Its checksum in hexadecimal; null where no list names one, the signature alone decides then.</param>
    /// <param name="signaturePath">The detached signature, armoured or binary.</param>
    /// <param name="key">The key it must be made with.</param>
    /// <param name="reporter">Gets the progress.</param>
    /// <param name="cancellationToken">Ends the check; nothing is moved then.</param>
    /// <exception cref="ArchAzureException">About the key, before the file is looked at, which stays where it is: <c>ReleaseKeyExpired</c>,
    /// <c>ReleaseKeyRevoked</c>. A file is missing: <c>TarballNotFound</c>, <c>SignatureNotFound</c>. About the file, which is moved aside:
    /// <c>ChecksumMismatch</c>, <c>SignatureByOtherKey</c>, <c>SignatureInvalid</c> (not over this file), <c>SignatureRefused</c> (weak
    /// digest, dates,
    /// a key not meant for it), <c>SignatureUnreadable</c>.</exception>
    public async Task<VerifiedRelease> VerifyAsync(
        string tarball, string? expectedSha256, string signaturePath, ReleaseKey key, IReporter reporter,
        CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(tarball);
        ArgumentException.ThrowIfNullOrEmpty(signaturePath);
        ArgumentNullException.ThrowIfNull(key);
        ArgumentNullException.ThrowIfNull(reporter);
        var now = _clock.GetUtcNow();
        key.CheckUsable(now);
        MustExist(tarball, "TarballNotFound", "Download it again, or give another file by -BootstrapPath.");
        MustExist(
            signaturePath,
            "SignatureNotFound",
            "It lies beside the tarball on the release server, with .sig behind the name; an unsigned file is not used.");
        try
        {
            var signature = Read(tarball, signaturePath, key, now);
            var sha256 = await DigestAsync(tarball, signature, reporter, cancellationToken);
            if (expectedSha256 is not null && !sha256.Equals(expectedSha256, StringComparison.OrdinalIgnoreCase))
            {
                throw new Refusal("ChecksumMismatch",
                    $"its SHA-256 is {sha256}, and the release's is {expectedSha256.ToLowerInvariant()} (the file has "
                    + $"{new FileInfo(tarball).Length} bytes; it was cut short or altered)");
            }

            if (!Holds(signature))
            {
                throw new Refusal(
                    "SignatureInvalid",
                    $"the signature by {key.Fingerprint} ({key.UserId}) is not over this file, which was altered or belongs to another "
                    + "signature");
            }

            reporter.Verbose(
                $"{Path.GetFileName(tarball)}: sha256 {sha256}, good signature of "
                + $"{ReleaseKey.Utc(signature.CreationTime):yyyy-MM-dd HH:mm} UTC by {key.Fingerprint} ({key.UserId})");
            return new VerifiedRelease(key.Fingerprint, key.UserId, ReleaseKey.Utc(signature.CreationTime), sha256);
        }
        catch (Refusal refusal)
        {
            throw Refused(tarball, signaturePath, refusal);
        }
    }

    private static void MustExist(string path, string errorId, string remedy)
    {
        if (!File.Exists(path))
        {
            throw new ArchAzureException(errorId, ErrorKind.NotFound, $"'{path}' does not exist. {remedy}", path);
        }
    }

    // The signature by the key, checked in all that does not need the file, ready to be fed with it.
    private static PgpSignature Read(string tarball, string signaturePath, ReleaseKey key, DateTimeOffset now)
    {
        var signatures = Parse(signaturePath);
        var ours = signatures.Find(s => key.Holds(s.KeyId));
        if (ours is null)
        {
            throw new Refusal("SignatureByOtherKey",
                $"it is signed by the key {string.Join(", ", signatures.Select(Issuer))}, and not by {key.Fingerprint} ({key.UserId}) "
                + $"from {key.Source}",
                "If the release has a new signer, get that key from a source you trust and give it by -ReleaseKey or RELEASE_KEY");
        }

        var made = ReleaseKey.Utc(ours.CreationTime);
        var signer = key.SigningKey(ours.KeyId, made, now, out var problem);
        problem ??= ours switch
        {
            { Version: < 4 } => $"the signature has the outdated format {ours.Version}",
            { SignatureType: not PgpSignature.BinaryDocument } =>
                $"it is a signature of type 0x{ours.SignatureType:X2} and not one over a file",
            _ when !ReleaseKey.IsStrong(ours.HashAlgorithm) =>
                $"it rests on {ours.HashAlgorithm.ToString().ToUpperInvariant()}, which can be forged; SHA-256 is the least that is "
                + "accepted",
            _ when ours.GetHashedSubPackets()?.HasSubpacket(SignatureSubpacketTag.CreationTime) != true =>
                "the signature does not say when it was made",
            _ when made > now + s_clockSkew =>
                $"it claims to be made in the future ({made:yyyy-MM-dd HH:mm} UTC; it is {now:yyyy-MM-dd HH:mm} UTC here: check this "
                + "machine's clock)",
            _ when Expires(ours, made) is { } expiry && expiry <= now => $"the signature expired on {expiry:yyyy-MM-dd}",
            _ when UnknownCritical(ours) is { } tag => $"it has the critical part {tag}, which is not known here",
            _ when IssuerFingerprint(ours) is { } print && print != Convert.ToHexString(signer.GetFingerprint()) =>
                $"its issuer is {print}, which has the same short id as {key.Named(signer)} but is another key",
            _ => null,
        };
        if (problem is not null)
        {
            throw new Refusal("SignatureRefused", $"its signature is not accepted: {problem}");
        }

        try
        {
            ours.InitVerify(signer);
            return ours;
        }
        catch (Exception e)
        {
            throw new Refusal(
                "SignatureUnreadable",
                $"'{Path.GetFileName(signaturePath)}' cannot be used with the key {key.Named(signer)} ({e.Message.TrimEnd('.')})",
                inner: e);
        }
    }

    private static List<PgpSignature> Parse(string path)
    {
        var name = Path.GetFileName(path);
        if (new FileInfo(path).Length > MaximumSignatureBytes)
        {
            throw new Refusal(
                "SignatureUnreadable", $"'{name}' is larger than {MaximumSignatureBytes / 1024} KiB and so no detached signature");
        }

        try
        {
            using var file = new MemoryStream(File.ReadAllBytes(path), writable: false);
            using var decoder = PgpUtilities.GetDecoderStream(file);
            var factory = new PgpObjectFactory(decoder);
            var result = new List<PgpSignature>();
            while (factory.NextPgpObject() is { } item)
            {
                if (item is not PgpSignatureList list)
                {
                    throw new Refusal("SignatureUnreadable", $"'{name}' holds something else than a detached signature");
                }

                for (var i = 0; i < list.Count; i++)
                {
                    result.Add(list[i]);
                }
            }

            return result.Count > 0
                ? result
                : throw new Refusal("SignatureUnreadable", $"'{name}' is not an OpenPGP signature, or it is empty");
        }
        catch (Exception e) when (e is not Refusal)
        {
            throw new Refusal("SignatureUnreadable", $"'{name}' is not an OpenPGP signature, or it is damaged", inner: e);
        }
    }

    private async Task<string> DigestAsync(string tarball, PgpSignature signature, IReporter reporter, CancellationToken cancellationToken)
    {
        var name = Path.GetFileName(tarball);
        try
        {
            await using var file = new FileStream(
                tarball,
                FileMode.Open,
                FileAccess.Read,
                FileShare.Read,
                bufferSize: 0,
                FileOptions.SequentialScan | FileOptions.Asynchronous);
            using var sha256 = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            var buffer = new byte[256 * 1024];
            long done = 0;
            var sinceReport = Stopwatch.StartNew();
            int read;
            while ((read = await file.ReadAsync(buffer, cancellationToken)) > 0)
            {
                sha256.AppendData(buffer, 0, read);
                signature.Update(buffer, 0, read);
                done += read;
                if (sinceReport.ElapsedMilliseconds >= 250)
                {
                    sinceReport.Restart();
                    reporter.Progress(new ProgressUpdate(Activity, $"verifying {name}", (int)(done * 100 / Math.Max(done, file.Length))));
                }
            }

            return Convert.ToHexString(sha256.GetHashAndReset()).ToLowerInvariant();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ArchAzureException(
                "TarballUnreadable", e is UnauthorizedAccessException ? ErrorKind.PermissionDenied : ErrorKind.ResourceUnavailable,
                $"'{tarball}' cannot be read: {e.Message.TrimEnd('.')}. Check the file and the disk it is on.", tarball, e);
        }
        finally
        {
            reporter.Progress(new ProgressUpdate(Activity, $"verifying {name}", null, Completed: true, Minor: true));
        }
    }

    private static bool Holds(PgpSignature signature)
    {
        try
        {
            return signature.Verify();
        }
        catch (Exception)
        {
            // Numbers out of range make the library throw; such a signature does not hold.
            return false;
        }
    }

    private ArchAzureException Refused(string tarball, string signaturePath, Refusal refusal)
    {
        var aside = "";
        if (SetAside)
        {
            try
            {
                File.Move(tarball, tarball + ".bad", overwrite: true);
                aside = $" It was moved to '{tarball}.bad' and is never used.";
                File.Move(signaturePath, signaturePath + ".bad", overwrite: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                aside += $" Moving it or its signature aside failed ({e.Message.TrimEnd('.')}): delete both by hand.";
            }
        }

        return new ArchAzureException(refusal.ErrorId, ErrorKind.InvalidData,
            $"'{tarball}' was refused: {refusal.Message}.{aside} {refusal.Remedy}.", tarball, refusal);
    }

    private static string Issuer(PgpSignature signature) => IssuerFingerprint(signature) ?? signature.KeyId.ToString("X16");

    private static string? IssuerFingerprint(PgpSignature signature)
    {
        var packet = signature.GetHashedSubPackets()?.GetIssuerFingerprint() ?? signature.GetUnhashedSubPackets()?.GetIssuerFingerprint();
        return packet is null ? null : Convert.ToHexString(packet.GetFingerprint());
    }

    private static DateTimeOffset? Expires(PgpSignature signature, DateTimeOffset made) =>
        signature.GetHashedSubPackets()?.GetSignatureExpirationTime() is { } seconds and not 0 ? made.AddSeconds(seconds) : null;

    // RFC 9580, 5.2.3.7: a critical part that is not understood makes the signature invalid.
    private static SignatureSubpacketTag? UnknownCritical(PgpSignature signature) =>
        signature.GetHashedSubPackets()?.ToArray()
            .Where(p => p.IsCritical())
            .Select(p => (SignatureSubpacketTag?)p.SubpacketType)
            .FirstOrDefault(
                t => t is not (SignatureSubpacketTag.CreationTime or SignatureSubpacketTag.ExpireTime or SignatureSubpacketTag.IssuerKeyId
                or SignatureSubpacketTag.IssuerFingerprint or SignatureSubpacketTag.SignerUserId));

    private sealed class Refusal(string errorId, string message, string? remedy = null, Exception? inner = null) : Exception(message, inner)
    {
        public string ErrorId { get; } = errorId;

        public string Remedy { get; } = remedy
            ?? "Run the command again to download a new copy; if it happens again, choose another server and tell the server's owner";
    }
}
