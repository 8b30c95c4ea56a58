using ArchAzure.Disks;
using ArchAzure.FileSystems;
using ArchAzure.IO;

namespace ArchAzure.Readiness;

/// <summary>Unified kernel images: UEFI programs that hold kernel, initramfs and command line.</summary>
/// <remarks>Source: https://uapi-group.org/specifications/specs/unified_kernel_image.</remarks>
internal static class UnifiedKernels
{
    private static readonly string[] s_patterns = ["/EFI/Linux/*.efi", "/EFI/BOOT/BOOTX64.EFI"];

    /// <summary>The one that is started, or null if there are none.</summary>
    public static BootEntry? Read(CheckedDisk disk)
    {
        var images = disk.Trees
            .Where(tree => tree.Partition.Type == PartitionTypes.EfiSystem || tree.Partition.Type == PartitionTypes.ExtendedBoot)
            .SelectMany(tree => tree.Look(files => s_patterns.SelectMany(pattern =>
                Glob.Expand(files, pattern).OrderDescending(Comparer<string>.Create(Versions.Compare))
                    .Where(path => HasKernel(tree, path))
                    .Select(path => (Tree: tree, Path: path)))))
            .ToList();
        if (images.Count == 0)
        {
            return null;
        }

        var pattern = BootLoaderEntries.Default(disk);
        var (tree, path) = images.Find(
            image => pattern is not null && Glob.Matches(pattern, image.Path[(image.Path.LastIndexOf('/') + 1)..]));
        if (path is null)
        {
            (tree, path) = images[0];
        }

        using var text = new StreamReader(Section(tree, path, ".cmdline") ?? Stream.Null);
        return new(
            BootLoader.UnifiedKernel, path, new(path, () => Section(tree, path, ".linux")!),
            text.ReadToEnd().TrimEnd('\0').Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries),
            Section(tree, path, ".initrd") is null ? [] : [new(path, () => Section(tree, path, ".initrd")!)]);
    }

    private static bool HasKernel(SystemTree tree, string path) => Section(tree, path, ".linux") is not null;

    private static Stream? Section(SystemTree tree, string path, string name)
    {
        var file = tree.FileSystem.OpenRead(path);
        return PortableExecutable.TryRead(file)?.Section(name) is not var (offset, length)
            ? null
            : new StreamPart(file, offset, length);
    }
}
