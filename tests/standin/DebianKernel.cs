using System.Collections.Concurrent;
using System.Text;

namespace ArchAzure.StandIn;

/// <summary>
/// Debian's kernel as Arch packages it: image, modules and <c>pkgbase</c> below /usr/lib/modules/VERSION, nothing in /boot.
/// </summary>
/// <param name="Release">What <c>uname -r</c> prints.</param>
/// <param name="Version">The package's version.</param>
/// <param name="Files">All of its files but <c>pkgbase</c>.</param>
internal sealed record DebianKernel(string Release, string Version, FileTree Files)
{
    private const string Image = "linux-image-";

    /// <summary>
    /// Reads the one kernel among the packages: a package of its own up to trixie, several since (image, modules, what both share).
    /// </summary>
    /// <param name="debian">All downloaded packages.</param>
    /// <param name="unwanted">Paths that are left out.</param>
    /// <param name="work">A folder for temporary files.</param>
    /// <param name="cancellation">Ends the reading.</param>
    public static async Task<DebianKernel> ReadAsync(
        IReadOnlyList<DebianPackage> debian, Predicate<string> unwanted, string work, CancellationToken cancellation)
    {
        DebianPackage image = debian.Single(
            d => d.Name.StartsWith(Image, StringComparison.Ordinal) && char.IsAsciiDigit(d.Name[Image.Length]));
        string release = image.Name[Image.Length..];
        string modules = $"usr/lib/modules/{release}";
        FileTree files = new();
        var parts = debian.Where(
            d => d.Name.StartsWith("linux-", StringComparison.Ordinal) && d.Name.EndsWith("-" + release, StringComparison.Ordinal));
        foreach (DebianPackage part in parts)
        {
            await part.AddToAsync(files, FileTree.ToArchPath, cancellation);
        }

        if (files.Contains($"boot/vmlinuz-{release}"))
        {
            files.Move($"boot/vmlinuz-{release}", $"{modules}/vmlinuz");
        }

        files.Remove(
            p =>
                unwanted(p)
                    || p == "boot"
                    || p.StartsWith("boot/", StringComparison.Ordinal)
                    || p == $"{modules}/System.map"
                    || p == $"{modules}/config");
        RemoveDependents(files, await CompressAsync(files, Path.Combine(work, "modules"), cancellation), modules);
        return new DebianKernel(release, image.ArchVersion, files);
    }

    /// <summary>Makes it an Arch package.</summary>
    public void AddTo(ArchPackage package)
    {
        foreach ((string path, TreeEntry entry) in Files.Entries)
        {
            package.Files.Add(path, entry);
        }

        package.Files.AddFile($"usr/lib/modules/{Release}/pkgbase", package.Name + "\n");
    }

    /// <summary>A whole kernel has no module that lacks one it needs.</summary>
    private static void RemoveDependents(FileTree files, IReadOnlyDictionary<string, string[]> needs, string modules)
    {
        HashSet<string> there =
        [
            .. files.Entries.Select(e => ModuleName(e.Key)),
            .. Encoding.UTF8.GetString(files[$"{modules}/modules.builtin"].Content).Split('\n').Select(ModuleName),
        ];
        while (needs.Where(n => there.Contains(ModuleName(n.Key))
            && !Array.TrueForAll(n.Value, there.Contains)).Select(n => n.Key).ToHashSet() is { Count: > 0 } broken)
        {
            there.ExceptWith(broken.Select(ModuleName));
            files.Remove(broken.Contains);
        }
    }

    private static string ModuleName(string path) => Path.GetFileName(path).Split(".ko")[0].Replace('-', '_');

    /// <summary>The names in a module's <c>.modinfo</c> section of the modules that it needs.</summary>
    private static string[] Needs(ReadOnlySpan<byte> module)
    {
        ReadOnlySpan<byte> key = "\0depends="u8;
        int start = module.IndexOf(key);
        return start < 0
            ? []
            : Encoding.UTF8.GetString(module[(start + key.Length)..][..module[(start + key.Length)..].IndexOf((byte)0)])
                .Split(',', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>Debian compresses modules with xz or not at all, Arch with zstd. Returns which modules each one needs.</summary>
    private static async Task<IReadOnlyDictionary<string, string[]>> CompressAsync(
        FileTree files, string work, CancellationToken cancellation)
    {
        string[] paths = [.. files.Entries.Select(e => e.Key)
            .Where(p => p.EndsWith(".ko.xz", StringComparison.Ordinal) || p.EndsWith(".ko", StringComparison.Ordinal))];
        _ = Directory.CreateDirectory(work);
        ConcurrentDictionary<string, string[]> needs = new(StringComparer.Ordinal);
        await Parallel.ForEachAsync(
            paths.Index().Chunk(200),
            new ParallelOptions { MaxDegreeOfParallelism = 2, CancellationToken = cancellation },
            async (modules, token) =>
        {
            List<string> plain = [];
            foreach ((int number, string path) in modules)
            {
                plain.Add(Path.Combine(work, $"{number}.ko"));
                await File.WriteAllBytesAsync(
                    path.EndsWith(".xz", StringComparison.Ordinal) ? plain[^1] + ".xz" : plain[^1], files[path].Content, token);
            }

            string[] packed = [.. plain.Select(p => p + ".xz").Where(File.Exists)];
            if (packed.Length > 0)
            {
                _ = await Tool.RunAsync("xz", ["--decompress", .. packed], token);
            }

            foreach (((int _, string path), string file) in modules.Zip(plain))
            {
                needs[ArchPath(path)] = [.. Needs(await File.ReadAllBytesAsync(file, token)).Select(ModuleName)];
            }

            // Of files, not through pipes: depmod asks the frame for the size.
            _ = await Tool.RunAsync("zstd", ["-q", "--rm", .. plain], token);
            foreach (((int _, string path), string file) in modules.Zip(plain))
            {
                files[path].Content = await File.ReadAllBytesAsync(file + ".zst", token);
            }
        });
        foreach (string path in paths)
        {
            files.Move(path, ArchPath(path));
        }

        return needs;

        static string ArchPath(string path) => path[..(path.LastIndexOf(".ko", StringComparison.Ordinal) + 3)] + ".zst";
    }
}
