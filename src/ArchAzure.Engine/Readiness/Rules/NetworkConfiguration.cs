using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>systemd-networkd starts and asks for an address on Azure's network adapter.</summary>
internal sealed class NetworkConfiguration : ReadinessRule
{
    /// <summary>The synthetic adapter; with net.ifnames=0 the first one is eth0.</summary>
    private static readonly NetworkInterface s_adapter = new("eth0", "hv_netvsc");

    public override string Wanted => "systemd-networkd enabled, with DHCP for Driver=hv_netvsc";

    public override string Source => Sources.AzureLinuxImage + "; systemd.network(5)";

    public override Finding Check(CheckedDisk disk)
    {
        var root = disk.Root;
        if (SystemdUnits.EnabledBy(root, "systemd-networkd.service", "systemd-networkd.socket") is null)
        {
            return OtherManager(root) is { } other
                ? Unknown($"the network is managed by {other}, whose configuration is not judged here")
                : Fail(
                    "systemd-networkd is not enabled, and no other network manager was found",
                    "Enable it: systemctl enable systemd-networkd.");
        }

        const string Remedy = "Write a .network file with [Match] Driver=hv_netvsc and [Network] DHCP=yes to /etc/systemd/network.";
        foreach (var file in disk.NetworkFiles)
        {
            switch (file.AppliesTo(s_adapter))
            {
                case null:
                    return Unknown($"{file.Path} may apply to the adapter; that depends on what only a running machine knows");
                case true:
                    var dhcp = file.Value("Network", "DHCP") ?? "no";
                    return dhcp is "yes" or "true" or "1" or "on" or "ipv4" && !IsUnmanaged(file)
                        ? Pass($"{file.Path}, DHCP={dhcp}")
                        : Fail(
                            $"{file.Path} is the first that applies and has DHCP={dhcp}{(IsUnmanaged(file) ? ", Unmanaged" : "")}", Remedy);
            }
        }

        return Fail("no .network file applies to hv_netvsc", Remedy);
    }

    private static bool IsUnmanaged(NetworkFile file) => file.Value("Link", "Unmanaged") is "yes" or "true" or "1" or "on";

    private static string? OtherManager(IFileSystemView root)
    {
        (string Name, string[] Units)[] managers =
        [
            ("NetworkManager", ["NetworkManager.service"]), ("ifupdown", ["networking.service"]), ("dhcpcd", ["dhcpcd.service"]),
            ("netctl", ["netctl.service"]), ("wicked", ["wicked.service"]), ("connman", ["connman.service"]),
        ];
        return managers.Where(manager => SystemdUnits.EnabledBy(root, manager.Units) is not null)
            .Select(manager => manager.Name)
            .FirstOrDefault()
            ?? (root.ReadDirectory("/etc/netplan").Count > 0 ? "netplan" : null)
            ?? (root.FileExists("/usr/bin/cloud-init") ? "cloud-init" : null);
    }
}
