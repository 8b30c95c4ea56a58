namespace ArchAzure.UnitTests.Bootstrap;

/// <summary>A GnuPG home of its own: keys and signatures in the tests are made by the real program.</summary>
internal sealed class GnuPG : IDisposable
{
    private readonly TempFolder _home = new();

    public string Run(params string[] arguments) => RunWith(null, arguments);

    public string RunWith(string? input, params string[] arguments) => Tool.Run(
        "gpg",
        ["--batch", "--quiet", "--yes", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", .. arguments],
        _home.Path,
        input,
        new() { ["GNUPGHOME"] = _home.Path, ["LC_ALL"] = "C" });

    /// <summary>Makes a key and returns its fingerprint.</summary>
    /// <param name="name">The user id.</param>
    /// <param name="algorithm">As <c>--quick-generate-key</c> takes it.</param>
    /// <param name="usage">sign, cert or default.</param>
    /// <param name="expire">never, or a time.</param>
    /// <param name="options">More options, such as --faked-system-time.</param>
    public string Key(
        string name, string algorithm = "ed25519", string usage = "cert,sign", string expire = "never", params string[] options)
    {
        Run([.. options, "--quick-generate-key", name, algorithm, usage, expire]);
        return Fingerprints(name)[0];
    }

    public string[] Fingerprints(string name) => Run("--with-colons", "--list-keys", name).Split('\n')
        .Where(l => l.StartsWith("fpr:", StringComparison.Ordinal)).Select(l => l.Split(':')[9]).ToArray();

    public string Export(string name) => Run("--armor", "--export", name);

    /// <summary>Signs a file and returns the signature's path.</summary>
    public string Sign(string file, string key, params string[] options)
    {
        var signature = file + ".sig";
        Run([.. options, "--local-user", key, "--output", signature, "--detach-sign", file]);
        return signature;
    }

    /// <summary>Revokes a key with the certificate that gpg made along with it (a colon keeps it from being used by mistake).</summary>
    public void Revoke(string fingerprint) => RunWith(
        File.ReadAllText(Path.Combine(_home.Path, "openpgp-revocs.d", fingerprint + ".rev"))
            .Replace(":-----BEGIN", "-----BEGIN", StringComparison.Ordinal),
        "--import");

    public void Dispose()
    {
        // The agent that gpg starts would stay behind.
        Tool.Run("gpgconf", ["--kill", "all"], environment: new() { ["GNUPGHOME"] = _home.Path });
        _home.Dispose();
    }
}
