using System.Collections.Concurrent;
using System.Diagnostics;
using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Runtime.Versioning;
using System.Security.Cryptography;
using System.Text;

namespace ArchAzure.StandIn;

/// <summary>
/// Makes the mirror: Arch's packages out of Debian's, both repositories' databases, two releases of the bootstrap
/// tarball and the agent's repository. Reads top to bottom.
/// </summary>
[SupportedOSPlatform("linux")]
internal sealed class MirrorMaker(string cache, string suite, string kernel, TextWriter log)
{
    /// <summary>The packages of which there is a newer release.</summary>
    private static readonly string[] s_updated = ["linux", "grub"];

    /// <summary>The releases, newest first. The older ones are hard links of the newest: same bytes, its <c>version</c> too.</summary>
    private static readonly string[] s_releases = ["2026.11.01", "2026.10.01"];

    /// <summary>The day of which the archive has its one snapshot: the same packages.</summary>
    private const string Snapshot = "2026.11.15";

    // What the program needs of Debian besides what every installation has.
    private static readonly (string Program, string Package)[] s_tools =
        [("zstd", "zstd"), ("xz", "xz-utils"), ("gpg", "gnupg"), ("gpgconf", "gnupg"), ("git", "git"), ("bsdtar", "libarchive-tools")];

    private readonly Recipe _recipe = Recipe.Load(suite, kernel);
    private readonly Stopwatch _stage = new();
    private string _stageName = "";
    private string _sitePackages = "";

    /// <summary>Returns the mirror's directory, made if the cache lacks it.</summary>
    /// <param name="debianAddress">The Debian archive to make it from; null for the one the host installs from.</param>
    /// <param name="cancellation">Ends it; what was made so far goes.</param>
    /// <exception cref="StandInException">Not root, no apt, no Debian archive, or a tool failed.</exception>
    public async Task<string> MakeAsync(string? debianAddress, CancellationToken cancellation)
    {
        string mirror = Path.Combine(cache, _recipe.Hash);
        if (Directory.Exists(mirror))
        {
            return mirror;
        }

        if (!Environment.IsPrivilegedProcess)
        {
            throw new StandInException(
                "The stand-in mirror is made with chroot and mknod, which takes root: run this as root once; a finished mirror in the "
                + "cache needs no root.");
        }

        _ = Directory.CreateDirectory(cache);
        using FileStream theLock = await LockAsync(cancellation);
        if (Directory.Exists(mirror))
        {
            return mirror;
        }

        foreach (string left in Directory.GetDirectories(cache, "*.tmp"))
        {
            Directory.Delete(left, recursive: true);
        }

        await EnsureToolsAsync(cancellation);
        string work = Path.Combine(cache, $"{_recipe.Hash}.tmp");
        string root = Path.Combine(work, "root");
        string staged = Path.Combine(root, "srv/mirror");
        await using (Signer signer = new())
        {
            Stopwatch total = Stopwatch.StartNew();
            Stage("Debian packages");
            IReadOnlyList<DebianPackage> debian = await DownloadAsync(debianAddress, cancellation);

            Stage("Arch packages");
            _sitePackages = $"usr/lib/{PythonVersion(debian)}/site-packages";
            Task<DebianKernel> kernels = DebianKernel.ReadAsync(debian, IsUnwanted, work, cancellation);
            Dictionary<string, ArchPackage> packages = await SplitAsync(debian, cancellation);
            AddKernels(packages, await kernels);
            string packageKey = await signer.CreateKeyAsync("ArchAzure stand-in packager <packager@stand-in.invalid>", cancellation);
            await AddKeyringAsync(packages["archlinux-keyring"], signer, packageKey, work, cancellation);

            Stage("byte code");
            await ExtractAsync(
                packages,
                Closure(packages, ["base", "arch-install-scripts", "python-setuptools", "python-distro", "cloud-init"]),
                root,
                cancellation);
            await CompilePythonAsync(packages.Values, PythonVersion(debian), root, cancellation);

            Stage("repositories");
            await WriteRepositoriesAsync(packages.Values, signer, packageKey, staged, cancellation);

            Stage("bootstrap");
            await WriteReleasesAsync(root, staged, signer, cancellation);

            Stage("agent");
            await WriteAgentAsync(debian.Single(d => d.Name == "waagent"), Path.Combine(work, "waagent"), staged, cancellation);

            Stage("");
            await File.WriteAllTextAsync(Path.Combine(staged, ".standin"), _recipe.Hash + "\n", cancellation);
            Directory.Move(staged, mirror);
            log.WriteLine($"mirror made in {total.Elapsed.TotalSeconds:F0} s: {mirror}");
        }

        Directory.Delete(work, recursive: true);
        return mirror;
    }

