using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using ArchAzure.Settings;

namespace ArchAzure.Target;

/// <summary>
/// A named set of files, packages, services and a script that goes into the target; a folder of the shape module/layers/README.md
/// tells.
/// </summary>
internal sealed partial class Layer
{
    /// <summary>Files below these folders are laid before the packages, so that the initramfs is made once and right.</summary>
    private static readonly string[] s_earlyFolders = ["etc/mkinitcpio.conf.d/", "etc/modprobe.d/"];

    private const UnixFileMode PlainMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
    private const UnixFileMode ExecutableMode =
        PlainMode | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    /// <summary>The folders whose content goes into the target: as it is, and with values put in.</summary>
    private const string FilesFolder = "files";
    private const string TemplatesFolder = "templates";

    private Layer(string path, IReadOnlyList<string> packages, IReadOnlyList<string> enabled, IReadOnlyList<string> disabled)
    {
        FolderPath = path;
        Packages = packages;
        EnabledServices = enabled;
        DisabledServices = disabled;
    }

    /// <summary>The folder's name.</summary>
    public string Name => Path.GetFileName(FolderPath);

    public string FolderPath { get; }

    /// <summary>Packages to install.</summary>
    public IReadOnlyList<string> Packages { get; }

    /// <summary>Units to enable.</summary>
    public IReadOnlyList<string> EnabledServices { get; }

    /// <summary>Units to disable.</summary>
    public IReadOnlyList<string> DisabledServices { get; }

    /// <summary>The script to run in the target, or null.</summary>
    public string? ConfigureScript => File.Exists(Path.Combine(FolderPath, "configure")) ? Path.Combine(FolderPath, "configure") : null;

    /// <summary>Reads a layer's folder.</summary>
    /// <exception cref="ArchAzureException"><c>LayerNotFound</c> or <c>LayerInvalid</c>.</exception>
    public static Layer Load(string path)
    {
        path = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        if (!Directory.Exists(path))
        {
            throw new ArchAzureException(
                "LayerNotFound",
                ErrorKind.NotFound,
                $"There is no layer folder '{path}'. Name an existing folder with files/, templates/, packages, services or configure in "
                + "it.",
                path);
        }

        if (!new[] { FilesFolder, TemplatesFolder }.Any(name => Directory.Exists(Path.Combine(path, name)))
            && !new[] { "packages", "services", "configure" }.Any(name => File.Exists(Path.Combine(path, name))))
        {
            throw Invalid(path, "it holds none of files/, templates/, packages, services and configure");
        }

        var packages = ReadList(path, "packages");
        if (packages.FirstOrDefault(name => !SettingRules.IsPackageName(name)) is { } badPackage)
        {
            throw Invalid(path, $"'{badPackage}' in its file 'packages' is no package name");
        }

        var services = ReadList(path, "services");
        if (services.FirstOrDefault(name => !IsUnitName(name[0] == '-' ? name[1..] : name)) is { } badUnit)
        {
            throw Invalid(path, $"'{badUnit}' in its file 'services' is no systemd unit (such as sshd.service)");
        }

        return new Layer(
            path,
            packages,
            [.. services.Where(name => name[0] != '-')],
            [.. services.Where(name => name[0] == '-').Select(name => name[1..])]);
    }

