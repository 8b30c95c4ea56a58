using ArchAzure.Containers;

namespace ArchAzure.BuildTests;

/// <summary>Each capability of a builder is needed: the very work that it is there for fails without it, and goes with it.</summary>
[Collection(Pipeline.Name)]
public sealed class CapabilityTests(Pipeline pipeline)
{
    private static readonly Dictionary<string, string> s_work = new(StringComparer.Ordinal)
    {
        ["CHOWN"] = "touch /f && chown 1000:1000 /f",
        ["DAC_OVERRIDE"] = "install --directory --owner=1000 --mode=0700 /d && touch /d/f",
        ["FOWNER"] = "install --owner=1000 /dev/null /f && chmod 0600 /f",
        ["FSETID"] = "touch /f && chown 0:5 /f && chmod 2755 /f && test -g /f",

        // As step 4 unpacks what step 3 has left: ping has a capability of its own there.
        ["SETFCAP"] = "tar --extract --file /snapshot --zstd --same-permissions --numeric-owner --acls --xattrs '--xattrs-include=*' "
            + "--directory / ./usr/bin/ping && getcap /usr/bin/ping | grep -q cap_net_raw",
        ["SETGID"] = "setpriv --regid=1000 --clear-groups true",
        ["SETUID"] = "setpriv --reuid=1000 true",
        ["SYS_CHROOT"] = "chroot / true",
        ["SETPCAP"] = "setpriv --bounding-set=-sys_admin true",
        ["SYS_ADMIN"] = "mkdir /t && mount --bind /t /t",
    };

    public static TheoryData<string> Capabilities => [.. All];

    private static IEnumerable<string> All => BuilderCapabilities.Files.Keys.Concat(BuilderCapabilities.Mounts.Keys);

    [Theory]
    [MemberData(nameof(Capabilities))]
    public async Task None_is_there_without_need(string capability)
    {
        Assert.True(s_work.ContainsKey(capability), $"{capability} has no work here that fails without it.");
        var with = await RunAsync(s_work[capability], All);
        Assert.True(with.ExitCode == 0, with.All);
        var without = await RunAsync(s_work[capability], All.Where(other => other != capability));

        Assert.True(without.ExitCode != 0 && !without.Error.StartsWith("docker:", StringComparison.Ordinal), without.All);
    }

    private async Task<ToolResult> RunAsync(string command, IEnumerable<string> capabilities) => await Tool.TryAsync(
        "docker",
        [
            "run", "--rm", "--network=none", "--cap-drop=ALL", .. capabilities.Select(name => $"--cap-add={name}"),
            .. (await Tool.RunAsync("docker", "info", "--format", "{{.SecurityOptions}}")).Contains("apparmor", StringComparison.Ordinal)
                ? ["--security-opt=apparmor=unconfined"]
                : Array.Empty<string>(),
            "--mount", $"type=bind,source={pipeline.Image.Snapshot(3)},target=/snapshot,readonly",
            "--entrypoint=bash", pipeline.ImageBuild.Bootstrap!.BuilderImage, "-c", command,
        ]);
}
