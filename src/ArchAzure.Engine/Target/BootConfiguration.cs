using ArchAzure.Builds;

namespace ArchAzure.Target;

/// <summary>
/// The files that name disks: written from the identities chosen in step 2, since a container has no block device
/// that genfstab or grub-mkconfig could look at.
/// </summary>
public static class BootConfiguration
{
    /// <summary>
    /// The kernel command line Azure asks for, after <c>root=</c>; the layer azure's /etc/default/grub holds the same.
    /// https://learn.microsoft.com/azure/virtual-machines/linux/create-upload-generic
    /// </summary>
    public const string KernelCommandLine = "console=tty0 console=ttyS0,115200n8 earlyprintk=ttyS0,115200 rootdelay=300 net.ifnames=0";

    /// <summary>
    /// fstab(5): root and ESP by UUID. The root grows with its partition; a missing ESP does not stop the boot, and one that a slow
    /// machine finds only after systemd's usual 90 s is mounted all the same.
    /// </summary>
    public static string Fstab(DiskProduct disk) =>
        $"""
        # Written by ArchAzure. By UUID only: names such as /dev/sda change with the order in which disks appear.
        UUID={disk.RootUuid}  /     {disk.RootFileSystem}  {(disk.RootFileSystem == "btrfs" ? "rw,relatime,x-systemd.growfs  0 0" : "rw,relatime,x-systemd.growfs  0 1")}
        UUID={disk.EspUuid}  /efi  vfat  umask=0077,nofail,x-systemd.device-timeout=10min  0 2

        """;

    /// <summary>grub.cfg for both firmwares; grub-mkconfig replaces it when the user runs that.</summary>
    public static string GrubConfiguration(DiskProduct disk, string kernel) =>
        $$"""
        # Written by ArchAzure; grub-mkconfig -o /boot/grub/grub.cfg replaces it from /etc/default/grub.
        set default=0
        set timeout=1

        serial --unit=0 --speed=115200
        terminal_input console serial
        terminal_output console serial

        search --no-floppy --fs-uuid --set=root {{disk.RootUuid}}

        menuentry 'Arch Linux' --class arch --class gnu-linux --class os {
            linux /boot/vmlinuz-{{kernel}} root=UUID={{disk.RootUuid}} rw {{KernelCommandLine}}
            initrd /boot/initramfs-{{kernel}}.img
        }

        """;

    /// <summary>What GRUB runs before it can read its modules: find the root by UUID.</summary>
    public static string EarlyGrubConfiguration(DiskProduct disk) =>
        $"""
        search.fs_uuid {disk.RootUuid} root
        set prefix=($root)/boot/grub

        """;
}
