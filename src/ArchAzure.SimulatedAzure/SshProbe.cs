using System.Net.Sockets;
using System.Text;
using Org.BouncyCastle.Crypto.Generators;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Crypto.Utilities;
using Org.BouncyCastle.Security;
using Renci.SshNet;
using Renci.SshNet.Common;

namespace ArchAzure.SimulatedAzure;

/// <summary>A fresh ed25519 key pair, for one run. The private half stays in memory unless it is asked for.</summary>
internal sealed class SshKeyPair
{
    private readonly byte[] _privateKey;

    private SshKeyPair(string publicKey, byte[] privateKey)
    {
        PublicKey = publicKey;
        _privateKey = privateKey;
    }

    /// <summary>The public key in OpenSSH's one-line form.</summary>
    public string PublicKey { get; }

    /// <summary>The private key as an OpenSSH key file, not encrypted, for a client that is another program.</summary>
    /// <returns>The file's bytes; whoever writes them sees to it that only the user can read it.</returns>
    public byte[] ToOpenSshFile() => [.. _privateKey];

    /// <summary>Makes a pair.</summary>
    /// <param name="comment">The word at the end of the public key's line.</param>
    public static SshKeyPair Create(string comment)
    {
        var generator = new Ed25519KeyPairGenerator();
        generator.Init(new Ed25519KeyGenerationParameters(new SecureRandom()));
        var pair = generator.GenerateKeyPair();
        var body = Convert.ToBase64String(
            OpenSshPrivateKeyUtilities.EncodePrivateKey(pair.Private), Base64FormattingOptions.InsertLineBreaks);
        return new SshKeyPair(
            $"ssh-ed25519 {Convert.ToBase64String(OpenSshPublicKeyUtilities.EncodePublicKey(pair.Public))} {comment}",
            Encoding.ASCII.GetBytes(
                $"-----BEGIN OPENSSH PRIVATE KEY-----\n{body.ReplaceLineEndings("\n")}\n-----END OPENSSH PRIVATE KEY-----\n"));
    }
}

/// <summary>What a command in the guest did.</summary>
/// <param name="ExitCode">Its exit code; -1 where a signal ended it.</param>
/// <param name="Output">Its standard output.</param>
/// <param name="Error">Its error output.</param>
internal sealed record SshResult(int ExitCode, string Output, string Error);

/// <summary>Logs in to the machine over ssh and runs commands there.</summary>
internal sealed class SshProbe : IDisposable
{
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_connectLimit = TimeSpan.FromSeconds(30);

    // How often a word is sent on an idle connection: nobody would notice else that the machine was reset under a command that waits.
    private static readonly TimeSpan s_keepAlive = TimeSpan.FromSeconds(15);

    // An emulated machine under load takes its time with each step; that the connection is lost is noticed without this.
    private static readonly TimeSpan s_answerLimit = TimeSpan.FromMinutes(5);

    private const int MostOutput = 1 << 20;

    private readonly int _port;
    private readonly string _user;
    private readonly Func<AuthenticationMethod> _authentication;
    private SshClient? _client;

    /// <param name="port">The port on the host's loopback that leads to the machine's sshd.</param>
    /// <param name="user">The user.</param>
    /// <param name="authentication">How he logs in.</param>
    public SshProbe(int port, string user, Func<AuthenticationMethod> authentication)
    {
        _port = port;
        _user = user;
        _authentication = authentication;
    }

    /// <summary>SHA-256 of the host key as OpenSSH writes it (<c>SHA256:...</c> without padding), once connected.</summary>
    public string? HostKeyFingerprint { get; private set; }

    /// <summary>A login with a key.</summary>
    /// <param name="port">The port on the host's loopback that leads to the machine's sshd.</param>
    /// <param name="user">The user.</param>
    /// <param name="key">The key.</param>
    public static SshProbe WithKey(int port, string user, SshKeyPair key) => new(port, user, () =>
    {
        using var stream = new MemoryStream(key.ToOpenSshFile(), writable: false);
        return new PrivateKeyAuthenticationMethod(user, new PrivateKeyFile(stream));
    });

    /// <summary>Tries to log in until it works.</summary>
    /// <exception cref="OperationCanceledException">Cancelled; what stood in the way last is its inner exception.</exception>
    public async Task ConnectAsync(CancellationToken cancellationToken)
    {
        Exception? last = null;
        while (true)
        {
            try
            {
                await TryConnectAsync(cancellationToken);
                return;
            }
            catch (Exception e) when (e is SshException or SocketException or IOException)
            {
                last = e;
            }
            catch (OperationCanceledException e) when (cancellationToken.IsCancellationRequested)
            {
                throw new OperationCanceledException(last?.Message ?? e.Message, last ?? e, cancellationToken);
            }

            await PauseAsync(last, cancellationToken);
        }
    }

    /// <summary>Runs a command with the user's login shell.</summary>
    public async Task<SshResult> RunAsync(string command, CancellationToken cancellationToken)
    {
        using var running = (_client ?? throw new InvalidOperationException("Not logged in.")).CreateCommand(command);
        var execution = running.ExecuteAsync(cancellationToken);
        var output = ReadTextAsync(running.OutputStream, cancellationToken);
        var error = ReadTextAsync(running.ExtendedOutputStream, cancellationToken);
        await execution;
        return new SshResult(running.ExitStatus ?? -1, await output, await error);
    }

    /// <summary>Reads what a command writes to its end, and keeps the first 1 MiB of it.</summary>
    public static async Task<string> ReadTextAsync(Stream stream, CancellationToken cancellationToken)
    {
        // SSH.NET's streams block their reader.
        await Task.Yield();
        using var kept = new MemoryStream();
        var buffer = new byte[8192];
        int count;
        while ((count = await stream.ReadAsync(buffer, cancellationToken)) > 0)
        {
            kept.Write(buffer, 0, (int)Math.Min(count, MostOutput - kept.Length));
        }

        return Encoding.UTF8.GetString(kept.ToArray());
    }

    /// <summary>Runs a command that only reads, again on a new connection where one breaks off under it.</summary>
    /// <exception cref="OperationCanceledException">Cancelled; what stood in the way last is its inner exception.</exception>
    public async Task<SshResult> ReadAsync(string command, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await RunAsync(command, cancellationToken);
            }
            catch (Exception e) when (e is SshException or SocketException or IOException)
            {
                await PauseAsync(e, cancellationToken);
                await ConnectAsync(cancellationToken);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _client?.Dispose();

    private static async Task PauseAsync(Exception last, CancellationToken cancellationToken)
    {
        try
        {
            await Task.Delay(s_pause, cancellationToken);
        }
        catch (OperationCanceledException e)
        {
            throw new OperationCanceledException(last.Message, last, e.CancellationToken);
        }
    }

    /// <summary>Tries to log in once.</summary>
    public async Task TryConnectAsync(CancellationToken cancellationToken)
    {
        _client?.Dispose();
        var information = new ConnectionInfo("127.0.0.1", _port, _user, _authentication()) { Timeout = s_connectLimit };
        var client = new SshClient(information) { KeepAliveInterval = s_keepAlive };
        client.HostKeyReceived += (_, key) =>
        {
            // A new machine's key is known to no one; the report compares it with what the machine told the platform.
            HostKeyFingerprint = "SHA256:" + key.FingerPrintSHA256;
            key.CanTrust = true;
        };
        _client = client;
        await client.ConnectAsync(cancellationToken);
        information.Timeout = s_answerLimit;
    }
}
