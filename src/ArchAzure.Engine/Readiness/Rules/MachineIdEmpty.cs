using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// Each machine makes its own machine-id. networkd derives the DHCP client id from it, so clones with a common one fight for an address.
/// </summary>
internal sealed class MachineIdEmpty : ReadinessRule
{
    private const string IdFile = "/etc/machine-id";

    public override string Wanted => $"{IdFile} empty, 'uninitialized' or absent";

    public override string Source => "machine-id(5); " + Sources.BuildingImages;

    public override Finding Check(CheckedDisk disk)
    {
        const string Remedy = $"Write 'uninitialized' into {IdFile} and remove /var/lib/dbus/machine-id.";
        if (disk.Root.GetStatus("/var/lib/dbus/machine-id", followLinks: false) is { Type: FileType.File, Size: > 0 })
        {
            return Fail("/var/lib/dbus/machine-id holds an id of its own", Remedy);
        }

        return disk.Root.ReadText(IdFile)?.Trim() switch
        {
            null => Pass("absent: made at first boot, units for first boot run"),
            "" => Pass("empty: made at boot, but systemd does not take that for a first boot"),
            "uninitialized" => Pass("uninitialized: made at first boot, units for first boot run"),
            var id => Fail(id[..Math.Min(id.Length, 40)], Remedy),
        };
    }
}
