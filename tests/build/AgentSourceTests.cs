using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.Target;

namespace ArchAzure.BuildTests;

/// <summary>Every kind of place the agent's source may come from, fetched in a real builder.</summary>
[Collection(Pipeline.Name)]
public sealed class AgentSourceTests(Pipeline pipeline)
{
    private const string Folder = "/agent-source";

    private static string Repository => Path.Combine(TestSetup.StandIn, "waagent.git");

    private string Commit => pipeline.Settings.WaAgentCommit;

    [Fact]
    public Task Git_folder() => FetchesAsync(Repository, Commit);

    [Fact]
    public async Task Git_folder_with_a_work_tree()
    {
        using var folder = new TempFolder();
        await Tool.RunAsync("git", "clone", "--quiet", Repository, folder["clone"]);
        await FetchesAsync(folder["clone"], Commit);
    }

    [Fact]
    public Task Archive() => FetchesAsync(Path.Combine(TestSetup.StandIn, "waagent.tar.gz"), Commit);

    [Fact]
    public async Task Plain_folder()
    {
        using var folder = new TempFolder();
        await Tool.RunAsync("tar", "--extract", "--file", Path.Combine(TestSetup.StandIn, "waagent.tar.gz"), "--directory", folder.Path);
        await FetchesAsync(folder.Path, Commit);
    }