    /// <summary>A hash over everything in the layer: names, contents, modes.</summary>
    public string Fingerprint()
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var list in new[] { Packages, EnabledServices, DisabledServices })
        {
            hash.AppendData(Encoding.UTF8.GetBytes(string.Join('\n', list) + '\0'));
        }

        if (ConfigureScript is { } script)
        {
            hash.AppendData(SHA256.HashData(File.ReadAllBytes(script)));
        }

        foreach (var (name, info, isTemplate) in Entries())
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{name}\0{info.LinkTarget}\0{isTemplate}\0"));
            if (info is FileInfo { LinkTarget: null } file)
            {
                var content = File.ReadAllBytes(file.FullName);
                hash.AppendData([(byte)((int)Mode(name, file, content) & 0x7F)]);
                hash.AppendData(SHA256.HashData(content));
            }
        }

        return Convert.ToHexString(hash.GetHashAndReset()).ToLowerInvariant();
    }

    /// <summary>Writes the layer's files and templates as a tar archive, all owned by root.</summary>
    /// <param name="output">Where to.</param>
    /// <param name="early">The early files only, or all but these.</param>
    /// <param name="values">What the names in templates stand for.</param>
    /// <param name="cancellationToken">Stops the writing.</param>
    /// <exception cref="ArchAzureException"><c>LayerInvalid</c>: a template has a name that stands for nothing.</exception>
    public async Task WriteFilesAsync(
        Stream output, bool early, IReadOnlyDictionary<string, string> values, CancellationToken cancellationToken)
    {
        await using var tar = new TarWriter(output, TarEntryFormat.Pax, leaveOpen: true);
        foreach (var (name, info, isTemplate) in Entries(early))
        {
            if (info.LinkTarget is { } link)
            {
                await tar.WriteEntryAsync(
                    new PaxTarEntry(TarEntryType.SymbolicLink, name) { LinkName = WithSlashes(link) }, cancellationToken);
            }
            else if (info is DirectoryInfo)
            {
                await tar.WriteEntryAsync(new PaxTarEntry(TarEntryType.Directory, name) { Mode = ExecutableMode }, cancellationToken);
            }
            else
            {
                var content = isTemplate
                    ? await FilledAsync(info.FullName, values, cancellationToken)
                    : await File.ReadAllBytesAsync(info.FullName, cancellationToken);
                using var data = new MemoryStream(content, writable: false);
                await tar.WriteEntryAsync(
                    new PaxTarEntry(TarEntryType.RegularFile, name) { Mode = Mode(name, info, content), DataStream = data },
                    cancellationToken);
            }
        }
    }

    /// <summary>Whether there are files or templates to lay: the early ones, or others.</summary>
    public bool HasFiles(bool early) => Entries(early).Any();

    private IEnumerable<(string Name, FileSystemInfo Info, bool IsTemplate)> Entries(bool early) =>
        Entries().Where(entry => s_earlyFolders.Any(folder => entry.Name.StartsWith(folder, StringComparison.Ordinal)) == early);

    private IEnumerable<(string Name, FileSystemInfo Info, bool IsTemplate)> Entries()
    {
        return new[] { FilesFolder, TemplatesFolder }
            .Select(name => new DirectoryInfo(Path.Combine(FolderPath, name)))
            .Where(top => top.Exists)
            .SelectMany(top => Walk(top, top))
            .OrderBy(entry => entry.Name, StringComparer.Ordinal);

        static IEnumerable<(string Name, FileSystemInfo Info, bool IsTemplate)> Walk(DirectoryInfo top, DirectoryInfo folder)
        {
            foreach (var info in folder.EnumerateFileSystemInfos())
            {
                yield return (WithSlashes(Path.GetRelativePath(top.FullName, info.FullName)), info, top.Name == TemplatesFolder);
                if (info is DirectoryInfo { LinkTarget: null } child)
                {
                    foreach (var entry in Walk(top, child))
                    {
                        yield return entry;
                    }
                }
            }
        }
    }

    private async Task<byte[]> FilledAsync(string path, IReadOnlyDictionary<string, string> values, CancellationToken cancellationToken) =>
        Encoding.UTF8.GetBytes(TemplateName().Replace(
            await File.ReadAllTextAsync(path, cancellationToken),
            match =>
                values.TryGetValue(match.Groups[1].Value, out var value)
                    ? value
                    : throw Invalid(FolderPath, $"there is no value for '{match.Value}' in its template '{path}'")));

    [GeneratedRegex(@"\$\{(ARCHAZURE_[A-Z_]+)\}", RegexOptions.None, 1000)]
    private static partial Regex TemplateName();

    private static UnixFileMode Mode(string name, FileSystemInfo info, ReadOnlySpan<byte> content)
    {
        // sudo refuses files others may write, and its documentation wants them unreadable too.
        if (name.StartsWith("etc/sudoers.d/", StringComparison.Ordinal))
        {
            return UnixFileMode.UserRead | UnixFileMode.GroupRead;
        }

        // A checkout on Windows has no execute bits: a script is known by its first line.
        var executable = content.StartsWith("#!"u8)
            || (!OperatingSystem.IsWindows() && info.UnixFileMode.HasFlag(UnixFileMode.UserExecute));
        return executable ? ExecutableMode : PlainMode;
    }

    // On Linux a backslash is a part of the name, as in units such as mnt-my\x2ddata.mount.
    private static string WithSlashes(string path) => path.Replace(Path.DirectorySeparatorChar, '/');

    private static List<string> ReadList(string folder, string name)
    {
        var path = Path.Combine(folder, name);
        return File.Exists(path)
            ? [.. File.ReadLines(path).Select(line => line.Split('#')[0].Trim()).Where(line => line.Length > 0)]
            : [];
    }

    // No hyphen before it: systemctl would take the name as an option.
    private static bool IsUnitName(string name) =>
        name.Contains('.', StringComparison.Ordinal)
            && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_' or '@' or ':' or '\\')
            && name[0] != '-';

    private static ArchAzureException Invalid(string path, string reason) =>
        new(
            "LayerInvalid",
            ErrorKind.InvalidInput,
            $"The layer '{path}' cannot be used: {reason}. See module/layers/README.md for a layer's shape.",
            path);
}
