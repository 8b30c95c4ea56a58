using System.Formats.Tar;
using System.Globalization;
using System.IO.Enumeration;
using System.Security.Cryptography;
using System.Text;
using ArchAzure.Containers;
using ArchAzure.IO;
using ArchAzure.Settings;

namespace ArchAzure.Target;

/// <summary>How stubborn a fetch by git is.</summary>
internal sealed record FetchLimits
{
    /// <summary>Longest time without a byte, where git can tell (http and https).</summary>
    public TimeSpan Silence { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Longest time of one attempt in all; one commit of the agent is a few MiB.</summary>
    public TimeSpan Total { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>How often it is tried.</summary>
    public RetryLimits Retries { get; init; } = RetryLimits.Default;
}

/// <summary>Where the Azure Linux agent's source comes from: a git repository at a commit, an archive, or a folder.</summary>
internal abstract class AgentSource
{
    /// <summary>What timeout(1) reports of a command that it ended, and of one that it had to kill.</summary>
    private const long TimedOutStatus = 124;
    private const long KilledStatus = 137;

    /// <summary>What each source of the agent has.</summary>
    private const string Program = "bin/waagent";

    /// <summary>What a command reports that wrote more than prlimit(1) allows: 128 and the number of SIGXFSZ.</summary>
    private const long FileSizeStatus = 153;

    private static readonly string[] s_noCommit = ["not our ref", "couldn't find remote ref", "unadvertised object"];

    /// <summary>Words of git and libcurl for what may pass.</summary>
    private static readonly string[] s_brokeOff =
    [
        "could not resolve host", "unable to look up", "unable to connect", "couldn't connect", "failed to connect", "connection refused",
        "connection reset", "connection closed", "broken pipe", "timed out",
        "operation too slow", "early eof", "unexpected disconnect", "the remote end hung up", "could not read from remote repository",
        "transfer closed", "empty reply", "rpc failed",
        "returned error: 408", "returned error: 429", "returned error: 5",
    ];

    /// <summary>
    /// What ssh and git servers say of a repository that is not there or may not be read; git adds that it could not read from it.
    /// </summary>
    private static readonly string[] s_refused =
    [
        "permission denied", "access denied", "host key verification", "not found", "does not exist", "does not appear to be",
    ];

    private AgentSource(string location, string? commit)
    {
        Location = location;
        Commit = commit;
    }

    /// <summary>The address or path.</summary>
    public string Location { get; }

    /// <summary>The commit, for a git repository.</summary>
    public string? Commit { get; }

    /// <summary>Tells what kind of source a setting names.</summary>
    /// <exception cref="ArchAzureException"><c>AgentSourceNotFound</c>.</exception>
    public static AgentSource Parse(string source, string commit)
    {
        if (SettingRules.IsGitAddress(source))
        {
            return new GitAddress(source, commit);
        }

        var path = Path.GetFullPath(source);
        if (Directory.Exists(path))
        {
            return IsGitRepository(path) ? new GitFolder(path, commit) : new PlainFolder(path);
        }

        return File.Exists(path)
            ? new Archive(path)
            : throw new ArchAzureException(
                "AgentSourceNotFound", ErrorKind.NotFound, $"The agent's source '{source}' is neither an address (https://...) nor an "
                + "existing archive or folder. Correct -Source or WAAGENT_SOURCE.", source);
    }

    /// <summary>A text that changes when the source does.</summary>
    public virtual string Fingerprint() => $"{Location}@{Commit}";

    /// <summary>Puts the source into a folder of the builder.</summary>
    /// <param name="builder">The builder.</param>
    /// <param name="folder">The folder.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <param name="limits">How stubborn a fetch over the network is; null for the defaults.</param>
    /// <returns>The folder on top, which holds bin/waagent.</returns>
    /// <exception cref="ArchAzureException"><c>AgentCommitNotFound</c>, <c>AgentSourceUnreachable</c> or
    /// <c>AgentSourceInvalid</c>.</exception>
    public async Task<string> FetchAsync(Builder builder, string folder, CancellationToken cancellationToken, FetchLimits? limits = null)
    {
        await builder.RunAsync(["mkdir", "-p", folder], null, cancellationToken);
        await UnpackAsync(builder, folder, limits ?? new FetchLimits(), cancellationToken);

        // Archives have one folder on top, as GitHub's do.
        var found = await builder.RunAsync(
            ["find", folder, "-maxdepth", "3", "-path", $"*/{Program}", "-printf", "%d %p\\n"], null, cancellationToken);
        var program = found.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal).FirstOrDefault();
        return program?[2..^(Program.Length + 1)] ?? throw new ArchAzureException(
            "AgentSourceInvalid", ErrorKind.InvalidData, $"'{Location}' holds no {Program}: it is not the source of the Azure Linux "
            + "agent. Correct -Source or WAAGENT_SOURCE.", Location);
    }

    /// <summary>Unpacks or fetches the source into the folder.</summary>
    protected abstract Task UnpackAsync(Builder builder, string folder, FetchLimits limits, CancellationToken cancellationToken);

    private static bool IsGitRepository(string path) =>
        Path.Exists(Path.Combine(path, ".git"))
            || (File.Exists(Path.Combine(path, "HEAD")) && Directory.Exists(Path.Combine(path, "objects")));

    /// <summary>Fetches exactly one commit. Its id is a hash over all it holds: git checks it, so the id is the proof.</summary>
    private async Task FetchCommitAsync(
        Builder builder, string folder, string remote, FetchLimits limits, CancellationToken cancellationToken)
    {
        // safe.directory: a repository copied into the builder belongs to another user there. lowSpeed: git itself waits for ever.
        (string Key, string Value)[] settings =
        [
            ("safe.directory", "*"),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", Seconds(limits.Silence)),
        ];
        var environment = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["GIT_CONFIG_COUNT"] = $"{settings.Length}", ["GIT_TERMINAL_PROMPT"] = "0",
        };
        for (var i = 0; i < settings.Length; i++)
        {
            environment[$"GIT_CONFIG_KEY_{i}"] = settings[i].Key;
            environment[$"GIT_CONFIG_VALUE_{i}"] = settings[i].Value;
        }

        var options = new CommandOptions { Environment = environment };
        await Retries.Pipeline(limits.Retries, $"git fetch {Location}", builder.Log.Detail, e => e is FetchBrokeOffException).ExecuteAsync(
            async token => await FetchOnceAsync(builder, folder, remote, limits, options, token), cancellationToken);
        await builder.RunAsync(["git", "-C", folder, "checkout", "--quiet", Commit!], options, cancellationToken);
    }

