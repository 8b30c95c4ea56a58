using System.Diagnostics.CodeAnalysis;
using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;

namespace ArchAzure.StandIn;

/// <summary>An Arch package: what its <c>.PKGINFO</c> says, and its files.</summary>
internal sealed class ArchPackage(string repository, string name, string version, string description)
{
    private const string Packager = "ArchAzure stand-in <stand-in@invalid>";

    public string Repository { get; } = repository;

    public string Name { get; } = name;

    public string Version { get; } = version;

    public string Description { get; } = description;

    public FileTree Files { get; } = new();

    public SortedSet<string> Depends { get; } = new(StringComparer.Ordinal);

    public List<string> Provides { get; } = [];

    public List<string> Conflicts { get; } = [];

    public List<string> Backup { get; } = [];

    public string FileName => $"{Name}-{Version}-x86_64.pkg.tar.zst";

    /// <summary>Seconds since 1970; the youngest file of the package, so that the same Debian packages give the same package.</summary>
    private long BuildDate => Math.Max(1, Files.Entries.Select(e => e.Value.Time.ToUnixTimeSeconds()).DefaultIfEmpty(1).Max());

    private long InstalledSize => Files.Size;

    /// <summary>The same package as its next release.</summary>
    public ArchPackage Newer()
    {
        int dash = Version.LastIndexOf('-') + 1;
        int release = int.Parse(Version.AsSpan(dash), NumberStyles.None, CultureInfo.InvariantCulture);
        ArchPackage newer = new(Repository, Name, $"{Version[..dash]}{release + 1}", Description);
        foreach ((string path, TreeEntry entry) in Files.Entries)
        {
            newer.Files.Add(path, entry);
        }

        newer.Depends.UnionWith(Depends);
        newer.Provides.AddRange(Provides);
        newer.Conflicts.AddRange(Conflicts);
        newer.Backup.AddRange(Backup);
        return newer;
    }

    /// <summary>Writes <c>NAME-VERSION-x86_64.pkg.tar.zst</c> into a directory and returns its path.</summary>
    public async Task<string> WriteAsync(string directory, CancellationToken cancellation)
    {
        string path = Path.Combine(directory, FileName);
        await Tool.PipeAsync("zstd", ["-q", "-4", "-f", "-o", path], Write, read: null, cancellation);
        return path;

        void Write(Stream stream)
        {
            using TarWriter tar = new(stream, TarEntryFormat.Pax, leaveOpen: true);
            WriteMeta(tar, ".PKGINFO", Encoding.UTF8.GetBytes(PackageInfo()));
            WriteMeta(tar, ".MTREE", Mtree());
            if (Files.Find(".INSTALL") is { } scriptlet)
            {
                WriteMeta(tar, ".INSTALL", scriptlet.Content);
            }

            FileTree rest = new();
            foreach ((string name, TreeEntry entry) in Files.Entries.Where(e => e.Key != ".INSTALL"))
            {
                rest.Add(name, entry);
            }

            rest.WriteTar(tar);
        }
    }

    /// <summary>The package's <c>desc</c> in a repository's database (repo-add needs half a minute for this many).</summary>
    public async Task<string> DescribeAsync(string packagePath, byte[] signature, CancellationToken cancellation)
    {
        await using FileStream stream = File.OpenRead(packagePath);
        string sha256 = Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancellation));
        StringBuilder desc = new();
        Field("FILENAME", [FileName]);
        Field("NAME", [Name]);
        Field("BASE", [Name]);
        Field("VERSION", [Version]);
        Field("DESC", [Description]);
        Field("CSIZE", [new FileInfo(packagePath).Length.ToString(CultureInfo.InvariantCulture)]);
        Field("ISIZE", [InstalledSize.ToString(CultureInfo.InvariantCulture)]);
        Field("SHA256SUM", [sha256]);
        Field("PGPSIG", [Convert.ToBase64String(signature)]);
        Field("URL", ["https://archlinux.org/"]);
        Field("LICENSE", ["custom"]);
        Field("ARCH", ["x86_64"]);
        Field("BUILDDATE", [BuildDate.ToString(CultureInfo.InvariantCulture)]);
        Field("PACKAGER", [Packager]);
        Field("CONFLICTS", Conflicts);
        Field("PROVIDES", Provides);
        Field("DEPENDS", Depends);
        return desc.ToString();

        void Field(string name, IReadOnlyCollection<string> values)
        {
            if (values.Count > 0)
            {
                desc.Append(CultureInfo.InvariantCulture, $"%{name}%\n{string.Join('\n', values)}\n\n");
            }
        }
    }

    private static void WriteMeta(TarWriter tar, string name, byte[] content) =>
        tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, name)
        {
            Mode = (UnixFileMode)0b110_100_100,
            ModificationTime = DateTimeOffset.UnixEpoch,
            DataStream = new MemoryStream(content, writable: false),
        });

    private string PackageInfo()
    {
        StringBuilder info = new();
        Line("pkgname", Name);
        Line("pkgbase", Name);
        Line("xdata", "pkgtype=pkg");
        Line("pkgver", Version);
        Line("pkgdesc", Description);
        Line("url", "https://archlinux.org/");
        Line("builddate", BuildDate.ToString(CultureInfo.InvariantCulture));
        Line("packager", Packager);
        Line("size", InstalledSize.ToString(CultureInfo.InvariantCulture));
        Line("arch", "x86_64");
        Line("license", "custom");
        Conflicts.ForEach(c => Line("conflict", c));
        Provides.ForEach(p => Line("provides", p));
        Backup.ForEach(b => Line("backup", b));
        foreach (string depend in Depends)
        {
            Line("depend", depend);
        }

        return info.ToString();

        void Line(string key, string value) => info.Append(CultureInfo.InvariantCulture, $"{key} = {value}\n");
    }

    [SuppressMessage("Security", "CA5351", Justification = "pacman 6 checks files against the MD5 digest of .MTREE; nothing rests on it "
        + "here.")]
    private byte[] Mtree()
    {
        StringBuilder mtree = new("#mtree\n");
        foreach ((string path, TreeEntry entry) in Files.Entries)
        {
            mtree.Append("./");
            foreach (byte b in Encoding.UTF8.GetBytes(path))
            {
                // mtree(5): what is not plain is a backslash and three octal digits.
                _ = b is > 0x20 and < 0x7f
                    and not (byte)'\\' and not (byte)'#' and not (byte)'=' and not (byte)'*' and not (byte)'?' and not (byte)'['
                    ? mtree.Append((char)b)
                    : mtree.Append('\\').Append(Convert.ToString(b, 8).PadLeft(3, '0'));
            }

            string mode = Convert.ToString((int)entry.Mode, 8);
            mtree.Append(
                CultureInfo.InvariantCulture, $" time={entry.Time.ToUnixTimeSeconds()}.0 mode={mode} uid={entry.Uid} gid={entry.Gid}");
            mtree.Append(entry.Kind switch
            {
                EntryKind.Directory => " type=dir",
                EntryKind.SymbolicLink => $" type=link link={entry.Target.Replace(" ", "\\040", StringComparison.Ordinal)}",
                _ =>
                    $" type=file size={entry.Content.Length} md5digest={Convert.ToHexStringLower(MD5.HashData(entry.Content))} "
                    + $"sha256digest={Convert.ToHexStringLower(SHA256.HashData(entry.Content))}",
            }).Append('\n');
        }

        using MemoryStream compressed = new();
        using (GZipStream gzip = new(compressed, CompressionLevel.Fastest))
        {
            gzip.Write(Encoding.UTF8.GetBytes(mtree.ToString()));
        }

        return compressed.ToArray();
    }
}
