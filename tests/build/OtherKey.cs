namespace ArchAzure.BuildTests;

/// <summary>An OpenPGP key that no keyring knows.</summary>
internal sealed class OtherKey : IAsyncDisposable
{
    private readonly string _home;

    private OtherKey(string home) => _home = home;

    /// <summary>The file of its public half.</summary>
    public string PublicKey { get; private init; } = "";

    public string Fingerprint { get; private init; } = "";

    public static async Task<OtherKey> CreateAsync(TempFolder folder)
    {
        var home = folder["gnupg"];
        Directory.CreateDirectory(home, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        await using var key = new OtherKey(home);
        await key.RunAsync("--quick-generate-key", "Someone Else <someone@else.invalid>", "ed25519", "cert,sign", "never");
        return new OtherKey(home)
        {
            PublicKey = folder.Write("other.asc", await key.RunAsync("--armor", "--export")),
            Fingerprint = (await key.RunAsync("--with-colons", "--list-keys"))
                .Split('\n')
                .First(line => line.StartsWith("fpr:", StringComparison.Ordinal))
                .Split(':')[9],
        };
    }

    /// <summary>Makes FILE.sig.</summary>
    public async Task SignAsync(string file) => await RunAsync("--output", file + ".sig", "--detach-sign", file);

    public async ValueTask DisposeAsync() => await Tool.TryAsync("gpgconf", ["--homedir", _home, "--kill", "all"]);

    private Task<string> RunAsync(params string[] arguments) =>
        Tool.RunAsync(
            "gpg", ["--homedir", _home, "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", .. arguments]);
}
