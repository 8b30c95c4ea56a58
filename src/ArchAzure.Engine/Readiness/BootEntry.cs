using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>What the boot loader starts if nobody intervenes.</summary>
/// <param name="ConfigurationPath">Where that is written.</param>
/// <param name="FileSystem">Where kernel and initramfs lie.</param>
/// <param name="Kernel">The kernel's path there.</param>
/// <param name="Arguments">The kernel command line, word by word.</param>
/// <param name="Initramfs">The paths of the initramfs files, in their order.</param>
internal sealed record BootEntry(
    string ConfigurationPath, IFileSystemView FileSystem, string Kernel, IReadOnlyList<string> Arguments, IReadOnlyList<string> Initramfs)
{
    private static readonly string[] s_rootPaths = ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"];

    private static readonly string[] s_efiSystemPaths = ["/grub/grub.cfg", "/grub2/grub.cfg"];

    public static BootEntry Read(CheckedDisk disk)
    {
        var root = disk.Root;
        var (fileSystem, path) = s_rootPaths.Where(root.FileExists).Select(found => (root, found)).FirstOrDefault();
        if (path is null && disk.PartitionTable.Partitions.Any(partition => partition.Type == Disks.PartitionTypes.EfiSystem))
        {
            (fileSystem, path) = s_efiSystemPaths.Where(disk.EfiSystem.FileExists)
                .Select(found => (disk.EfiSystem, found))
                .FirstOrDefault();
        }

        if (path is null || fileSystem.ReadText(path) is not { } text)
        {
            throw DiskErrors.Unsupported(
                "there is no grub.cfg, neither in /boot/grub nor on the EFI system partition; other boot loaders are not known here.");
        }

        var environment = fileSystem.ReadLines(path[..path.LastIndexOf('/')] + "/grubenv");
        var commands = GrubConfiguration.ReadDefaultEntry(text, environment, fileSystem.Budget) ?? [];
        var linux = commands.FirstOrDefault(command => command.Name is "linux" or "linuxefi" or "linux16");
        if (linux is not { Arguments: [var kernel, .. var arguments] })
        {
            throw DiskErrors.Unsupported($"the default entry of {path} starts no Linux kernel that can be told.");
        }

        var initramfs = commands.Where(command => command.Name is "initrd" or "initrdefi" or "initrd16")
            .SelectMany(command => command.Arguments);
        kernel = WithoutDevice(kernel);

        // The kernel may lie on another file system than grub.cfg: a device or `search` before it tells which, and existence tells it too.
        var holder = new[] { fileSystem, root }.FirstOrDefault(candidate => candidate.FileExists(kernel))
            ?? throw DiskErrors.Unsupported($"the kernel {kernel}, which {path} starts, is not on the root file system.");
        return new(path, holder, kernel, arguments, [.. initramfs.Select(WithoutDevice)]);
    }

    /// <summary>Cuts off a device in GRUB's notation, e.g. <c>(hd0,gpt3)</c>.</summary>
    private static string WithoutDevice(string path) =>
        path.StartsWith('(') && path.IndexOf(')', StringComparison.Ordinal) is var end and > 0 ? path[(end + 1)..] : path;
}
