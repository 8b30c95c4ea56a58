using System.Globalization;
using System.Text.Json;
using ArchAzure.Containers;

namespace ArchAzure.BuildTests;

/// <summary>
/// Looks into each builder of a build while it works, at each command: it sees nothing but what SECURITY.md says, and may do no more.
/// </summary>
internal sealed class BuilderWatch : IDisposable
{
    // linux/capability.h.
    private static readonly string[] s_bits =
    [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN",
        "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT",
        "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
        "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    ];

    private readonly TestBuild _build;
    private readonly TempFolder _outside = new();
    private readonly string _secret;
    private readonly HashSet<string> _seen = new(StringComparer.Ordinal);

    public BuilderWatch(TestBuild build)
    {
        _build = build;
        _secret = _outside.Write("secret", "nobody's affair");
        build.Reporter.Look = LookAsync;
    }

    /// <summary>How many builders there were.</summary>
    public int Seen => _seen.Count;

    public void Dispose()
    {
        _build.Reporter.Look = null;
        _outside.Dispose();
    }

    private async Task LookAsync()
    {
        foreach (var container in (await _build.ContainersAsync()).Where(_seen.Add))
        {
            await SeesNothingElseAsync(container);
        }
    }

    private async Task SeesNothingElseAsync(string container)
    {
        using var json = JsonDocument.Parse(await Tool.RunAsync("docker", "inspect", container));
        var host = json.RootElement[0].GetProperty("HostConfig");
        foreach (var mount in json.RootElement[0].GetProperty("Mounts").EnumerateArray())
        {
            if (mount.GetProperty("Type").GetString() == "volume")
            {
                Assert.Equal("/target", mount.GetProperty("Destination").GetString());
                continue;
            }

            if (mount.GetProperty("Destination").GetString() == "/work/packages")
            {
                Assert.False(mount.GetProperty("RW").GetBoolean());
                continue;
            }

            Assert.StartsWith(_build.Directory.Path + "/", mount.GetProperty("Source").GetString(), StringComparison.Ordinal);
        }

        Assert.False(host.GetProperty("Privileged").GetBoolean());
        foreach (var name in new[] { "Devices", "DeviceRequests", "Binds", "VolumesFrom", "GroupAdd" })
        {
            Assert.True(
                !host.TryGetProperty(name, out var list) || list.ValueKind == JsonValueKind.Null || list.GetArrayLength() == 0,
                $"{name}: {host}");
        }

        Assert.Equal("private", host.GetProperty("IpcMode").GetString());
        Assert.All(["PidMode", "UTSMode", "UsernsMode"], name => Assert.Equal("", host.GetProperty(name).GetString()));

        // Its main process, as the kernel has it: exactly the listed capabilities, and Docker's filter of system calls (mode 2).
        var status = (await Tool.RunAsync("docker", "exec", container, "cat", "/proc/1/status"))
            .Split('\n')
            .Select(line => line.Split(":\t"))
            .Where(parts => parts.Length == 2)
            .ToDictionary(parts => parts[0], parts => parts[1], StringComparer.Ordinal);
        var mounting = host.GetProperty("CapAdd")
            .EnumerateArray()
            .Any(name => name.GetString()!.EndsWith("SYS_ADMIN", StringComparison.Ordinal));
        Assert.Equal(mounting, host.GetProperty("ReadonlyRootfs").GetBoolean());
        var expected = BuilderCapabilities.Files.Keys.Concat(mounting ? BuilderCapabilities.Mounts.Keys : [])
            .Aggregate(0UL, (mask, name) => mask | (1UL << Array.IndexOf(s_bits, name)));
        Assert.All(
            ["CapEff", "CapBnd", "CapPrm"], set => Assert.Equal(expected.ToString("x16", CultureInfo.InvariantCulture), status[set]));
        Assert.Equal("2", status["Seccomp"]);
        Assert.Equal("1", status["NoNewPrivs"]);

        var look = await Tool.TryAsync(
            "docker", ["exec", container, "ls", _secret, _build.Directory.Path, "/var/run/docker.sock", TestSetup.EngineSocket]);
        Assert.NotEqual(0, look.ExitCode);
        Assert.Equal("", look.Output);
    }
}