    /// <summary>Releases up to 2.11 import it first of all, and Python 3.13 dropped it. Step 4 runs the agent as a person would.</summary>
    [Fact]
    public async Task An_agent_that_cannot_do_without_crypt_runs_at_the_prompt()
    {
        using var folder = new TempFolder();
        await Tool.RunAsync("tar", "--extract", "--file", Path.Combine(TestSetup.StandIn, "waagent.tar.gz"), "--directory", folder.Path);
        await File.AppendAllTextAsync(
            Directory.EnumerateFiles(folder.Path, "version.py", SearchOption.AllDirectories).Single(), "\nimport crypt\n");
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 3);
        build.AddSettings($"WAAGENT_SOURCE={folder.Path}");
        await build.RunAsync(4);
        Assert.Equal(4, build.State.LastGoodStep);
    }

    [Fact]
    public async Task Git_address()
    {
        using var server = GitDaemon.Start(TestSetup.StandIn);
        await FetchesAsync($"{server.Address}/waagent.git", Commit);
    }

    [Fact]
    public async Task A_commit_that_is_not_there()
    {
        const string wrong = "0123456789abcdef0123456789abcdef01234567";
        await FailsAsync(Repository, wrong, "AgentCommitNotFound", [Repository, wrong, "-Commit"]);
        using var server = GitDaemon.Start(TestSetup.StandIn);
        await FailsAsync($"{server.Address}/waagent.git", wrong, "AgentCommitNotFound", [server.Address, wrong, "-Commit"]);
    }

    [Fact]
    public Task An_address_where_nobody_answers() =>
        FailsAsync(
            $"git://127.0.0.1:{FreePort()}/waagent.git", Commit, "AgentSourceUnreachable", ["127.0.0.1", "Check the network", "-Source"]);

    [Fact]
    public async Task A_server_that_keeps_silent_is_left_and_asked_again()
    {
        using var server = new BrokenServer(0, silent: true);
        await FailsAsync(
            $"git://127.0.0.1:{server.Port}/waagent.git", Commit, "AgentSourceUnreachable", ["not done after 2 s", "Check the network"],
            new FetchLimits { Total = TimeSpan.FromSeconds(2), Retries = new(2, TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(1)) });
        Assert.Equal(2, server.Connections);
        using var web = new BrokenServer(0, silent: true);
        await FailsAsync(
            $"http://127.0.0.1:{web.Port}/waagent.git", Commit, "AgentSourceUnreachable", ["too slow", "Check the network"],
            new FetchLimits
            {
                Silence = TimeSpan.FromSeconds(2), Retries = new(2, TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(1)),
            });
        Assert.Equal(2, web.Connections);
    }

    [Fact]
    public async Task A_server_that_breaks_off_once()
    {
        using var git = GitDaemon.Start(TestSetup.StandIn);
        using var server = new BrokenServer(new Uri(git.Address).Port, silent: false);
        await FetchesAsync($"git://127.0.0.1:{server.Port}/waagent.git", Commit);
        Assert.Equal(2, server.Connections);
    }

    [Fact]
    public async Task A_file_that_is_no_archive_and_a_folder_that_is_no_agent()
    {
        using var folder = new TempFolder();
        var file = folder.Write("agent.tar.gz", "not an archive");
        await FailsAsync(file, Commit, "AgentSourceInvalid", [file, "cannot be unpacked", "-Source"]);
        folder.Write("folder/README", "nothing here");
        await FailsAsync(folder["folder"], Commit, "AgentSourceInvalid", [folder["folder"], "bin/waagent", "-Source"]);
    }

    /// <summary>Each archive is refused before anything of it is unpacked, and is small: the bomb has 2 GiB of zeros.</summary>
    [Theory]
    [InlineData("leads out of the archive", "tar --create --file agent.tar --absolute-names --transform s,^,top/../../, setup.py")]
    [InlineData("leads out of the archive", "tar --create --file agent.tar --absolute-names \"$PWD/setup.py\"")]
    [InlineData("leads out of the archive", "ln -s /etc/passwd link && tar --create --file agent.tar --transform 'flags=r;s,^,top/,' "
        + "setup.py link --gzip")]
    [InlineData("leads out of the archive", "ln -s ../../work link && tar --create --file agent.tar --transform 'flags=r;s,^,top/,' "
        + "setup.py link --zstd")]
    [InlineData("neither a file", "mkfifo pipe && tar --create --file agent.tar setup.py pipe")]
    [InlineData("neither a file", "mknod disk b 8 0 && tar --create --file agent.tar setup.py disk")]
    [InlineData("unpacks to more than 1024 MiB", "truncate --size=2G bomb && tar --create --file agent.tar --zstd setup.py bomb")]
    [InlineData("leads out of the archive", "python3 -c \"import zipfile; zipfile.ZipFile('agent.tar', 'w').writestr('../setup.py', '')\"")]
    public async Task A_hostile_archive(string reason, string script)
    {
        using var folder = new TempFolder();
        folder.Write("setup.py", "");
        await Tool.RunAsync("bash", "-c", $"cd \"$1\" && {script}", "bash", folder.Path);
        await FailsAsync(
            folder["agent.tar"], Commit, "AgentSourceInvalid", [folder["agent.tar"], reason, "-Source"],
            check: async builder => Assert.Equal("", (await builder.RunAsync(["find", Folder, "-mindepth", "1"], null, default)).Output));
    }

    [Fact]
    public async Task A_folder_with_a_link_loop_and_one_with_a_pipe()
    {
        using var folder = new TempFolder();
        await Tool.RunAsync("tar", "--extract", "--file", Path.Combine(TestSetup.StandIn, "waagent.tar.gz"), "--directory", folder.Path);
        File.CreateSymbolicLink(folder["loop"], ".");
        await FetchesAsync(folder.Path, Commit);
        Assert.NotEmpty(AgentSource.Parse(folder.Path, Commit).Fingerprint());

        await Tool.RunAsync("mkfifo", folder["pipe"]);
        var error = Assert.Throws<ArchAzureException>(() => AgentSource.Parse(folder.Path, Commit).Fingerprint());
        Assert.Equal("AgentSourceInvalid", error.ErrorId);
        await FailsAsync(folder.Path, Commit, "AgentSourceInvalid", [folder["pipe"], "neither a file", "-Source"]);
    }

    [Fact]
    public async Task A_path_that_is_not_there()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 3);
        using var folder = new TempFolder();
        await build.FailsAsync(
            4, "AgentSourceNotFound", [folder["none"], "-Source"],
            new() { Parameters = new Dictionary<string, string>(StringComparer.Ordinal) { ["WAAGENT_SOURCE"] = folder["none"] } });
        Assert.Equal(3, build.State.LastGoodStep);
    }

    private async Task FetchesAsync(string source, string commit)
    {
        await InBuilderAsync(async builder =>
        {
            var found = await AgentSource.Parse(source, commit).FetchAsync(builder, Folder, default);
            Assert.StartsWith(Folder, found, StringComparison.Ordinal);

            // The tree is the commit's, whichever way it came.
            var expected = await Tool.RunAsync("git", "-C", Repository, "show", $"{Commit}:bin/waagent");
            Assert.Equal(expected, (await builder.RunAsync(["cat", $"{found}/bin/waagent"], null, default)).Output);
            await builder.RunAsync(["test", "-d", $"{found}/azurelinuxagent"], null, default);
            return true;
        });
    }

    private Task FailsAsync(
        string source,
        string commit,
        string errorId,
        string[] named,
        FetchLimits? limits = null,
        Func<Builder, Task>? check = null) => InBuilderAsync(async builder =>
    {
        var error = await Assert.ThrowsAnyAsync<ArchAzureException>(
            () => AgentSource.Parse(source, commit).FetchAsync(builder, Folder, default, limits));
        Assert.True(errorId == error.ErrorId, $"Expected {errorId}, got {error.ErrorId}: {error.Message}");
        Assert.All(named, text => Assert.Contains(text, error.Message, StringComparison.OrdinalIgnoreCase));
        await (check?.Invoke(builder) ?? Task.CompletedTask);
        return true;
    });

    private async Task InBuilderAsync(Func<Builder, Task<bool>> work)
    {
        using var folder = new TempFolder();
        var reporter = new RecordingReporter();
        using var docker = await DockerEngine.ConnectAsync(reporter, default);
        using var log = new StepLog(folder["log"], reporter);
        var spec = new BuilderSpec
        {
            Image = pipeline.ImageBuild.Bootstrap!.BuilderImage, BuildId = Guid.NewGuid(), Purpose = "agent-test", Network = "host",
        };
        await using var builder = await Builder.StartAsync(docker, spec, log, default);
        await work(builder);
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>Takes connections and keeps silent for ever; or ends the first, and hands the next on to another server.</summary>
    private sealed class BrokenServer : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly List<TcpClient> _clients = [];
        private readonly int _behind;
        private readonly bool _silent;

        public BrokenServer(int behind, bool silent)
        {
            _behind = behind;
            _silent = silent;
            _listener.Start();
            _ = ServeAsync();
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public int Connections => _clients.Count;

        public void Dispose()
        {
            _listener.Dispose();
            _clients.ForEach(client => client.Dispose());
        }

        private async Task ServeAsync()
        {
            try
            {
                while (true)
                {
                    var client = await _listener.AcceptTcpClientAsync();
                    _clients.Add(client);
                    if (_silent)
                    {
                        continue;
                    }

                    if (_clients.Count == 1)
                    {
                        client.Close();
                        continue;
                    }

                    _ = RelayAsync(client);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Disposed.
            }
        }

        private async Task RelayAsync(TcpClient client)
        {
            using var server = new TcpClient();
            await server.ConnectAsync(IPAddress.Loopback, _behind);
            await Task.WhenAny(client.GetStream().CopyToAsync(server.GetStream()), server.GetStream().CopyToAsync(client.GetStream()));
        }
    }

    /// <summary>git's own server on loopback; serves any commit that exists by its id, as the great hosts do.</summary>
    private sealed class GitDaemon : IDisposable
    {
        private readonly Process _process;

        private GitDaemon(Process process, int port)
        {
            _process = process;
            Address = $"git://127.0.0.1:{port}";
        }

        public string Address { get; }

        public static GitDaemon Start(string folder)
        {
            var port = FreePort();

            // The wire protocol's version 2 would serve any commit; the setting keeps it so for version 0 too. The repository may be
            // another user's.
            string[] settings = ["-c", "uploadpack.allowAnySHA1InWant=true", "-c", "safe.directory=*"];
            // timeout: an end, should the tests themselves be killed.
            var process = Tool.Start(
                "timeout",
                [
                    "600", "git", .. settings, "daemon", "--verbose", "--listen=127.0.0.1", $"--port={port}", "--export-all",
                    $"--base-path={folder}", folder,
                ]);
            var daemon = new GitDaemon(process, port);
            while (process.StandardError.ReadLine() is { } line)
            {
                if (line.Contains("Ready to rumble", StringComparison.Ordinal))
                {
                    // So that the pipe never fills up.
                    _ = process.StandardError.ReadToEndAsync();
                    return daemon;
                }
            }

            daemon.Dispose();
            throw new InvalidOperationException("git daemon did not start.");
        }

        public void Dispose()
        {
            if (!_process.HasExited)
            {
                _process.Kill(entireProcessTree: true);
            }

            _process.WaitForExit();
            _process.Dispose();
        }
    }
}
