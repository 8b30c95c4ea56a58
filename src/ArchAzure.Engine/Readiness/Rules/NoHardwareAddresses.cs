using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>No configuration is bound to the hardware address of a network interface: every new machine has another.</summary>
internal sealed class NoHardwareAddresses : ReadinessRule
{
    // Rules that udev once wrote for each interface it saw, and what writes them.
    private static readonly string[] s_persistent =
    [
        "/etc/udev/rules.d/70-persistent-net.rules", "/lib/udev/rules.d/75-persistent-net-generator.rules",
        "/etc/udev/rules.d/75-persistent-net-generator.rules",
    ];

    private static readonly string[] s_keys = ["MACAddress", "PermanentMACAddress"];

    public override string Wanted => "no network interface named or configured by its hardware address";

    public override string Source => "verify_udev_rules_moved in " + Sources.Lisa + "; systemd.link(5); virt-sysprep(1), net-hwaddr";

    public override Finding Check(CheckedDisk disk)
    {
        var root = disk.Root;
        var bound = s_persistent.Where(root.FileExists).ToList();
        bound.AddRange(new[] { ".link", ".network" }
            .SelectMany(suffix => ConfigurationFiles.Find(root, suffix, "/etc/systemd/network", "/usr/local/lib/systemd/network"))
            .Where(path => ConfigurationFiles.ReadIni(root, path).Any(line => line.Section == "Match" && s_keys.Contains(line.Key))));
        bound.AddRange(Glob.Expand(root, "/etc/NetworkManager/system-connections/*.nmconnection")
            .Where(path => ConfigurationFiles.ReadIni(root, path).Any(line => line.Key == "mac-address")));
        bound.AddRange(Glob.Expand(root, "/etc/sysconfig/network-scripts/ifcfg-*")
            .Where(path => root.ReadLines(path).Any(line => line.StartsWith("HWADDR=", StringComparison.Ordinal))));
        return PassIfNone(bound, "none", "Remove them, or match by driver.");
    }
}
