using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// Accelerated networking: the virtual function is enslaved by hv_netvsc and has the same hardware address. Whoever configures it
/// too gives the machine the same address twice, and the network stops when the function is revoked.
/// </summary>
internal sealed class VirtualFunctionsUnmanaged : ReadinessRule
{
    // By what a rule tells virtual functions from other interfaces: their bus, their drivers.
    private static readonly string[] s_marks = ["hv_pci", "mlx5_core"];

    private static readonly NetworkInterface[] s_virtualFunctions =
    [
        new("eth1", "mana"), new("eth1", "mlx4_en"), new("eth1", "mlx4_core"), new("eth1", "mlx5_core"),
    ];

    public override string Wanted =>
        "no .network file that configures mana, mlx4 or mlx5 (or one that says Unmanaged=yes, or a udev rule that keeps networkd away)";

    public override string Source => Sources.AzureAcceleratedNetworking;

    public override Finding Check(CheckedDisk disk)
    {
        if (SystemdUnits.EnabledBy(disk.Root, "systemd-networkd.service", "systemd-networkd.socket") is null)
        {
            return Unknown("systemd-networkd is not enabled; other network managers are not judged here");
        }

        if (UnmanagedBy(disk.Root) is { } rules)
        {
            return Pass($"{rules} sets ID_NET_MANAGED_BY for them");
        }

        foreach (var function in s_virtualFunctions)
        {
            foreach (var file in disk.NetworkFiles)
            {
                var applies = file.AppliesTo(function);
                if (applies == false)
                {
                    continue;
                }

                if (file.Value("Link", "Unmanaged") is "yes" or "true" or "1" or "on")
                {
                    break;
                }

                return applies is null
                    ? Unknown($"{file.Path} may apply to {function.Driver}; that depends on what only a running machine knows")
                    : Fail(
                        $"{file.Path} applies to {function.Driver} too",
                        "Match the adapter by Driver=hv_netvsc instead of by its name or type.");
            }
        }

        return Pass("none applies to mana, mlx4 or mlx5");
    }

    /// <summary>
    /// The udev rules by which networkd leaves virtual functions alone, or those of them that are slaves; null if none do.
    /// </summary>
    /// <remarks>Source: systemd.network(5), ID_NET_MANAGED_BY (systemd 255 and later).</remarks>
    private static string? UnmanagedBy(IFileSystemView root) =>
        UdevRules.Lines(root)
            .Where(rule => rule.Line.Contains("ENV{ID_NET_MANAGED_BY}=\"", StringComparison.Ordinal)
                && s_marks.Any(mark => rule.Line.Contains(mark, StringComparison.Ordinal)))
            .Select(rule => rule.Path)
            .FirstOrDefault();
}
