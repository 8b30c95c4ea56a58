using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// fstab names file systems by identifiers that the disk really has: one wrong line and the machine waits for a disk for ever.
/// </summary>
internal sealed class FstabIdentifiers : ReadinessRule
{
    public override string Wanted => "every disk in fstab by a UUID, PARTUUID or label that is on this disk";

    public override string Source => Sources.AzureLinuxImage + "; fstab(5)";

    public override Finding Check(CheckedDisk disk)
    {
        if (!disk.Root.FileExists("/etc/fstab"))
        {
            return Pass("no /etc/fstab; the root comes from the kernel command line");
        }

        var problems = new List<string>();
        var good = new List<string>();
        foreach (var entry in disk.Fstab.Where(IsDisk))
        {
            var optional = entry.Options.Contains("nofail") || entry.Options.Contains("noauto");
            if (!Identifiers.IsStable(entry.Source))
            {
                // Azure's own links for resource and data disks are stable; they are not on this disk.
                if (!optional)
                {
                    problems.Add($"{entry.MountPoint} is named {entry.Source}");
                }

                continue;
            }

            var partition = Identifiers.Resolve(disk, entry.Source);
            if (partition is null)
            {
                if (!optional)
                {
                    problems.Add($"{entry.MountPoint} is {entry.Source}, which is not on this disk");
                }

                continue;
            }

            var identity = disk.Identify(partition);
            if (!IsTypeOf(entry.Type, identity))
            {
                problems.Add($"{entry.MountPoint} is mounted as {entry.Type} but is {identity.Name}");
            }
            else
            {
                good.Add($"{entry.MountPoint} by {entry.Source}");
            }
        }

        return problems.Count == 0
            ? Pass(good.Count == 0 ? "no disks in /etc/fstab; the root comes from the kernel command line" : string.Join(", ", good))
            : Fail(string.Join(", ", problems), "Write /etc/fstab with the UUIDs that blkid shows.");
    }

    /// <summary>Swap is another rule's; tmpfs and its like have no disk, binds and network file systems neither.</summary>
    private static bool IsDisk(FstabEntry entry) =>
        entry.Type != "swap"
            && !entry.Options.Contains("bind")
            && (entry.Source.StartsWith("/dev/", StringComparison.Ordinal) || Identifiers.IsStable(entry.Source));

    private static bool IsTypeOf(string type, FileSystemIdentity identity) => type == "auto" || identity.Kind switch
    {
        FileSystemKind.Ext => type is "ext2" or "ext3" or "ext4",
        FileSystemKind.Fat => type is "vfat" or "msdos",
        FileSystemKind.Btrfs => type == "btrfs",
        FileSystemKind.Xfs => type == "xfs",
        FileSystemKind.Unknown => true,
        _ => false,
    };
}