    private async Task FetchOnceAsync(
        Builder builder, string folder, string remote, FetchLimits limits, CommandOptions options, CancellationToken cancellationToken)
    {
        // A fetch that was killed may have left its locks.
        await builder.RunAsync(["rm", "-rf", "--", $"{folder}/.git"], null, cancellationToken);
        await builder.RunAsync(["git", "init", "--quiet", folder], options, cancellationToken);

        // timeout: git:// knows no limit on silence.
        var fetch = await builder.RunAsync(
            [
                "timeout", "--kill-after=10", Seconds(limits.Total), "git", "-C", folder, "fetch", "--quiet", "--depth=1", "--no-tags",
                "--", remote, Commit!,
            ],
            options with { AllowFailure = true },
            cancellationToken);
        if (fetch.ExitCode == 0)
        {
            return;
        }

        var timedOut = fetch.ExitCode is TimedOutStatus or KilledStatus;
        var said = timedOut ? $"it was not done after {Seconds(limits.Total)} s." : string.Join(' ', fetch.Tail);
        if (s_noCommit.Any(words => said.Contains(words, StringComparison.Ordinal)))
        {
            throw new ArchAzureException(
                "AgentCommitNotFound",
                ErrorKind.NotFound,
                $"'{Location}' has no commit {Commit}: {said} Give another with -Commit or WAAGENT_COMMIT.",
                Commit);
        }

        var unreachable = $"The agent could not be fetched from '{Location}': {said} Check the network, or give an archive or a folder "
            + "with -Source.";
        throw timedOut || IsTransient(said)
            ? new FetchBrokeOffException(unreachable, Location)
            : new ArchAzureException("AgentSourceUnreachable", ErrorKind.ConnectionError, unreachable, Location);
    }

    /// <summary>Whether what git said leaves hope for the next attempt.</summary>
    internal static bool IsTransient(string said) =>
        s_brokeOff.Any(words => said.Contains(words, StringComparison.OrdinalIgnoreCase))
            && !s_refused.Any(words => said.Contains(words, StringComparison.OrdinalIgnoreCase));

    private static string Seconds(TimeSpan time) => Math.Ceiling(time.TotalSeconds).ToString(CultureInfo.InvariantCulture);

    /// <summary>A fetch that broke off; the next one may come through.</summary>
    private sealed class FetchBrokeOffException(string message, string location) : ArchAzureException(
        "AgentSourceUnreachable", ErrorKind.ConnectionError, message, location);

    private sealed class GitAddress(string address, string commit) : AgentSource(address, commit)
    {
        protected override Task UnpackAsync(Builder builder, string folder, FetchLimits limits, CancellationToken cancellationToken) =>
            FetchCommitAsync(builder, folder, Location, limits, cancellationToken);
    }

