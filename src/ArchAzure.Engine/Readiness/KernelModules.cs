using System.Buffers.Binary;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>The modules of one kernel in a file system, by the lists that depmod makes of them.</summary>
/// <remarks>Source: depmod(8), modprobe(8); kbuild documentation, "modules.builtin"; kmod, libkmod/libkmod-index.c.</remarks>
internal sealed class KernelModules
{
    // In the index: what it begins with, and what a node's offset says besides.
    private const uint IndexMagic = 0xB007F457;
    private const uint HasPrefix = 0x80000000;
    private const uint HasValues = 0x40000000;
    private const uint HasChildren = 0x20000000;
    private const uint OffsetMask = 0x0FFFFFFF;

    // A string in a list, and its line and name in a dictionary.
    private const int CostOfValue = 150;

    private static readonly string[] s_suffixes = [".ko", ".ko.zst", ".ko.xz", ".ko.gz"];

    private readonly IFileSystemView _fileSystem;
    // By the names of what is built in their paths.
    private readonly IReadOnlyDictionary<string, string> _builtIn;

    // By a module's name its line: its path, a colon, and the paths of all that it depends on, most of them relative.
    private readonly Dictionary<string, string> _lines = new(StringComparer.Ordinal);

    private KernelModules(IFileSystemView fileSystem, string release, IReadOnlyDictionary<string, string> builtIn)
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
    public static KernelModules? TryRead(IFileSystemView fileSystem, string release)
    {
        var directory = $"/lib/modules/{release}";
        IEnumerable<string> list;
        if (fileSystem.ReadText($"{directory}/modules.dep", Initramfs.MaximumListLength) is { } text)
        {
            list = fileSystem.Lines(text);
        }
        else if (fileSystem.FileExists($"{directory}/modules.dep.bin"))
        {
            // mkinitcpio leaves the index alone in an initramfs, which is all that modprobe and udev look into.
            list = IndexValues(fileSystem.ReadAllBytes($"{directory}/modules.dep.bin", Initramfs.MaximumListLength), fileSystem.Budget);
        }
        else
        {
            return null;
        }

        var builtIn = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var path in fileSystem.ReadLines($"{directory}/modules.builtin"))
        {
            if (NameOf(path) is { } name)
            {
                builtIn[name] = path;
            }
        }

        var modules = new KernelModules(fileSystem, release, builtIn);
        foreach (var line in list)
        {
            if (NameOf(line.Split(':')[0].Trim()) is { } name)
            {
                modules._lines[name] = line;
            }
        }

        return modules;
    }

    /// <summary>Whether the kernel has it without loading anything.</summary>
    public bool IsBuiltIn(string name) => _builtIn.ContainsKey(name);

    /// <summary>Whether modprobe finds it, and its file and those of all that it depends on exist.</summary>
    public bool IsLoadable(string name) => _lines.ContainsKey(name) && PathsOf(name).All(_fileSystem.FileExists);

    /// <summary>Whether a module of this folder, e.g. <c>kernel/fs/</c>, is built in or is one that modprobe finds.</summary>
    public bool HasAnyIn(string folder) =>
        _builtIn.Values.Any(path => path.StartsWith(folder, StringComparison.Ordinal))
        || _lines.Any(line => PathsOf(line.Key).First().Contains('/' + folder, StringComparison.Ordinal) && IsLoadable(line.Key));

    /// <summary>The names of all modules that it depends on.</summary>
    public IEnumerable<string> DependenciesOf(string name) => PathsOf(name).Skip(1).Select(NameOf).OfType<string>();

    /// <summary>A module's own path and those of all that it depends on. One by one: a line may have millions.</summary>
    private IEnumerable<string> PathsOf(string name)
    {
        var line = _lines.GetValueOrDefault(name, "");
        for (var start = 0; start < line.Length;)
        {
            var end = line.AsSpan(start).IndexOfAny(':', ' ') is var found and >= 0 ? start + found : line.Length;
            if (end > start)
            {
                _fileSystem.Budget.CheckTime();
                yield return line[start] == '/' ? line[start..end] : $"/lib/modules/{Release}/{line[start..end]}";
            }

            start = end + 1;
        }
    }

    /// <summary>A module's name after its file, or null if it is no module's. Dash and underscore are the same to modprobe.</summary>
    private static string? NameOf(string path)
    {
        var name = path[(path.LastIndexOf('/') + 1)..];
        var suffix = Array.Find(s_suffixes, suffix => name.EndsWith(suffix, StringComparison.Ordinal));
        return suffix is null ? null : name[..^suffix.Length].Replace('-', '_');
    }

    /// <summary>The lines in an index: all values of its tree, whose keys they tell too.</summary>
    internal static List<string> IndexValues(ReadOnlySpan<byte> index, ReadBudget budget)
    {
        if (Number(index, 0) != IndexMagic)
        {
            throw DiskErrors.Damaged("modules.dep.bin does not begin as an index of modules.");
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
                    budget.Spend(ReadCost.Memory, CostOfValue + end - position);
                    values.Add(index[(position + 4)..end].Text());
                    position = end;
                }
            }

            // The nodes share no bytes; one that a damaged index comes back to does.
            if ((taken += position - start) > index.Length)
            {
                throw DiskErrors.Damaged("modules.dep.bin refers to itself.");
            }
        }

        return values;
    }

    private static uint Number(ReadOnlySpan<byte> index, int position) => BinaryPrimitives.ReadUInt32BigEndian(index.At(position, 4));

    private static int EndOfText(ReadOnlySpan<byte> index, int position)
    {
        var length = index.At(position, index.Length - position).IndexOf((byte)0);
        return length < 0 ? throw DiskErrors.Damaged("modules.dep.bin has a text without an end.") : position + length + 1;
    }
}
