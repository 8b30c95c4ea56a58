using System.Globalization;
using System.Runtime.Versioning;

namespace ArchAzure.StandIn;

/// <summary>Throwaway OpenPGP keys (ed25519, as Arch's are) and what is signed with them.</summary>
[SupportedOSPlatform("linux")]
internal sealed class Signer : IAsyncDisposable
{
    // gpg-agent's socket lies in the home: its path is limited to 107 bytes, so it cannot be below the cache.
    private const string HomePrefix = "/tmp/archazure-standin-gpg-";
    private readonly string _home = HomePrefix + Environment.ProcessId.ToString(CultureInfo.InvariantCulture);

    /// <summary>Makes an empty key store and removes those of killed runs.</summary>
    public Signer()
    {
        foreach (string old in Directory.GetDirectories("/tmp", Path.GetFileName(HomePrefix) + "*"))
        {
            if (old == _home || !Directory.Exists("/proc/" + old[HomePrefix.Length..]))
            {
                Directory.Delete(old, recursive: true);
            }
        }

        _ = Directory.CreateDirectory(_home, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    /// <summary>Makes a key and returns its fingerprint.</summary>
    public async Task<string> CreateKeyAsync(string userId, CancellationToken cancellation)
    {
        _ = await GpgAsync(["--passphrase", "", "--quick-generate-key", userId, "ed25519", "sign", "never"], cancellation);
        string keys = await GpgAsync(["--with-colons", "--list-keys", "=" + userId], cancellation);
        return keys.Split('\n').First(l => l.StartsWith("fpr:", StringComparison.Ordinal)).Split(':')[9];
    }

    /// <summary>Writes <c>FILE.sig</c>, a binary detached signature, and returns it.</summary>
    public async Task<byte[]> SignAsync(string key, string file, CancellationToken cancellation)
    {
        _ = await GpgAsync(["--local-user", key, "--yes", "--output", file + ".sig", "--detach-sign", file], cancellation);
        return await File.ReadAllBytesAsync(file + ".sig", cancellation);
    }

    /// <summary>Writes a public key to a file.</summary>
    public Task ExportAsync(string key, string file, bool armor, CancellationToken cancellation) =>
        GpgAsync([.. armor ? ["--armor"] : Array.Empty<string>(), "--yes", "--output", file, "--export", key], cancellation);

    /// <summary>Ends the agent and removes the private keys.</summary>
    public async ValueTask DisposeAsync()
    {
        _ = await Tool.RunAsync("gpgconf", ["--homedir", _home, "--kill", "all"], CancellationToken.None);
        Directory.Delete(_home, recursive: true);
    }

    private Task<string> GpgAsync(string[] arguments, CancellationToken cancellation) =>
        Tool.RunAsync(
            "gpg", ["--homedir", _home, "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", .. arguments], cancellation);
}
