using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>The modules of one kernel in the root file system.</summary>
/// <remarks>Source: depmod(8), modprobe(8); kbuild documentation, "modules.builtin".</remarks>
internal sealed class KernelModules
{
    // modules.dep has some 1 MiB.
    private const int MaximumListLength = 16 << 20;

    private static readonly string[] Suffixes = [".ko", ".ko.zst", ".ko.xz", ".ko.gz"];

    private readonly IImageFileSystem _root;
    private readonly IReadOnlySet<string> _builtIn;
    private readonly Dictionary<string, string> _paths = new(StringComparer.Ordinal);

    private KernelModules(IImageFileSystem root, string release, IReadOnlySet<string> builtIn)
    {
        _root = root;
        _builtIn = builtIn;
        Release = release;
    }

    /// <summary>The kernel's release.</summary>
    public string Release { get; }

    public static KernelModules Read(IImageFileSystem root, string release)
    {
        var directory = $"/lib/modules/{release}";
        if (root.ReadText($"{directory}/modules.dep", MaximumListLength) is not { } dependencies)
        {
            throw ImageErrors.Unsupported($"the modules of the kernel that starts, {release}, have no modules.dep in {directory}.");
        }

        var modules = new KernelModules(root, release, NamesOf(root.ReadLines($"{directory}/modules.builtin")));
        foreach (var path in dependencies.Split('\n').Select(line => line.Split(':')[0]))
        {
            if (NameOf(path) is { } name)
            {
                modules._paths[name] = path.StartsWith('/') ? path : $"{directory}/{path}";
            }
        }

        return modules;
    }

    /// <summary>Whether the kernel has it without loading anything.</summary>
    public bool IsBuiltIn(string name) => _builtIn.Contains(name);

    /// <summary>Whether modprobe finds it, and its file exists.</summary>
    public bool IsLoadable(string name) => _paths.TryGetValue(name, out var path) && _root.FileExists(path);

    /// <summary>The names of the modules among some files.</summary>
    public static IReadOnlySet<string> NamesOf(IEnumerable<string> paths) => paths.Select(NameOf).OfType<string>().ToHashSet(StringComparer.Ordinal);

    /// <summary>A module's name after its file, or null if it is no module's. Dash and underscore are the same to modprobe.</summary>
    private static string? NameOf(string path)
    {
        var name = path[(path.LastIndexOf('/') + 1)..];
        var suffix = Array.Find(Suffixes, suffix => name.EndsWith(suffix, StringComparison.Ordinal));
        return suffix is null ? null : name[..^suffix.Length].Replace('-', '_');
    }
}