    private sealed class GitFolder(string path, string commit) : AgentSource(path, commit)
    {
        protected override async Task UnpackAsync(Builder builder, string folder, FetchLimits limits, CancellationToken cancellationToken)
        {
            var copy = folder + ".git";
            await builder.RunAsync(["mkdir", copy], null, cancellationToken);
            await SendFolderAsync(builder, Location, copy, cancellationToken);
            await FetchCommitAsync(
                builder, folder, copy, limits with { Retries = limits.Retries with { MaxAttempts = 1 } }, cancellationToken);
            await builder.RunAsync(["rm", "-rf", copy], null, cancellationToken);
        }
    }

    private sealed class PlainFolder(string path) : AgentSource(path, null)
    {
        public override string Fingerprint()
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            foreach (var entry in Entries(Location))
            {
                var info = new FileInfo(entry);
                hash.AppendData(Encoding.UTF8.GetBytes($"{Path.GetRelativePath(Location, entry)}\0{info.LinkTarget}\0"));
                if (info is { Exists: true, LinkTarget: null })
                {
                    using var file = info.OpenRead();
                    hash.AppendData(SHA256.HashData(file));
                }
            }

            return Convert.ToHexString(hash.GetHashAndReset());
        }

        protected override Task UnpackAsync(Builder builder, string folder, FetchLimits limits, CancellationToken cancellationToken) =>
            SendFolderAsync(builder, Location, folder, cancellationToken);
    }

    private sealed class Archive(string path) : AgentSource(path, null)
    {
        public override string Fingerprint()
        {
            using var file = File.OpenRead(Location);
            return Convert.ToHexString(SHA256.HashData(file));
        }

        protected override async Task UnpackAsync(Builder builder, string folder, FetchLimits limits, CancellationToken cancellationToken)
        {
            // bsdtar knows tar in every compression, and zip. First a plain tar is made of it, which may be no larger than the limit.
            var archive = new AgentArchive(Location);
            var plain = folder + ".tar";
            var made = await builder.RunAsync(
                [
                    "prlimit", $"--fsize={AgentArchive.MaximumBytes}", "bsdtar", "--absolute-paths", "--create", "--format=pax", "--file",
                    plain, "@-",
                ],
                CommandOptions.FromFile(Location) with { AllowFailure = true },
                cancellationToken);
            if (made.ExitCode != 0)
            {
                throw made.ExitCode == FileSizeStatus || made.Tail.Any(line => line.Contains("File too large", StringComparison.Ordinal))
                    ? archive.TooLarge()
                    : archive.Invalid(string.Join(' ', made.Tail));
            }

            await builder.RunAsync(
                ["bsdtar", "--list", "-vv", "--numeric-owner", "--absolute-paths", "--file", plain],
                new CommandOptions
                {
                    LogOutput = false,
                    OnLine = (line, error) =>
                    {
                        if (!error && !line.StartsWith("Archive Format: ", StringComparison.Ordinal))
                        {
                            archive.Check(line);
                        }
                    },
                },
                cancellationToken);
            await builder.RunAsync(
                ["bsdtar", "--extract", "--file", plain, "--directory", folder, "--no-same-owner"], null, cancellationToken);
            await builder.RunAsync(["rm", plain], null, cancellationToken);
        }
    }

    /// <summary>
    /// All that is in a folder, in order, also what begins with a dot; links are not followed. A pipe, socket or device is refused: nobody
    /// could read it to its end.
    /// </summary>
    private static List<string> Entries(string folder)
    {
        var all = new FileSystemEnumerable<string>(
            folder,
            (ref FileSystemEntry entry) => entry.ToFullPath(),
            new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.None })
        {
            ShouldRecursePredicate = (ref FileSystemEntry entry) => !entry.Attributes.HasFlag(FileAttributes.ReparsePoint),
        };
        List<string> paths = [.. all.Order(StringComparer.Ordinal)];
        return paths.Find(Posix.IsSpecial) is { } special
            ? throw new ArchAzureException(
                "AgentSourceInvalid", ErrorKind.InvalidData, $"'{special}' is neither a file, a folder nor a link, and cannot be a part "
                + "of the agent's source. Remove it, or give another folder with -Source or WAAGENT_SOURCE.", special)
            : paths;
    }

    private static Task SendFolderAsync(Builder builder, string hostFolder, string folder, CancellationToken cancellationToken) =>
        builder.RunAsync(
            ["tar", "--extract", "--file=-", "--no-same-owner", "--directory", folder],
            new CommandOptions { Input = (stream, token) => WriteTarAsync(hostFolder, stream, token) },
            cancellationToken);

    private static async Task WriteTarAsync(string folder, Stream stream, CancellationToken cancellationToken)
    {
        await using var tar = new TarWriter(stream, leaveOpen: true);
        foreach (var path in Entries(folder))
        {
            await tar.WriteEntryAsync(
                path, Path.GetRelativePath(folder, path).Replace(Path.DirectorySeparatorChar, '/'), cancellationToken);
        }
    }
}