    private async Task<FileStream> LockAsync(CancellationToken cancellation)
    {
        string path = Path.Combine(cache, "lock");
        bool told = false;
        while (true)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (File.Exists(path))
            {
                if (!told)
                {
                    log.WriteLine($"another run makes the mirror (it holds {path}); waiting for it");
                    told = true;
                }

                await Task.Delay(TimeSpan.FromMilliseconds(500), cancellation);
            }
        }
    }

    private async Task EnsureToolsAsync(CancellationToken cancellation)
    {
        if (!IsInstalled("apt-get") || !IsInstalled("dpkg-deb"))
        {
            throw new StandInException(
                "The stand-in mirror is made from Debian's packages by apt: run this on Debian or Ubuntu (or copy a finished cache from "
                + "there).");
        }

        string[] missing = [.. s_tools.Where(t => !IsInstalled(t.Program)).Select(t => t.Package).Distinct()];
        if (missing.Length > 0 || !Directory.EnumerateFiles("/var/lib/apt/lists", "*_Packages*").Any())
        {
            log.WriteLine("apt-get update");
            _ = await Tool.RunAsync("apt-get", ["update", "--quiet=2"], cancellation);
        }

        if (missing.Length > 0)
        {
            log.WriteLine($"apt-get install {string.Join(' ', missing)}");
            _ = await Tool.RunAsync(
                "apt-get",
                ["install", "--yes", "--quiet=2", "--no-install-recommends", .. missing],
                cancellation,
                new Dictionary<string, string> { ["DEBIAN_FRONTEND"] = "noninteractive" });
        }
    }

    private static bool IsInstalled(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(p => File.Exists(Path.Combine(p, program)));

    private async Task<IReadOnlyList<DebianPackage>> DownloadAsync(string? address, CancellationToken cancellation)
    {
        address ??= await DebianSuite.HostAddressAsync(cancellation)
            ?? throw new StandInException(
                "This host does not install from a Debian archive, so it is not known where one is: name one with --debian URL or "
                + "ARCHAZURE_DEBIAN_URL (https://www.debian.org/mirror/list).");
        DebianSuite debian = await DebianSuite.OpenAsync(suite, address, _recipe.Text("debian-archive-keys.asc"), cache, cancellation);
        try
        {
            return await debian.DownloadAsync(_recipe.Sets, cancellation);
        }
        catch (StandInException e)
        {
            // The suite has moved on since its lists were fetched.
            log.WriteLine($"{e.Message}\napt-get update, and once more");
            await debian.UpdateAsync(cancellation);
            return await debian.DownloadAsync(_recipe.Sets, cancellation);
        }
    }

    /// <summary>Regroups Debian's files into Arch's packages as the recipe says.</summary>
    private async Task<Dictionary<string, ArchPackage>> SplitAsync(IReadOnlyList<DebianPackage> debian, CancellationToken cancellation)
    {
        Dictionary<PackageRule, List<DebianPackage>> sources = Assign(debian);
        Dictionary<string, string> archName = new(StringComparer.Ordinal);
        foreach ((PackageRule rule, DebianPackage source) in sources.SelectMany(s => s.Value.Select(d => (s.Key, d))))
        {
            foreach (string provided in source.Provides)
            {
                _ = archName.TryAdd(provided, rule.Name);
            }

            archName[source.Name] = rule.Name;
        }

        ConcurrentDictionary<string, ArchPackage> made = new(StringComparer.Ordinal);
        await Parallel.ForEachAsync(
            sources, new ParallelOptions { MaxDegreeOfParallelism = 2, CancellationToken = cancellation }, async (assigned, token) =>
        {
            (PackageRule rule, List<DebianPackage> parts) = assigned;
            DebianPackage? first = parts.FirstOrDefault();
            ArchPackage package = new(
                rule.Repository, rule.Name, first?.ArchVersion ?? "20261101-1", first?.Description ?? $"The stand-in's {rule.Name}");
            foreach (DebianPackage part in parts)
            {
                await part.AddToAsync(package.Files, ToArchPath, token);
                foreach (string[] alternatives in part.Depends)
                {
                    if (alternatives.Select(a => archName.GetValueOrDefault(a)).FirstOrDefault(a => a is not null) is { } depend)
                    {
                        _ = package.Depends.Add(depend);
                    }
                }
            }

            package.Files.Remove(IsUnwanted);
            foreach ((string path, byte[] content) in _recipe.FilesBelow("files/" + rule.Name))
            {
                bool program = path.StartsWith("usr/bin/", StringComparison.Ordinal)
                    || path.Contains("/scripts/", StringComparison.Ordinal)
                    || path.EndsWith("/init", StringComparison.Ordinal);
                package.Files.AddFile(path, content, program ? (UnixFileMode)0b111_101_101 : (UnixFileMode)0b110_100_100);
            }

            rule.Edits.ForEach(edit => edit(package.Files));
            package.Depends.UnionWith(rule.Depends);
            package.Depends.ExceptWith(rule.Forgotten);
            _ = package.Depends.Remove(rule.Name);
            package.Provides.AddRange(rule.Provides);
            package.Conflicts.AddRange(rule.Conflicts);
            package.Backup.AddRange(rule.Backup.Where(package.Files.Contains));
            made[rule.Name] = package;
        });
        Dictionary<string, ArchPackage> packages = new(made, StringComparer.Ordinal);
        AddLocaleList(packages["glibc"].Files);
        AddCertificateBundle(packages["ca-certificates"].Files);
        // The search path is in the interpreter itself.
        packages["python"].Files.AddLink("usr/lib/python3/dist-packages", $"../../{_sitePackages["usr/".Length..]}");
        RejectSharedFiles(packages.Values);
        return packages;
    }

    /// <summary>
    /// Which Debian packages each Arch package is made of: named by the recipe, matched by one of its patterns, or one by itself.
    /// </summary>
    private Dictionary<PackageRule, List<DebianPackage>> Assign(IReadOnlyList<DebianPackage> debian)
    {
        Dictionary<string, DebianPackage> rest = debian.ToDictionary(d => d.Name, StringComparer.Ordinal);
        Dictionary<PackageRule, List<DebianPackage>> sources = [];
        foreach (PackageRule rule in _recipe.Packages.Values)
        {
            sources[rule] = [.. rule.Sources.Where(s => !Recipe.IsPattern(s)).Select(s => rest.Remove(s, out DebianPackage? package)
                ? package
                : throw new StandInException(
                    $"packages.conf names {s} for {rule.Name}, which is not among the {debian.Count} packages that apt resolved, or is "
                    + "named twice."))];
        }

        var packages = rest.Values.Where(d => !_recipe.Dropped.Exists(p => Recipe.Matches(p, d.Name)))
            .OrderBy(d => d.Name, StringComparer.Ordinal);
        foreach (DebianPackage package in packages)
        {
            PackageRule[] matching =
                [.. _recipe.Packages.Values.Where(r => r.Sources.Any(s => Recipe.IsPattern(s) && Recipe.Matches(s, package.Name)))];
            bool python = package.Name.StartsWith("python3-", StringComparison.Ordinal);
            string name = python ? "python-" + package.Name["python3-".Length..] : package.Name;
            PackageRule rule = matching.Length <= 1
                ? matching.FirstOrDefault() ?? new PackageRule(python ? "extra" : "core", name, [package.Name])
                : throw new StandInException(
                    $"packages.conf has patterns for {package.Name} in {string.Join(" and ", matching.Select(r => r.Name))}.");
            (sources.TryGetValue(rule, out List<DebianPackage>? parts) ? parts : sources[rule] = []).Add(package);
        }

        return sources;
    }

    /// <summary>Where a path of Debian's lies on Arch; python modules among python's own.</summary>
    private string ToArchPath(string path)
    {
        const string Debian = "usr/lib/python3/dist-packages";
        path = FileTree.ToArchPath(path);
        return path == Debian || path.StartsWith(Debian + "/", StringComparison.Ordinal) ? _sitePackages + path[Debian.Length..] : path;
    }

    private bool IsUnwanted(string path) => _recipe.Removed.Exists(pattern => Recipe.Matches(pattern, path));

    /// <summary>Such as <c>python3.14</c>.</summary>
    private static string PythonVersion(IReadOnlyList<DebianPackage> debian) =>
        debian.Single(d => Recipe.Matches("python3.*-minimal", d.Name)).Name[..^"-minimal".Length];

    /// <summary>/etc/locale.gen as Arch ships it: every locale there is, commented out.</summary>
    private static void AddLocaleList(FileTree glibc)
    {
        string supported = Encoding.UTF8.GetString(glibc["usr/share/i18n/SUPPORTED"].Content);
        StringBuilder list = new(
            "# Configuration file for locale-gen\n#\n# lists of locales that are to be generated by the locale-gen command.\n#\n");
        foreach (string line in supported.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            list.Append('#').Append(line).Append("  \n");
        }

        glibc.AddFile("etc/locale.gen", list.ToString());
    }

    private static void AddCertificateBundle(FileTree certificates)
    {
        using MemoryStream bundle = new();
        foreach ((_, TreeEntry entry) in certificates.Entries.Where(e => e.Key.EndsWith(".crt", StringComparison.Ordinal)))
        {
            bundle.Write(entry.Content);
        }

        // Arch has the bundle only; and pacman in a C locale stops extracting at the first name that is not ASCII.
        certificates.Remove(p => p.StartsWith("usr/share/ca-certificates/", StringComparison.Ordinal));
        certificates.AddFile("etc/ssl/certs/ca-certificates.crt", bundle.ToArray());
        certificates.AddLink("etc/ssl/cert.pem", "certs/ca-certificates.crt");
    }

    /// <summary>pacman refuses to install two packages that hold the same file: say so here, not in the middle of a build.</summary>
    private static void RejectSharedFiles(IEnumerable<ArchPackage> packages)
    {
        Dictionary<string, string> owner = new(StringComparer.Ordinal);
        foreach (ArchPackage package in packages)
        {
            foreach ((string path, _) in package.Files.Entries.Where(e => e.Value.Kind != EntryKind.Directory && e.Key != ".INSTALL"))
            {
                if (!owner.TryAdd(path, package.Name))
                {
                    throw new StandInException($"{path} is in {owner[path]} and in {package.Name}: name one of them in a 'remove' or "
                        + "'move' line of packages.conf.");
                }
            }
        }
    }

    /// <summary>Fills linux and linux-lts, both with the same kernel.</summary>
    private static void AddKernels(Dictionary<string, ArchPackage> packages, DebianKernel kernel)
    {
        foreach (string name in (string[])["linux", "linux-lts"])
        {
            ArchPackage package = new("core", name, kernel.Version, $"The {name} kernel and modules");
            kernel.AddTo(package);
            package.Depends.UnionWith(packages[name].Depends);
            package.Provides.AddRange(packages[name].Provides);
            package.Conflicts.AddRange(packages[name].Conflicts);
            packages[name] = package;
        }
    }

    /// <summary>The packages' key as pacman-key takes it.</summary>
    private static async Task AddKeyringAsync(ArchPackage keyring, Signer signer, string key, string work, CancellationToken cancellation)
    {
        _ = Directory.CreateDirectory(work);
        string file = Path.Combine(work, "archlinux.gpg");
        await signer.ExportAsync(key, file, armor: true, cancellation);
        keyring.Files.AddFile("usr/share/pacman/keyrings/archlinux.gpg", await File.ReadAllBytesAsync(file, cancellation));
        keyring.Files.AddFile("usr/share/pacman/keyrings/archlinux-trusted", $"{key}:4:\n");
        keyring.Files.AddFile("usr/share/pacman/keyrings/archlinux-revoked", "");
    }

    private static List<string> Closure(Dictionary<string, ArchPackage> packages, string[] names)
    {
        HashSet<string> found = [];
        Queue<string> open = new(names);
        while (open.TryDequeue(out string? name))
        {
            if (!found.Add(name))
            {
                continue;
            }

            ArchPackage package = packages.GetValueOrDefault(name)
                ?? throw new StandInException($"A package depends on {name}, which packages.conf does not make.");
            foreach (string depend in package.Depends)
            {
                open.Enqueue(depend);
            }
        }

        return [.. found.Order(StringComparer.Ordinal)];
    }

    /// <summary>A root of all the named packages, to chroot into.</summary>
    private static async Task ExtractAsync(
        Dictionary<string, ArchPackage> packages, IEnumerable<string> names, string root, CancellationToken cancellation)
    {
        _ = Directory.CreateDirectory(root);
        FileTree all = new();
        foreach (string name in names)
        {
            foreach ((string path, TreeEntry entry) in packages[name].Files.Entries.Where(e => e.Key != ".INSTALL"))
            {
                if (entry.Kind != EntryKind.Directory || !all.Contains(path))
                {
                    all.Add(path, entry);
                }
            }
        }

        await Tool.PipeAsync("bsdtar", ["-xpf", "-", "-C", root], write: s => WriteTo(s, all), read: null, cancellation);

        static void WriteTo(Stream stream, FileTree tree)
        {
            using TarWriter tar = new(stream, TarEntryFormat.Pax, leaveOpen: true);
            tree.WriteTar(tar);
        }
    }

    /// <summary>
    /// Byte code beside the sources, as in Arch's packages; without it the first start of python programs on an emulated
    /// machine takes half a minute longer. By hash, so it does not depend on times, and unchecked: nobody edits these sources.
    /// </summary>
    private static async Task CompilePythonAsync(
        IEnumerable<ArchPackage> packages, string version, string root, CancellationToken cancellation)
    {
        _ = await Tool.RunAsync("mknod", ["-m", "666", Path.Combine(root, "dev/null"), "c", "1", "3"], cancellation);
        _ = await Tool.RunAsync(
            "chroot",
            [root, "/usr/bin/python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", $"/usr/lib/{version}"],
            cancellation);
        foreach (ArchPackage package in packages)
        {
            var sources = package.Files.Entries.Select(e => e.Key).Where(p => p.EndsWith(".py", StringComparison.Ordinal)).ToList();
            foreach (string source in sources)
            {
                string tag = $"c{version.Replace("3.", "-3", StringComparison.Ordinal)}";
                string compiled = $"{Path.GetDirectoryName(source)}/__pycache__/{Path.GetFileNameWithoutExtension(source)}.{tag}.pyc";
                if (File.Exists(Path.Combine(root, compiled)))
                {
                    package.Files.AddFile(compiled, await File.ReadAllBytesAsync(Path.Combine(root, compiled), cancellation));
                }
            }
        }
    }

    /// <summary>
    /// Both repositories: packages, signatures and databases; and below updates/ their databases with a newer kernel and GRUB. Of the
    /// packages only these two are there.
    /// </summary>
    private static async Task WriteRepositoriesAsync(
        IEnumerable<ArchPackage> packages, Signer signer, string key, string staged, CancellationToken cancellation)
    {
        foreach (IGrouping<string, ArchPackage> repository in packages.GroupBy(p => p.Repository))
        {
            string directory = Directory.CreateDirectory(Path.Combine(staged, repository.Key, "os/x86_64")).FullName;
            SortedDictionary<string, string> descriptions = new(StringComparer.Ordinal);
            await Parallel.ForEachAsync(
                repository, new ParallelOptions { MaxDegreeOfParallelism = 2, CancellationToken = cancellation }, async (package, token) =>
            {
                string file = await package.WriteAsync(directory, token);
                string description = await package.DescribeAsync(file, await signer.SignAsync(key, file, token), token);
                lock (descriptions)
                {
                    descriptions.Add($"{package.Name}-{package.Version}", description);
                }
            });
            await WriteDatabaseAsync(repository.Key, descriptions, directory);

            // What an update brings.
            directory = Directory.CreateDirectory(Path.Combine(staged, "updates", repository.Key, "os/x86_64")).FullName;
            foreach (ArchPackage package in repository.Where(p => s_updated.Contains(p.Name)))
            {
                ArchPackage newer = package.Newer();
                string file = await newer.WriteAsync(directory, cancellation);
                _ = descriptions.Remove($"{package.Name}-{package.Version}");
                descriptions.Add(
                    $"{newer.Name}-{newer.Version}",
                    await newer.DescribeAsync(file, await signer.SignAsync(key, file, cancellation), cancellation));
            }

            await WriteDatabaseAsync(repository.Key, descriptions, directory);
        }
    }

    private static async Task WriteDatabaseAsync(string repository, SortedDictionary<string, string> descriptions, string directory)
    {
        string database = repository + ".db.tar.gz";
        await using (GZipStream gzip = new(File.Create(Path.Combine(directory, database)), CompressionLevel.Optimal))
        await using (TarWriter tar = new(gzip))
        {
            foreach ((string name, string description) in descriptions)
            {
                tar.WriteEntry(
                    new PaxTarEntry(TarEntryType.Directory, name + "/")
                    {
                        Mode = (UnixFileMode)0b111_101_101, ModificationTime = DateTimeOffset.UnixEpoch,
                    });
                tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name + "/desc")
                {
                    Mode = (UnixFileMode)0b110_100_100,
                    ModificationTime = DateTimeOffset.UnixEpoch,
                    DataStream = new MemoryStream(Encoding.UTF8.GetBytes(description), writable: false),
                });
            }
        }

        _ = File.CreateSymbolicLink(Path.Combine(directory, repository + ".db"), database);
    }

    /// <summary>The bootstrap root by Arch's recipe (pacman installs into it), as signed and dated tarballs.</summary>
    private static async Task WriteReleasesAsync(string root, string staged, Signer signer, CancellationToken cancellation)
    {
        const string Configuration = "[options]\nArchitecture = x86_64\nSigLevel = Never\n[core]\nServer = "
            + "file:///srv/mirror/$repo/os/$arch\n[extra]\nServer = file:///srv/mirror/$repo/os/$arch\n";
        await File.WriteAllTextAsync(Path.Combine(root, "bootstrap.conf"), Configuration, cancellation);
        string target = Path.Combine(root, "root.x86_64");
        foreach (string directory in (string[])["var/lib/pacman", "dev", "proc"])
        {
            _ = Directory.CreateDirectory(Path.Combine(target, directory));
        }

        // The mounts are in a namespace of the command's own: they end with it, however it ends.
        const string Pacman = """
            set -e
            mount --bind /dev "$1/root.x86_64/dev"
            mount -t proc proc "$1/root.x86_64/proc"
            exec chroot "$1" pacman --root /root.x86_64 --config /bootstrap.conf --noconfirm --noprogressbar -Sy base arch-install-scripts
            """;
        string output = await Tool.RunAsync(
            "unshare", ["--mount", "--propagation", "private", "sh", "-c", Pacman, "sh", root], cancellation);
        if (output.Contains("error:", StringComparison.Ordinal))
        {
            throw new StandInException($"pacman reported an error while it made the bootstrap root:\n{output}");
        }

        foreach (string left in (string[])["var/lib/pacman/sync", "var/cache/pacman/pkg", "var/log", "tmp"])
        {
            string path = Path.Combine(target, left);
            UnixFileMode mode = File.GetUnixFileMode(path);
            Directory.Delete(path, recursive: true);
            _ = Directory.CreateDirectory(path);
            File.SetUnixFileMode(path, mode);
        }

        await File.WriteAllTextAsync(Path.Combine(target, "etc/machine-id"), "", cancellation);
        await File.WriteAllTextAsync(
            Path.Combine(root, "pkglist.x86_64.txt"),
            await Tool.RunAsync("chroot", [root, "pacman", "--root", "/root.x86_64", "--config", "/bootstrap.conf", "-Q"], cancellation),
            cancellation);
        string key = await signer.CreateKeyAsync("ArchAzure stand-in release <release@stand-in.invalid>", cancellation);
        string iso = Path.Combine(staged, "iso");
        string? newest = null;
        foreach (string release in s_releases)
        {
            string directory = Directory.CreateDirectory(Path.Combine(iso, release)).FullName;
            string name = $"archlinux-bootstrap-{release}-x86_64.tar.zst";
            string tarball = Path.Combine(directory, name);
            if (newest is null)
            {
                await File.WriteAllTextAsync(Path.Combine(root, "version"), release + "\n", cancellation);
                const string Pack = "bsdtar -C \"$1\" --numeric-owner -cf - root.x86_64 pkglist.x86_64.txt version | zstd -q -3 --long=27 "
                    + "-T2 -f -o \"$2\"";
                _ = await Tool.RunAsync("bash", ["-o", "pipefail", "-c", Pack, "bash", root, tarball], cancellation);
                newest = tarball;
            }
            else
            {
                _ = await Tool.RunAsync("ln", [newest, tarball], cancellation);
            }

            _ = await signer.SignAsync(key, tarball, cancellation);
            StringBuilder sums = new();
            await using (FileStream stream = File.OpenRead(tarball))
            {
                string sum = Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancellation));
                string image = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(release)));
                sums.Append(
                    CultureInfo.InvariantCulture,
                    $"{image}  archlinux-{release}-x86_64.iso\n{sum}  {name}\n{image}  archlinux-x86_64.iso\n{sum}  "
                    + $"archlinux-bootstrap-x86_64.tar.zst\n");
            }

            await File.WriteAllTextAsync(Path.Combine(directory, "sha256sums.txt"), sums.ToString(), cancellation);
            foreach (string suffix in (string[])["", ".sig"])
            {
                _ = File.CreateSymbolicLink(Path.Combine(directory, "archlinux-bootstrap-x86_64.tar.zst" + suffix), name + suffix);
            }
        }

        _ = Directory.CreateSymbolicLink(Path.Combine(iso, "latest"), s_releases[0]);
        string day = Directory.CreateDirectory(Path.Combine(staged, "archive/repos", Snapshot.Replace('.', '/'))).FullName;
        _ = Directory.CreateSymbolicLink(Path.Combine(staged, "archive/iso"), "../iso");
        foreach (string repository in (string[])["core", "extra"])
        {
            _ = Directory.CreateSymbolicLink(Path.Combine(day, repository), "../../../../../" + repository);
        }

        await signer.ExportAsync(key, Path.Combine(iso, "release-key.asc"), armor: true, cancellation);
    }

    /// <summary>The agent of Debian's package in upstream's layout: a bare repository with one commit, and its archive.</summary>
    private async Task WriteAgentAsync(DebianPackage debian, string source, string staged, CancellationToken cancellation)
    {
        FileTree package = new();
        await debian.AddToAsync(package, FileTree.ToArchPath, cancellation);
        const string Modules = "usr/lib/python3/dist-packages/";
        FileTree tree = new();
        foreach ((string path, TreeEntry entry) in package.Entries.Where(e => e.Value.Kind == EntryKind.File))
        {
            if (path.StartsWith(Modules + "azurelinuxagent/", StringComparison.Ordinal))
            {
                tree.AddFile(path[Modules.Length..], entry.Content);
            }
            else if (path.EndsWith(".rules", StringComparison.Ordinal))
            {
                tree.AddFile("config/" + Path.GetFileName(path), entry.Content);
            }
        }

        foreach ((string path, byte[] content) in _recipe.FilesBelow("waagent"))
        {
            tree.AddFile(
                path,
                content,
                path.StartsWith("bin/", StringComparison.Ordinal) ? (UnixFileMode)0b111_101_101 : (UnixFileMode)0b110_100_100);
        }

        _ = Directory.CreateDirectory(source);
        foreach ((string path, TreeEntry entry) in tree.Entries)
        {
            string file = Path.Combine(source, path);
            if (entry.Kind == EntryKind.Directory)
            {
                _ = Directory.CreateDirectory(file);
            }
            else
            {
                await File.WriteAllBytesAsync(file, entry.Content, cancellation);
                File.SetUnixFileMode(file, entry.Mode);
            }
        }

        // Fixed names and times, and none of the user's settings: the same package gives the same commit id.
        Dictionary<string, string> environment = new(StringComparer.Ordinal)
        {
            ["GIT_AUTHOR_NAME"] = "ArchAzure stand-in",
            ["GIT_AUTHOR_EMAIL"] = "stand-in@invalid",
            ["GIT_AUTHOR_DATE"] = "2026-01-01T00:00:00Z",
            ["GIT_COMMITTER_NAME"] = "ArchAzure stand-in",
            ["GIT_COMMITTER_EMAIL"] = "stand-in@invalid",
            ["GIT_COMMITTER_DATE"] = "2026-01-01T00:00:00Z",
            ["GIT_CONFIG_GLOBAL"] = "/dev/null",
            ["GIT_CONFIG_NOSYSTEM"] = "1",
            ["GIT_TEMPLATE_DIR"] = "",
        };
        foreach (string[] command in (string[][])
            [
                ["init", "--quiet", "--initial-branch=master", source],
                ["-C", source, "add", "--all"],
                ["-C", source, "commit", "--quiet", "-m", $"The agent of Debian's package {debian.Version}"],
                ["clone", "--quiet", "--bare", source, Path.Combine(staged, "waagent.git")],
            ])
        {
            _ = await Tool.RunAsync("git", command, cancellation, environment);
        }

        string repository = Path.Combine(staged, "waagent.git");
        // A fetch by commit id, as from GitHub.
        _ = await Tool.RunAsync("git", ["-C", repository, "config", "uploadpack.allowAnySHA1InWant", "true"], cancellation, environment);
        _ = await Tool.RunAsync("git", ["-C", repository, "remote", "remove", "origin"], cancellation, environment);
        _ = await Tool.RunAsync("git", ["-C", repository, "update-server-info"], cancellation, environment);
        string commit = (await Tool.RunAsync("git", ["-C", repository, "rev-parse", "HEAD"], cancellation, environment)).Trim();
        await File.WriteAllTextAsync(Path.Combine(staged, "waagent.commit"), commit + "\n", cancellation);
        _ = await Tool.RunAsync(
            "git",
            [
                "-C", repository, "archive", "--format=tar.gz", $"--prefix=WALinuxAgent-{commit}/", "-o",
                Path.Combine(staged, "waagent.tar.gz"), commit,
            ],
            cancellation,
            environment);
    }

    private void Stage(string name)
    {
        if (_stageName.Length > 0)
        {
            log.WriteLine($"{_stageName,-18}{_stage.Elapsed.TotalSeconds,6:F1} s");
        }

        _stageName = name;
        _stage.Restart();
    }
}
