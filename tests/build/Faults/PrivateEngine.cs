using System.Diagnostics;

namespace ArchAzure.BuildTests.Faults;

/// <summary>
/// A Docker engine of the tests' own, with a containerd of its own, that can be stopped, killed and started, and whose data lie in a
/// tmpfs that can be full. It has no bridge: builders use the host's network or none.
/// </summary>
public sealed class PrivateEngine : IAsyncLifetime, IDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(60);

    private readonly TempFolder _folder = new();
    private Process? _containerd;
    private Process? _dockerd;
    private SmallFileSystem? _data;

    /// <summary>Its address, as DOCKER_HOST.</summary>
    public string Host => $"unix://{Socket}";

    /// <summary>Whether it shall find nothing but cgroup v2, as on today's distributions. Set before the start.</summary>
    public bool UnifiedCgroups { get; init; }

    internal SmallFileSystem Data => _data!;

    private string Socket => _folder["docker.sock"];

    /// <inheritdoc/>
    public async Task InitializeAsync()
    {
        Assert.True(Environment.IsPrivilegedProcess, "An engine of one's own takes root. Run the build tests as root.");
        Directory.CreateDirectory(_folder["data"]);
        _data = await SmallFileSystem.MountAsync(_folder["data"], "8g");
        _folder.Write("containerd.toml", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n");
        _folder.Write("daemon.json", "{}\n");
        _containerd = StartProgram(
            "containerd", "--config", _folder["containerd.toml"], "--address", _folder["containerd.sock"], "--root", _folder["containerd"],
            "--state", _folder["containerd-state"], "--log-level", "warn");
        await UntilAsync(() => Task.FromResult(File.Exists(_folder["containerd.sock"])), _containerd, "containerd");
        await StartAsync();
    }

    /// <inheritdoc/>
    public async Task DisposeAsync()
    {
        await StopAsync("TERM");
        if (_containerd is not null)
        {
            await EndAsync(_containerd, "TERM");
        }

        // What a killed engine has left mounted below its folders.
        var mounts = File.ReadLines("/proc/self/mounts")
            .Select(line => line.Split(' ')[1])
            .Where(path => path.StartsWith(_folder.Path + "/", StringComparison.Ordinal) && path != _folder["data"])
            .Reverse()
            .ToList();
        foreach (var mount in mounts)
        {
            await Tool.TryAsync("umount", ["--lazy", mount]);
        }

        await Data.DisposeAsync();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _dockerd?.Dispose();
        _containerd?.Dispose();
        _folder.Dispose();
    }

    /// <summary>Starts the engine and waits until it answers.</summary>
    public async Task StartAsync()
    {
        // The socket of a killed one would seem to answer.
        File.Delete(_folder["docker.pid"]);
        _dockerd = StartProgram(
            "dockerd", "--host", Host, "--data-root", _folder["data"], "--exec-root", _folder["exec"], "--pidfile", _folder["docker.pid"],
            "--config-file", _folder["daemon.json"],
            "--containerd", _folder["containerd.sock"], "--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false",
            "--storage-driver=overlay2", "--log-level", "warn");
        await UntilAsync(async () => (await Tool.TryAsync("docker", ["--host", Host, "version"])).ExitCode == 0, _dockerd, "dockerd");
    }

    /// <summary>Stops the engine (TERM: with its containers, in good order) or kills it (KILL).</summary>
    public async Task StopAsync(string signal)
    {
        if (_dockerd is { HasExited: false })
        {
            await EndAsync(_dockerd, signal);
        }
    }

    /// <summary>Copies an image of the usual engine here.</summary>
    public async Task CopyImageAsync(string image) =>
        await Tool.RunAsync("bash", "-c", "set -o pipefail; docker save \"$1\" | docker --host \"$2\" load", "bash", image, Host);

    private Process StartProgram(string program, params string[] arguments)
    {
        const string unified = "mount --make-rprivate / && umount --recursive /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && "
            + "exec \"$@\"";

        // dockerd mounts what containerd starts: they share a view of the file systems.
        var process = (UnifiedCgroups, _containerd) switch
        {
            (false, _) => Tool.Start(program, arguments),
            (true, null) => Tool.Start("unshare", ["--mount", "bash", "-c", unified, "bash", program, .. arguments]),
            (true, { } first) => Tool.Start("nsenter", [$"--target={first.Id}", "--mount", program, .. arguments]),
        };

        // Read, so that it never waits for a reader.
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private static async Task EndAsync(Process process, string signal)
    {
        await Tool.TryAsync("kill", [$"-{signal}", $"{process.Id}"]);
        using var limit = new CancellationTokenSource(s_limit);
        await process.WaitForExitAsync(limit.Token);
    }

    private static async Task UntilAsync(Func<Task<bool>> ready, Process process, string name)
    {
        var clock = Stopwatch.StartNew();
        while (!await ready())
        {
            Assert.False(process.HasExited, $"{name} ended with {(process.HasExited ? process.ExitCode : 0)} before it was ready.");
            Assert.True(clock.Elapsed < s_limit, $"{name} was not ready within {s_limit}.");
            await Task.Delay(100);
        }
    }
}
