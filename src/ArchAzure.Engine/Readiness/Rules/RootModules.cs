using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The initramfs brings what mounts the root: the driver of SCSI disks, as which Azure presents it, and that of its file system.
/// </summary>
internal sealed class RootModules : InitramfsModulesRule
{
    public override string Wanted => "sd_mod and the root file system's driver in the initramfs or built into the kernel";

    public override string Source => Sources.AzureLinuxImage;

    protected override IReadOnlyList<string> Drivers(CheckedDisk disk) =>
        ["sd_mod", disk.Root.Identity is { Kind: not FileSystemKind.Ext } other ? other.Name : "ext4"];
}
