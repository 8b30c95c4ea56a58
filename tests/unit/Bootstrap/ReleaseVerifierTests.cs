using System.Security.Cryptography;
using ArchAzure.Bootstrap;
using Org.BouncyCastle.Bcpg;
using Org.BouncyCastle.Bcpg.OpenPgp;
using Org.BouncyCastle.Crypto.Generators;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Security;

namespace ArchAzure.UnitTests.Bootstrap;

public sealed class ReleaseVerifierTests(ReleaseVerifierTests.Home gpg) : IClassFixture<ReleaseVerifierTests.Home>, IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly RecordingReporter _reporter = new();

    /// <summary>One GnuPG home with the usual keys for all tests of the class: making keys takes time.</summary>
    public sealed class Home : IDisposable
    {
        internal GnuPG Gpg { get; } = new();

        internal string Signer { get; }

        internal string Other { get; }

        internal string Rsa { get; }

        public Home()
        {
            Signer = Gpg.Key("signer@example.org");
            Other = Gpg.Key("other@example.org");
            Rsa = Gpg.Key("rsa@example.org", "rsa2048");
        }

        public void Dispose() => Gpg.Dispose();
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_pinned_key_is_Archs()
    {
        Assert.Equal("3E80CA1A8B89F69CBA57D98A76A5EF9054449A5C", ReleaseKey.Arch.Fingerprint);
        Assert.Contains("pierre@archlinux", ReleaseKey.Arch.UserId);
        ReleaseKey.Arch.CheckUsable(new DateTimeOffset(2037, 10, 1, 0, 0, 0, TimeSpan.Zero));
        Assert.Equal("ReleaseKeyExpired", Assert.Throws<ArchAzureException>(
            () => ReleaseKey.Arch.CheckUsable(new DateTimeOffset(2037, 11, 1, 0, 0, 0, TimeSpan.Zero))).ErrorId);
    }

    [Theory]
    [InlineData("ed25519", "SHA256", false)]
    [InlineData("ed25519", "SHA512", true)]
    [InlineData("rsa2048", "SHA384", false)]
    [InlineData("nistp256", "SHA256", true)]
    public async Task Good_signatures_of_gpg_are_good(string algorithm, string digest, bool armoured)
    {
        using var own = new GnuPG();
        var key = own.Key("k@example.org", algorithm);
        var (file, sha256) = Tarball();
        var signature = own.Sign(file, key, armoured ? ["--armor", "--digest-algo", digest] : ["--digest-algo", digest]);
        var release = await VerifyAsync(file, sha256, signature, own.Export(key));
        Assert.Equal(key, release.Fingerprint);
        Assert.Equal(sha256, release.Sha256);
        Assert.True(File.Exists(file));
        Assert.False(File.Exists(file + ".bad"));
        Assert.Contains(_reporter.Details, m => m.Contains(key, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_signing_subkey_counts_as_its_primary_key()
    {
        using var own = new GnuPG();
        var key = own.Key("k@example.org", "ed25519", "cert");
        own.Run("--quick-add-key", key, "ed25519", "sign", "never");
        var subkey = own.Fingerprints(key)[1];
        var (file, sha256) = Tarball();
        var signature = own.Sign(file, subkey + "!");
        Assert.Equal(key, (await VerifyAsync(file, sha256, signature, own.Export(key))).Fingerprint);

        // Revoked, it does not.
        own.RunWith("key 1\nrevkey\ny\n0\n\ny\nsave\n", "--command-fd", "0", "--edit-key", key);
        await RefusedAsync(file, sha256, signature, own.Export(key), "SignatureRefused", $"{subkey}, a subkey of {key}", "was revoked");
    }

    [Fact]
    public async Task A_subkey_that_expired_does_not_count()
    {
        using var own = new GnuPG();
        var key = own.Key("k@example.org", "ed25519", "cert", "never", "--faked-system-time", "20200101T000000");
        own.Run("--faked-system-time", "20200101T000000", "--quick-add-key", key, "ed25519", "sign", "1y");
        var (file, sha256) = Tarball();
        var signature = own.Sign(file, own.Fingerprints(key)[1] + "!", "--faked-system-time", "20200601T000000");
        await RefusedAsync(file, sha256, signature, own.Export(key), "SignatureRefused", "expired on 2020-12-31");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_subkey_that_does_not_own_up_to_its_primary_key_does_not_count(bool ownsUp)
    {
        // What an attacker can do with a key server: bind somebody's signing key to a key of his own, or his to somebody's. gpg makes
        // no such key.
        var random = new SecureRandom();
        var pairs = new RsaKeyPairGenerator();
        pairs.Init(new RsaKeyGenerationParameters(Org.BouncyCastle.Math.BigInteger.ValueOf(65537), random, 2048, 25));
        var primary = new PgpKeyPair(PublicKeyAlgorithmTag.RsaGeneral, pairs.GenerateKeyPair(), DateTime.UtcNow.AddDays(-1));
        var subkey = new PgpKeyPair(PublicKeyAlgorithmTag.RsaGeneral, pairs.GenerateKeyPair(), DateTime.UtcNow.AddDays(-1));
        var ring = new PgpKeyRingGenerator(PgpSignature.PositiveCertification, primary, "k@example.org", SymmetricKeyAlgorithmTag.Null,
            HashAlgorithmTag.Sha256, (char[]?)null, false, Flags(PgpKeyFlags.CanCertify), null, random);
        if (ownsUp)
        {
            ring.AddSubKey(subkey, Flags(PgpKeyFlags.CanSign), null, HashAlgorithmTag.Sha256, HashAlgorithmTag.Sha256);
        }
        else
        {
            ring.AddSubKey(subkey, Flags(PgpKeyFlags.CanSign), null, HashAlgorithmTag.Sha256);
        }

        using var text = new MemoryStream();
        using (var armour = new ArmoredOutputStream(text))
        {
            ring.GeneratePublicKeyRing().Encode(armour);
        }

        var key = System.Text.Encoding.ASCII.GetString(text.ToArray());
        var (file, sha256) = Tarball();
        var signer = new PgpSignatureGenerator(PublicKeyAlgorithmTag.RsaGeneral, HashAlgorithmTag.Sha256);
        signer.InitSign(PgpSignature.BinaryDocument, subkey.PrivateKey);
        var dates = new PgpSignatureSubpacketGenerator();
        dates.SetSignatureCreationTime(true, DateTime.UtcNow);
        signer.SetHashedSubpackets(dates.Generate());
        signer.Update(await File.ReadAllBytesAsync(file));
        var signature = _folder.Write("bootstrap.tar.zst.sig", signer.Generate().GetEncoded());
        if (ownsUp)
        {
            await VerifyAsync(file, sha256, signature, key);
        }
        else
        {
            await RefusedAsync(file, sha256, signature, key, "SignatureRefused", "not meant for signing");
        }

        static PgpSignatureSubpacketVector Flags(int flags)
        {
            var packets = new PgpSignatureSubpacketGenerator();
            packets.SetKeyFlags(false, flags);
            return packets.Generate();
        }
    }

    [Fact]
    public async Task A_signature_by_another_key_names_both()
    {
        var (file, sha256) = Tarball();
        var signature = gpg.Gpg.Sign(file, gpg.Other);
        await RefusedAsync(file, sha256, signature, SignerKey, "SignatureByOtherKey", gpg.Other, gpg.Signer);
    }

    [Fact]
    public async Task One_good_signature_of_several_is_enough()
    {
        var (file, sha256) = Tarball();
        var signature = gpg.Gpg.Sign(file, gpg.Other, "--local-user", gpg.Signer);
        Assert.Equal(gpg.Signer, (await VerifyAsync(file, sha256, signature, SignerKey)).Fingerprint);
    }

    [Fact]
    public async Task An_altered_file_is_refused_by_its_checksum()
    {
        var (file, sha256) = Tarball();
        var signature = gpg.Gpg.Sign(file, gpg.Signer);
        Alter(file);
        await RefusedAsync(file, sha256, signature, SignerKey, "ChecksumMismatch", sha256);
    }

    [Fact]
    public async Task An_altered_file_is_refused_by_its_signature_too()
    {
        // A server that alters the file alters its list as well.
        var (file, _) = Tarball();
        var signature = gpg.Gpg.Sign(file, gpg.Signer);
        Alter(file);
        await RefusedAsync(file, Sha256(file), signature, SignerKey, "SignatureInvalid", gpg.Signer);
    }

    [Fact]
    public async Task Without_a_list_the_signature_decides()
    {
        var (file, _) = Tarball();
        var signature = gpg.Gpg.Sign(file, gpg.Signer);
        await VerifyAsync(file, null, signature, SignerKey);
        Alter(file);
        await RefusedAsync(file, null, signature, SignerKey, "SignatureInvalid");
    }

    [Fact]
    public async Task A_truncated_file_is_refused()
    {
        var (file, sha256) = Tarball();
        var signature = gpg.Gpg.Sign(file, gpg.Signer);
        await File.WriteAllBytesAsync(file, (await File.ReadAllBytesAsync(file))[..1000]);
        await RefusedAsync(file, sha256, signature, SignerKey, "ChecksumMismatch", "1000 bytes");
    }

    [Fact]
    public async Task A_valid_signature_over_another_file_is_refused()
    {
        var (file, sha256) = Tarball();
        var other = _folder.Write("other", "another file");
        var signature = gpg.Gpg.Sign(other, gpg.Signer);
        await RefusedAsync(file, sha256, signature, SignerKey, "SignatureInvalid");
    }

    [Fact]
    public async Task An_older_bad_file_makes_way()
    {
        var (file, sha256) = Tarball();
        _folder.Write("bootstrap.tar.zst.bad", "older");
        var signature = gpg.Gpg.Sign(file, gpg.Signer);
        Alter(file);
        var altered = await File.ReadAllBytesAsync(file);
        await RefusedAsync(file, sha256, signature, SignerKey, "ChecksumMismatch");
        Assert.Equal(altered, await File.ReadAllBytesAsync(file + ".bad"));
    }

    [Fact]
    public async Task A_file_of_the_user_is_not_moved()
    {
        var (file, sha256) = Tarball();
        var signature = gpg.Gpg.Sign(file, gpg.Signer);
        Alter(file);
        var verifier = new ReleaseVerifier { SetAside = false };
        await Assert.ThrowsAsync<ArchAzureException>(
            () => verifier.VerifyAsync(file, sha256, signature, LoadKey(SignerKey), _reporter, default));
        Assert.True(File.Exists(file));
        Assert.False(File.Exists(file + ".bad"));
    }

    [Fact]
    public async Task An_expired_key_is_refused_before_the_file_is_touched()
    {
        using var own = new GnuPG();
        var key = own.Key("k@example.org", "ed25519", "cert,sign", "1y", "--faked-system-time", "20200101T000000");
        var (file, sha256) = Tarball();
        var signature = own.Sign(file, key, "--faked-system-time", "20200601T000000");
        var exported = own.Export(key);
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => VerifyAsync(file, sha256, signature, exported));
        Assert.Equal("ReleaseKeyExpired", error.ErrorId);
        Assert.Contains("2020-12-31", error.Message);
        Assert.Contains("RELEASE_KEY", error.Message);
        Assert.True(File.Exists(file));

        // While it was valid it was good, and prolonged by its owner it is again.
        await VerifyAsync(file, sha256, signature, exported, new DateTimeOffset(2020, 7, 1, 0, 0, 0, TimeSpan.Zero));
        own.Run("--quick-set-expire", key, "20y");
        await VerifyAsync(file, sha256, signature, own.Export(key));
    }

    [Fact]
    public async Task A_revoked_key_is_refused()
    {
        using var own = new GnuPG();
        var key = own.Key("k@example.org");
        var (file, sha256) = Tarball();
        var signature = own.Sign(file, key);
        own.Revoke(key);
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => VerifyAsync(file, sha256, signature, own.Export(key)));
        Assert.Equal("ReleaseKeyRevoked", error.ErrorId);
        Assert.Contains(key, error.Message);
    }

    [Fact]
    public async Task A_key_that_may_only_certify_signs_nothing()
    {
        using var own = new GnuPG();
        var key = own.Key("k@example.org");
        var (file, sha256) = Tarball();
        var signature = own.Sign(file, key);
        own.RunWith("change-usage\nS\nQ\nsave\n", "--command-fd", "0", "--expert", "--edit-key", key);
        await RefusedAsync(file, sha256, signature, own.Export(key), "SignatureRefused", "not meant for signing");
    }

    [Theory]
    [InlineData("SHA1")]
    [InlineData("SHA224")]
    [InlineData("RIPEMD160")]
    public async Task Weak_digests_are_refused(string digest)
    {
        var (file, sha256) = Tarball();
        var signature = gpg.Gpg.Sign(file, gpg.Rsa, "--digest-algo", digest, "--allow-weak-digest-algos");
        await RefusedAsync(file, sha256, signature, gpg.Gpg.Export(gpg.Rsa), "SignatureRefused", digest);
    }

    [Fact]
    public async Task Signatures_from_the_future_or_past_their_time_are_refused()
    {
        var (file, sha256) = Tarball();
        var signature = gpg.Gpg.Sign(file, gpg.Signer, "--faked-system-time", DateTime.UtcNow.AddDays(2).ToString("yyyyMMdd'T'HHmmss"));
        await RefusedAsync(file, sha256, signature, SignerKey, "SignatureRefused", "future", "clock");

        (file, sha256) = Tarball();
        signature = gpg.Gpg.Sign(file, gpg.Signer, "--default-sig-expire", "1d");
        await RefusedAsync(
            file, sha256, signature, SignerKey, "SignatureRefused", "the signature expired", at: DateTimeOffset.UtcNow.AddDays(3));
    }

    [Fact]
    public async Task A_signature_older_than_its_key_is_refused()
    {
        using var own = new GnuPG();
        var key = own.Key("k@example.org", "ed25519", "cert,sign", "never", "--faked-system-time", "20240101T000000");
        var (file, sha256) = Tarball();
        var signature = own.Sign(file, key, "--faked-system-time", "20230101T000000", "--ignore-time-conflict", "--ignore-valid-from");
        await RefusedAsync(file, sha256, signature, own.Export(key), "SignatureRefused", "before its key was made");
    }

    [Fact]
    public async Task Other_kinds_of_signatures_are_refused()
    {
        var (file, sha256) = Tarball();
        var text = gpg.Gpg.Sign(file, gpg.Signer, "--textmode");
        await RefusedAsync(file, sha256, text, SignerKey, "SignatureRefused", "type 0x01");

        (file, sha256) = Tarball();
        gpg.Gpg.Run("--local-user", gpg.Signer, "--output", file + ".sig", "--sign", file);
        await RefusedAsync(file, sha256, file + ".sig", SignerKey, "SignatureUnreadable");
    }

    [Fact]
    public async Task Junk_is_no_signature()
    {
        var armoured = gpg.Gpg.Run("--armor", "--local-user", gpg.Signer, "--output", "-", "--detach-sign", _folder.Write("x", "x"));
        var random = new Random(1);
        var noise = new byte[300];
        random.NextBytes(noise);
        byte[][] junk =
        [
            [], [0], noise, [0x88], [0xC2, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], new byte[100_000],
            .. new[]
            {
                "<html>404</html>", armoured[..60], armoured[..^40], SignerKey,
                "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n",
            }
                .Select(System.Text.Encoding.UTF8.GetBytes),
        ];
        foreach (var bytes in junk)
        {
            var (file, sha256) = Tarball();
            var signature = _folder.Write("bootstrap.tar.zst.sig", bytes);
            var error = await Assert.ThrowsAsync<ArchAzureException>(() => VerifyAsync(file, sha256, signature, SignerKey));
            Assert.Equal("SignatureUnreadable", error.ErrorId);
            Assert.True(File.Exists(file + ".bad"));
        }
    }

    [Fact]
    public async Task No_flipped_byte_of_a_signature_changes_what_is_believed()
    {
        var (file, sha256) = Tarball();
        var good = await File.ReadAllBytesAsync(gpg.Gpg.Sign(file, gpg.Signer));
        var verifier = new ReleaseVerifier { SetAside = false };
        var key = LoadKey(SignerKey);
        var believed = await verifier.VerifyAsync(file, sha256, _folder.Write("good.sig", good), key, _reporter, default);
        var refused = 0;
        for (var i = 0; i < good.Length; i++)
        {
            var bad = good.ToArray();
            bad[i] ^= 0x21;
            var signature = _folder.Write("flipped.sig", bad);
            try
            {
                // What a signature does not cover may change unseen: the unhashed part, and the way a length is written.
                Assert.Equal(believed, await verifier.VerifyAsync(file, sha256, signature, key, _reporter, default));
            }
            catch (ArchAzureException e)
            {
                Assert.StartsWith("Signature", e.ErrorId);
                refused++;
            }
        }

        Assert.InRange(refused, good.Length - 20, good.Length);
    }

    [Fact]
    public async Task Missing_files_are_named()
    {
        var (file, sha256) = Tarball();
        Assert.Equal(
            "SignatureNotFound",
            (await Assert.ThrowsAsync<ArchAzureException>(() => VerifyAsync(file, sha256, file + ".sig", SignerKey))).ErrorId);
        Assert.True(File.Exists(file));
        Assert.Equal(
            "TarballNotFound",
            (await Assert.ThrowsAsync<ArchAzureException>(() => VerifyAsync(file + "x", sha256, file + ".sig", SignerKey))).ErrorId);
    }

    [Fact]
    public void Key_files_are_checked()
    {
        var both = gpg.Gpg.Run("--armor", "--export", gpg.Signer, gpg.Other);
        Assert.Equal(gpg.Other, LoadKey(both, gpg.Other).Fingerprint);
        Assert.Contains("holds 2 keys", Assert.Throws<ArchAzureException>(() => LoadKey(both)).Message);
        Assert.Contains(gpg.Signer, Assert.Throws<ArchAzureException>(() => LoadKey(SignerKey, gpg.Other)).Message);
        Assert.Contains("secret", Assert.Throws<ArchAzureException>(
            () => LoadKey(gpg.Gpg.Run("--armor", "--export-secret-keys", gpg.Signer))).Message);
        Assert.Equal("ReleaseKeyNotFound", Assert.Throws<ArchAzureException>(() => ReleaseKey.LoadFile(_folder["none"])).ErrorId);
        var junks = new[]
        {
            "", "junk", SignerKey[..100], "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
        };
        foreach (var junk in junks)
        {
            Assert.Equal(
                "ReleaseKeyInvalid", Assert.Throws<ArchAzureException>(() => ReleaseKey.LoadFile(_folder.Write("junk", junk))).ErrorId);
        }

        gpg.Gpg.Run("--output", _folder["binary"], "--export", gpg.Signer);
        Assert.Equal(gpg.Signer, ReleaseKey.LoadFile(_folder["binary"], gpg.Signer.ToLowerInvariant()).Fingerprint);

        // A user id that is not UTF-8: its signatures cannot be looked up.
        var damaged = File.ReadAllBytes(_folder["binary"]);
        damaged[damaged.AsSpan().IndexOf((byte)'@')] = 0xEC;
        Assert.Equal(
            "ReleaseKeyInvalid", Assert.Throws<ArchAzureException>(() => ReleaseKey.LoadFile(_folder.Write("damaged", damaged))).ErrorId);
    }

    private string SignerKey => gpg.Gpg.Export(gpg.Signer);

    private (string File, string Sha256) Tarball()
    {
        var file = _folder.Write("bootstrap.tar.zst", RandomNumberGenerator.GetBytes(600_000));
        return (file, Sha256(file));
    }

    private static string Sha256(string file) => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file))).ToLowerInvariant();

    private static void Alter(string file)
    {
        var bytes = File.ReadAllBytes(file);
        bytes[300_000] ^= 1;
        File.WriteAllBytes(file, bytes);
    }

    private ReleaseKey LoadKey(string armored, string? fingerprint = null) =>
        ReleaseKey.LoadFile(_folder.Write("key.asc", armored), fingerprint);

    private Task<VerifiedRelease> VerifyAsync(string file, string? sha256, string signature, string key, DateTimeOffset? at = null) =>
        new ReleaseVerifier(at is { } time ? new FixedClock(time) : null)
            .VerifyAsync(file, sha256, signature, LoadKey(key), _reporter, default);

    private async Task RefusedAsync(string file, string? sha256, string signature, string key, string errorId, params string[] words) =>
        await RefusedAsync(file, sha256, signature, key, errorId, words, null);

    private Task RefusedAsync(string file, string? sha256, string signature, string key, string errorId, string word, DateTimeOffset at) =>
        RefusedAsync(file, sha256, signature, key, errorId, [word], at);

    private async Task RefusedAsync(
        string file, string? sha256, string signature, string key, string errorId, string[] words, DateTimeOffset? at)
    {
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => VerifyAsync(file, sha256, signature, key, at));
        Assert.Equal(errorId, error.ErrorId);
        Assert.All(words, w => Assert.Contains(w, error.Message, StringComparison.OrdinalIgnoreCase));
        Assert.False(File.Exists(file));
        Assert.False(File.Exists(signature));
        Assert.True(File.Exists(file + ".bad"));
        // Put back for a test that goes on.
        File.Copy(file + ".bad", file, overwrite: true);
    }

    private sealed class FixedClock(DateTimeOffset now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now;
    }
}
