using System.Globalization;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>The kernel's keepalives come before Azure's load balancer forgets an idle connection, which it does without a word.</summary>
internal sealed class TcpKeepAlive : ReadinessRule
{
    private const string Key = "net.ipv4.tcp_keepalive_time";
    private const int IdleLimitSeconds = 240;

    public override string Wanted => $"{Key} below {IdleLimitSeconds} s";

    public override string Source => Sources.AzureLoadBalancerIdle;

    public override Finding Check(CheckedDisk disk)
    {
        (string Value, string Path)? effective = null;
        var paths = ConfigurationFiles.Find(
            disk.Root, ".conf", "/etc/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d");
        foreach (var path in paths)
        {
            var lines = disk.Root.ReadLines(path)
                .Select(line => line.Trim())
                .Where(line => !line.StartsWith('#') && !line.StartsWith(';'));
            foreach (var line in lines)
            {
                if (line.Split('=', 2) is [var key, var value] && key.TrimStart('-').Trim().Replace('/', '.') == Key)
                {
                    effective = (value.Trim(), path);
                }
            }
        }

        const string Remedy = $"Write {Key} = 120 into a file in /etc/sysctl.d.";
        if (effective is not var (set, file))
        {
            return Fail($"not set: the kernel's own is 7200 s", Remedy);
        }

        return int.TryParse(set, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds is > 0 and < IdleLimitSeconds
            ? Pass($"{set} s ({file})")
            : Fail($"{set} ({file})", Remedy);
    }
}
