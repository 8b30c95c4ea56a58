using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>What writes down which kernel is started.</summary>
internal enum BootLoader
{
    /// <summary>GRUB's script.</summary>
    Grub,

    /// <summary>Entries of the Boot Loader Specification that GRUB reads (<c>blscfg</c>).</summary>
    GrubEntries,

    /// <summary>Such entries that systemd-boot reads.</summary>
    Entries,

    /// <summary>A unified kernel image.</summary>
    UnifiedKernel,
}

/// <summary>A file that a boot loader loads.</summary>
/// <param name="Path">Its path as the loader has it.</param>
/// <param name="Content">Opens it; null if it is not there.</param>
internal sealed record BootFile(string Path, Func<Stream>? Content)
{
    /// <summary>Opens it.</summary>
    public Stream Open() => Content?.Invoke() ?? throw DiskErrors.Unsupported($"{Path}, which the boot loader loads, is not there.");
}

/// <summary>What the boot loader starts if nobody intervenes.</summary>
/// <param name="Loader">Which loader it is.</param>
/// <param name="ConfigurationPath">Where that is written.</param>
/// <param name="Kernel">The kernel.</param>
/// <param name="Arguments">The kernel command line, word by word.</param>
/// <param name="Initramfs">The initramfs files, in their order.</param>
internal sealed record BootEntry(
    BootLoader Loader, string ConfigurationPath, BootFile Kernel, IReadOnlyList<string> Arguments, IReadOnlyList<BootFile> Initramfs)
{
    private static readonly string[] s_grubPaths = ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub/grub.cfg", "/grub2/grub.cfg"];

    /// <summary>The value of a kernel argument, of one given twice the last; null if there is none.</summary>
    public string? Value(string name) =>
        Arguments.LastOrDefault(argument => argument.StartsWith(name + "=", StringComparison.Ordinal))?[(name.Length + 1)..];

    /// <summary>Reads it: from GRUB's script, or else entries of the Boot Loader Specification, or unified kernel images.</summary>
    /// <exception cref="ArchAzureException"><c>ImageNotReadable</c>: none is known here.</exception>
    public static BootEntry Read(CheckedDisk disk) =>
        ReadGrub(disk) ?? BootLoaderEntries.Read(disk, BootLoader.Entries, []) ?? UnifiedKernels.Read(disk)
        ?? throw DiskErrors.Unsupported(
            "there is no grub.cfg, no entry of the Boot Loader Specification and no unified kernel image on a file system that can be "
            + $"read{SystemTree.Unreadable(disk)}; other boot loaders are not known here.");

    /// <summary>A file by its path on the loader's file system, which may be another than that of the configuration.</summary>
    internal static BootFile Find(CheckedDisk disk, SystemTree from, string path)
    {
        var holder = disk.Trees.Where(tree => tree.Partition.Number == from.Partition.Number)
            .Prepend(from)
            .Concat(disk.Trees)
            .FirstOrDefault(tree => tree.Has(path));
        return new(path, holder is null ? null : () => holder.FileSystem.OpenRead(path));
    }

    /// <summary>The same of the kernel that a configuration names, which must be there.</summary>
    /// <exception cref="ArchAzureException"><c>ImageNotReadable</c>.</exception>
    internal static BootFile FindKernel(CheckedDisk disk, SystemTree from, string path, string configuration) =>
        Find(disk, from, path) is { Content: not null } kernel
            ? kernel
            : throw DiskErrors.Unsupported($"the kernel {path}, which {configuration} starts, is on no file system that can be read.");

    private static BootEntry? ReadGrub(CheckedDisk disk)
    {
        var scripts = disk.Trees.SelectMany(tree => s_grubPaths.Where(tree.Has).Select(path => (Tree: tree, Path: path)))
            .ToList();
        if (scripts.Count == 0)
        {
            return null;
        }

        // One next to the loader itself often only leads to the one that grub-mkconfig writes.
        var own = scripts.Where(script => script.Tree.FileSystem.Identity.Kind != FileSystemKind.Fat).ToList();
        if ((own.Count > 0 ? own : scripts) is not [var (tree, path)])
        {
            throw DiskErrors.Unsupported(
                $"{string.Join(" and ", scripts.Select(script => $"{script.Path} on {script.Tree.Name}"))} could each be the boot "
                + "loader's.");
        }

        var environment = tree.FileSystem.ReadLines(path[..path.LastIndexOf('/')] + "/grubenv").ToList();
        var text = tree.FileSystem.ReadText(path)!;
        var (commands, entries) = GrubConfiguration.ReadDefaultEntry(text, environment, tree.FileSystem.Budget);
        if (entries && BootLoaderEntries.Read(disk, BootLoader.GrubEntries, environment) is { } entry)
        {
            return entry;
        }

        var linux = commands?.FirstOrDefault(command => command.Name is "linux" or "linuxefi" or "linux16");
        if (linux is not { Arguments: [var kernel, .. var arguments] })
        {
            throw DiskErrors.Unsupported($"the default entry of {path} starts no Linux kernel that can be told.");
        }

        var initramfs = commands!.Where(command => command.Name is "initrd" or "initrdefi" or "initrd16")
            .SelectMany(command => command.Arguments);
        return new(
            BootLoader.Grub, path, FindKernel(disk, tree, WithoutDevice(kernel), path), arguments,
            [.. initramfs.Select(name => Find(disk, tree, WithoutDevice(name)))]);
    }

    /// <summary>Cuts off a device in GRUB's notation, e.g. <c>(hd0,gpt3)</c>.</summary>
    private static string WithoutDevice(string path) =>
        path.StartsWith('(') && path.IndexOf(')', StringComparison.Ordinal) is var end and > 0 ? path[(end + 1)..] : path;
}
