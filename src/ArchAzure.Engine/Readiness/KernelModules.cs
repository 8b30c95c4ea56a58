using System.Buffers.Binary;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>The modules of one kernel in a file system, by the lists that depmod makes of them.</summary>
/// <remarks>Source: depmod(8), modprobe(8); kbuild documentation, "modules.builtin"; kmod, libkmod/libkmod-index.c.</remarks>
internal sealed class KernelModules
{
    // modules.dep has some 1 MiB.
    private const int MaximumListLength = 16 << 20;

    // In the index: what it begins with, and what a node's offset says besides.
    private const uint IndexMagic = 0xB007F457;
    private const uint HasPrefix = 0x80000000;
    private const uint HasValues = 0x40000000;
    private const uint HasChildren = 0x20000000;
    private const uint OffsetMask = 0x0FFFFFFF;

    private static readonly string[] Suffixes = [".ko", ".ko.zst", ".ko.xz", ".ko.gz"];

    private readonly IImageFileSystem _fileSystem;
    private readonly IReadOnlySet<string> _builtIn;
    private readonly Dictionary<string, string[]> _paths = new(StringComparer.Ordinal);

    private KernelModules(IImageFileSystem fileSystem, string release, IReadOnlySet<string> builtIn)
    {
        _fileSystem = fileSystem;
        _builtIn = builtIn;
        Release = release;
    }

    /// <summary>The kernel's release.</summary>
    public string Release { get; }

    /// <summary>Reads the lists, or tells by null that there are none.</summary>
    /// <param name="fileSystem">A root file system or an initramfs.</param>
    /// <param name="release">The kernel's release.</param>
    public static KernelModules? TryRead(IImageFileSystem fileSystem, string release)
    {
        var directory = $"/lib/modules/{release}";
        var list = fileSystem.ReadText($"{directory}/modules.dep", MaximumListLength)?.Split('\n');

        // mkinitcpio leaves the index alone in an initramfs, which is all that modprobe and udev look into.
        if (list is null && fileSystem.FileExists($"{directory}/modules.dep.bin"))
        {
            list = [.. IndexValues(fileSystem.ReadAllBytes($"{directory}/modules.dep.bin", MaximumListLength))];
        }

        if (list is null)
        {
            return null;
        }

        var modules = new KernelModules(fileSystem, release, fileSystem.ReadLines($"{directory}/modules.builtin").Select(NameOf).OfType<string>().ToHashSet(StringComparer.Ordinal));
        foreach (var paths in list.Select(line => line.Split([':', ' '], StringSplitOptions.RemoveEmptyEntries)))
        {
            if (paths is [var path, ..] && NameOf(path) is { } name)
            {
                modules._paths[name] = [.. paths.Select(path => path.StartsWith('/') ? path : $"{directory}/{path}")];
            }
        }

        return modules;
    }

    /// <summary>Whether the kernel has it without loading anything.</summary>
    public bool IsBuiltIn(string name) => _builtIn.Contains(name);

    /// <summary>Whether modprobe finds it, and its file and those of all that it depends on exist.</summary>
    public bool IsLoadable(string name) => _paths.TryGetValue(name, out var paths) && Array.TrueForAll(paths, _fileSystem.FileExists);

    /// <summary>The names of all modules that it depends on.</summary>
    public IEnumerable<string> DependenciesOf(string name) => _paths.GetValueOrDefault(name, []).Skip(1).Select(NameOf).OfType<string>();

    /// <summary>A module's name after its file, or null if it is no module's. Dash and underscore are the same to modprobe.</summary>
    private static string? NameOf(string path)
    {
        var name = path[(path.LastIndexOf('/') + 1)..];
        var suffix = Array.Find(Suffixes, suffix => name.EndsWith(suffix, StringComparison.Ordinal));
        return suffix is null ? null : name[..^suffix.Length].Replace('-', '_');
    }

    /// <summary>The lines in an index: all values of its tree, whose keys they tell too.</summary>
    internal static List<string> IndexValues(ReadOnlySpan<byte> index)
    {
        if (Number(index, 0) != IndexMagic)
        {
            throw ImageErrors.Damaged("modules.dep.bin does not begin as an index of modules.");
        }

        List<string> values = [];
        var pending = new Stack<uint>([Number(index, 8)]);
        var taken = 0L;
        while (pending.TryPop(out var node))
        {
            var start = (int)(node & OffsetMask);
            var position = start;
            if ((node & HasPrefix) != 0)
            {
                position = EndOfText(index, position);
            }

            if ((node & HasChildren) != 0)
            {
                var (first, last) = (index.U8(position), index.U8(position + 1));
                position += 2;
                for (var child = (int)first; child <= last; child++, position += 4)
                {
                    if (Number(index, position) is var offset && (offset & OffsetMask) != 0)
                    {
                        pending.Push(offset);
                    }
                }
            }

            if ((node & HasValues) != 0)
            {
                var count = Number(index, position);
                position += 4;
                for (var value = 0u; value < count; value++)
                {
                    // Behind its priority.
                    var end = EndOfText(index, position + 4);
                    values.Add(index[(position + 4)..end].Text());
                    position = end;
                }
            }

            // The nodes share no bytes; one that a damaged index comes back to does.
            if ((taken += position - start) > index.Length)
            {
                throw ImageErrors.Damaged("modules.dep.bin refers to itself.");
            }
        }

        return values;
    }

    private static uint Number(ReadOnlySpan<byte> index, int position) => BinaryPrimitives.ReadUInt32BigEndian(index.At(position, 4));

    private static int EndOfText(ReadOnlySpan<byte> index, int position)
    {
        var length = index.At(position, index.Length - position).IndexOf((byte)0);
        return length < 0 ? throw ImageErrors.Damaged("modules.dep.bin has a text without an end.") : position + length + 1;
    }
}
