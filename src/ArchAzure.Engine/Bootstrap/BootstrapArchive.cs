using System.Buffers;
using System.IO.Compression;
using System.Text;
using System.Text.RegularExpressions;
using ZstdSharp;
using ZstdSharp.Unsafe;

namespace ArchAzure.Bootstrap;

/// <summary>How much an archive may hold before it is taken for an attack. Arch's has some 30,000 entries and 600 MiB.</summary>
internal sealed record ArchiveLimits
{
    /// <summary>Most entries and headers of entries.</summary>
    public int MaxEntries { get; init; } = 1_000_000;

    /// <summary>Most bytes of all files together, with their headers.</summary>
    public long MaxTotalBytes { get; init; } = 32L << 30;

    /// <summary>Most characters of all names together, folders that are only a part of a name included: they are kept in memory.</summary>
    public long MaxNameCharacters { get; init; } = 64 << 20;

    /// <summary>Longest name or link target in bytes (Linux's PATH_MAX).</summary>
    public int MaxPathBytes { get; init; } = 4096;

    /// <summary>Longest part of a name between slashes in bytes (Linux's NAME_MAX).</summary>
    public int MaxNameBytes { get; init; } = 255;
}

/// <summary>What was found in a bootstrap archive.</summary>
/// <param name="Version">The release by the archive's own <c>version</c> file, <c>YYYY.MM.DD</c>; null in old releases, which have
/// none.</param>
/// <param name="Entries">Entries written.</param>
/// <param name="Bytes">Bytes of all files written.</param>
internal sealed record BootstrapSummary(string? Version, long Entries, long Bytes);

/// <summary>
/// Turns a release's <c>.tar.zst</c> or <c>.tar.gz</c> into the plain tar of its root file system, as a Docker engine imports it: what
/// is below
/// <c>root.ARCH/</c> without that prefix (hard link targets too), and nothing else. It streams: memory holds one buffer, the decoder's
/// window and
/// the names seen.
/// </summary>
/// <remarks>
/// The tar format is read and written by this class and not by System.Formats.Tar, which hands extended attributes out as strings: a file
/// capability such as newuidmap's is binary and would be damaged (0x80 becomes U+FFFD; with a line feed the archive is refused; seen in
/// .NET 10). Format: POSIX.1-2017,
/// pax, "ustar Interchange Format" and "pax Header Block"; GNU's long names (types L and K) are understood, sparse files are not.
/// </remarks>
internal static partial class BootstrapArchive
{
    /// <summary>Rewrites an archive.</summary>
    /// <param name="compressed">The archive; need not be seekable. Left open.</param>
    /// <param name="fileName">Its name: the ending tells the compression, the name stands in errors.</param>
    /// <param name="output">Where the plain tar goes; need not be seekable. Left open.</param>
    /// <param name="architecture">The ARCH in <c>root.ARCH/</c>.</param>
    /// <param name="limits">Limits; null for the default.</param>
    /// <param name="cancellationToken">Ends the work; the output is then incomplete.</param>
    /// <exception cref="ArchAzureException"><c>UnsupportedArchive</c> (another ending), <c>CorruptArchive</c> (cut short, altered, not
    /// a tar),
    /// <c>HostileArchive</c> (names the entry), <c>NotABootstrapArchive</c> (nothing below <c>root.ARCH/</c>). What the output stream
    /// throws passes
    /// through.</exception>
    public static async Task<BootstrapSummary> RewriteAsync(
        Stream compressed, string fileName, Stream output, string architecture, ArchiveLimits? limits, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(compressed);
        ArgumentNullException.ThrowIfNull(fileName);
        ArgumentNullException.ThrowIfNull(output);
        ArgumentException.ThrowIfNullOrEmpty(architecture);
        await using var plain = Decompressor(compressed, fileName);
        var source = new TarSource(plain, fileName);
        return await new Rewriter(source, fileName, output, architecture, limits ?? new ArchiveLimits()).RunAsync(cancellationToken);
    }

    private static Stream Decompressor(Stream compressed, string fileName)
    {
        if (fileName.EndsWith(".tar.zst", StringComparison.OrdinalIgnoreCase))
        {
            var zstd = new DecompressionStream(compressed, leaveOpen: true);
            // Releases are made with --long, past the 128 MiB (27) a decoder takes by itself; 31 is the format's highest.
            zstd.SetParameter(ZSTD_dParameter.ZSTD_d_windowLogMax, 31);
            return zstd;
        }

        if (fileName.EndsWith(".tar.gz", StringComparison.OrdinalIgnoreCase)
            || fileName.EndsWith(".tgz", StringComparison.OrdinalIgnoreCase))
        {
            return new GZipStream(compressed, CompressionMode.Decompress, leaveOpen: true);
        }

        throw new ArchAzureException("UnsupportedArchive", ErrorKind.InvalidInput,
            $"'{WebText.Plain(fileName)}' is not a bootstrap archive by its name. Give a file that ends in .tar.zst or .tar.gz.", fileName);
    }

    [GeneratedRegex(@"^[0-9]{4}\.[0-9]{2}\.[0-9]{2}\z", RegexOptions.CultureInvariant)]
    private static partial Regex Date();

    /// <summary>One run.</summary>
    private sealed class Rewriter(TarSource source, string fileName, Stream output, string architecture, ArchiveLimits limits)
    {
        private const int MaximumHeaderBytes = 1 << 20;
        private const int MaximumVersionBytes = 64;

        private readonly string _root = $"root.{architecture}";
        private readonly Dictionary<string, char> _seen = new(StringComparer.Ordinal);
        private readonly byte[] _buffer = new byte[128 * 1024];
        private readonly Dictionary<string, byte[]> _global = new(StringComparer.Ordinal);
        private string? _version;
        private long _written;
        private long _bytes;
        private long _total;
        private long _nameCharacters;
        private long _globalBytes;
        private long _headerBytes;
        private int _entries;

        public async Task<BootstrapSummary> RunAsync(CancellationToken cancellationToken)
        {
            var local = new Dictionary<string, byte[]>(StringComparer.Ordinal);
            byte[]? longName = null;
            byte[]? longLink = null;
            while (await source.ReadHeaderAsync(cancellationToken) is { } header)
            {
                switch (header.Type)
                {
                    case 'x':
                        TarRecords.Parse(await MetadataAsync(header, cancellationToken), local, source);
                        continue;
                    case 'g':
                        TarRecords.Parse(await MetadataAsync(header, cancellationToken), _global, source);
                        if (_global.Keys.FirstOrDefault(k => k is "path" or "linkpath" or "size") is { } bad)
                        {
                            throw Hostile(header.Name, $"a global header sets '{bad}' for all entries");
                        }

                        continue;
                    case 'L':
                        longName = TarHeader.UntilNul(await MetadataAsync(header, cancellationToken));
                        continue;
                    case 'K':
                        longLink = TarHeader.UntilNul(await MetadataAsync(header, cancellationToken));
                        continue;
                }

                await EntryAsync(Complete(header, longName, longLink, local), cancellationToken);
                local = new(StringComparer.Ordinal);
                longName = longLink = null;
                _headerBytes = 0;
            }

            if (local.Count > 0 || longName is not null || longLink is not null)
            {
                throw source.Corrupt("it ends in a header that no entry follows");
            }

            if (_written == 0)
            {
                throw new ArchAzureException("NotABootstrapArchive", ErrorKind.InvalidData,
                    $"'{WebText.Plain(fileName)}' has nothing below {_root}/, as an Arch Linux bootstrap archive for {architecture} has. "
                    + "Give the archlinux-bootstrap file of a release.", fileName);
            }

            await output.WriteAsync(new byte[2 * TarHeader.BlockSize], cancellationToken);
            await output.FlushAsync(cancellationToken);
            return new BootstrapSummary(_version, _written, _bytes);
        }

        private async Task<byte[]> MetadataAsync(TarHeader header, CancellationToken cancellationToken)
        {
            CountEntry(header);

            // Several in a row add up, and global ones stay.
            var before = header.Type == 'g' ? _globalBytes : _headerBytes;
            if (header.Size < 0 || header.Size > MaximumHeaderBytes - before)
            {
                throw Hostile(header.Name, $"a header of {header.Size} bytes after {before}; {MaximumHeaderBytes} is the limit");
            }

            if (header.Type == 'g')
            {
                _globalBytes += header.Size;
            }
            else
            {
                _headerBytes += header.Size;
            }

            var data = new byte[header.Size];
            await source.ReadDataAsync(data, cancellationToken);
            await source.SkipPaddingAsync(header.Size, cancellationToken);
            return data;
        }

        private TarHeader Complete(TarHeader header, byte[]? longName, byte[]? longLink, Dictionary<string, byte[]> local)
        {
            var records = new Dictionary<string, byte[]>(_global, StringComparer.Ordinal);
            foreach (var (key, value) in local)
            {
                // POSIX: an empty value takes back what a global header said.
                if (value.Length == 0 && !key.StartsWith("SCHILY.xattr.", StringComparison.Ordinal))
                {
                    records.Remove(key);
                }
                else
                {
                    records[key] = value;
                }
            }

            header.Name = Take("path") ?? longName ?? header.Name;
            header.LinkName = Take("linkpath") ?? longLink ?? header.LinkName;
            header.Size = TakeNumber("size") ?? header.Size;
            header.UserId = TakeNumber("uid") ?? header.UserId;
            header.GroupId = TakeNumber("gid") ?? header.GroupId;
            // Owners go by number: the names are those of the machine that made the archive.
            records.Remove("uname");
            records.Remove("gname");
            records.Remove("comment");
            header.Records = records;
            if (records.Keys.FirstOrDefault(k => k.StartsWith("GNU.sparse.", StringComparison.Ordinal)
                || k.StartsWith("SCHILY.xattr.trusted.", StringComparison.Ordinal) || k == "SCHILY.realsize") is { } bad)
            {
                // trusted.overlay.* would steer the engine's own overlay file system.
                throw Hostile(header.Name, $"it carries '{WebText.Plain(bad)}', which no Arch release has");
            }

            return header;

            byte[]? Take(string key) => records.Remove(key, out var value) ? value : null;

            long? TakeNumber(string key) => Take(key) is not { } value ? null
                : long.TryParse(Encoding.ASCII.GetString(value), System.Globalization.NumberStyles.None, null, out var number) ? number
                : throw source.Corrupt($"the {key} of '{TarHeader.Show(header.Name)}' is not a number");
        }

        private async Task EntryAsync(TarHeader header, CancellationToken cancellationToken)
        {
            CountEntry(header);
            var type = header.Type is '\0' or '7' ? '0' : header.Type;
            // Version 7 of Unix had no type for folders: a slash at the end said so.
            if (type == '0' && header.Name.AsSpan().EndsWith("/"u8))
            {
                type = '5';
            }

            var path = CheckedPath(header.Name, header.Name, "its name");
            Check(header, type, path);
            if (path != _root && !path.StartsWith(_root + "/", StringComparison.Ordinal))
            {
                await OutsideAsync(header, type, path, cancellationToken);
                return;
            }

            if (path == _root && type != '5')
            {
                throw Hostile(header.Name, "the root is not a folder");
            }

            Register(header, type, path);
            header.Type = type;
            header.Name = Encoding.UTF8.GetBytes(path == _root ? "./" : path[(_root.Length + 1)..] + (type == '5' ? "/" : ""));
            header.LinkName = type switch
            {
                '1' => Encoding.UTF8.GetBytes(HardLinkTarget(header, path)[(_root.Length + 1)..]),
                '2' => header.LinkName,
                _ => [],
            };
            var blocks = TarHeader.Encode(header);
            _total += blocks.Length;
            await output.WriteAsync(blocks, cancellationToken);
            await CopyAsync(header.Size, cancellationToken);
            _written++;
            _bytes += header.Size;
        }

        private void CountEntry(TarHeader header)
        {
            if (++_entries > limits.MaxEntries)
            {
                throw Hostile(header.Name, $"it is entry {_entries}; {limits.MaxEntries} is the limit");
            }
        }

        private void Check(TarHeader header, char type, string path)
        {
            switch (type)
            {
                case '0' or '5':
                    break;
                case '1':
                    break;
                case '2':
                    // Where it leads does not matter: nothing is ever written through it (see Register), and in the image / is the image's.
                    if (header.LinkName.Length == 0 || header.LinkName.Length > limits.MaxPathBytes || !IsClean(header.LinkName))
                    {
                        throw Hostile(header.Name, "the target of the symbolic link is empty, too long or holds control characters");
                    }

                    break;
                case '3' or '4':
                    throw Hostile(header.Name, "it is a device node");
                case '6':
                    throw Hostile(header.Name, "it is a named pipe");
                default:
                    throw Hostile(header.Name, $"it is of the unknown type '{(char.IsAsciiLetterOrDigit(type) ? type : '?')}'");
            }

            if (header.Size < 0 || (type != '0' && header.Size != 0))
            {
                throw Hostile(header.Name, "it carries data although it is not a file, or less than none");
            }

            if (header.Size > limits.MaxTotalBytes - _total)
            {
                throw Hostile(header.Name, $"with it the files have more than {WebText.Size(limits.MaxTotalBytes)}");
            }

            _total += header.Size;
            if (header.UserId is < 0 or >= uint.MaxValue || header.GroupId is < 0 or >= uint.MaxValue)
            {
                throw Hostile(header.Name, "its owner is not a number of Linux");
            }

            if (path.Split('/').Any(p => p.StartsWith(".wh.", StringComparison.Ordinal)))
            {
                throw Hostile(header.Name, "a Docker engine reads names that begin with .wh. as deletions");
            }
        }

        // Each name once, never below a file or a link. A folder may come again (tar -r does it).
        private void Register(TarHeader header, char type, string path)
        {
            // From the innermost folder out: above a folder that is known all are.
            for (var slash = path.LastIndexOf('/'); slash > 0; slash = path.LastIndexOf('/', slash - 1))
            {
                var parent = path[..slash];
                if (TryAdd(header, parent, '5'))
                {
                    continue;
                }

                if (_seen[parent] != '5')
                {
                    throw Hostile(
                        header.Name,
                        _seen[parent] == '2'
                            ? $"it leads through the symbolic link '{parent}'"
                            : $"it is below '{parent}', which is a file");
                }

                break;
            }

            var kind = type == '1' ? _seen[HardLinkTarget(header, path)] : type;
            if (!TryAdd(header, path, kind) && (kind != '5' || _seen[path] != '5'))
            {
                throw Hostile(header.Name, "the name is there twice");
            }
        }

        private bool TryAdd(TarHeader header, string path, char kind)
        {
            if (!_seen.TryAdd(path, kind))
            {
                return false;
            }

            _nameCharacters += path.Length;
            return _nameCharacters <= limits.MaxNameCharacters ? true
                : throw Hostile(header.Name, $"with it the names have more than {limits.MaxNameCharacters} characters");
        }

        private string HardLinkTarget(TarHeader header, string path)
        {
            var target = CheckedPath(header.LinkName, header.Name, "the target of the hard link");
            if (!target.StartsWith(_root + "/", StringComparison.Ordinal))
            {
                throw Hostile(header.Name, $"it is a hard link to '{WebText.Plain(target)}', outside {_root}/");
            }

            if (target == path || !_seen.TryGetValue(target, out var kind) || kind == '5')
            {
                throw Hostile(header.Name, $"it is a hard link to '{WebText.Plain(target)}', which is not a file that came before it");
            }

            return target;
        }

        private async Task OutsideAsync(TarHeader header, char type, string path, CancellationToken cancellationToken)
        {
            if (type == '0' && path == "version" && header.Size <= MaximumVersionBytes)
            {
                var text = new byte[header.Size];
                await source.ReadDataAsync(text, cancellationToken);
                await source.SkipPaddingAsync(header.Size, cancellationToken);
                var version = Encoding.UTF8.GetString(text).Trim();
                _version = Date().IsMatch(version) ? version : null;
                return;
            }

            var left = header.Size;
            while (left > 0)
            {
                var part = _buffer.AsMemory(0, (int)Math.Min(left, _buffer.Length));
                await source.ReadDataAsync(part, cancellationToken);
                left -= part.Length;
            }

            await source.SkipPaddingAsync(header.Size, cancellationToken);
        }

        private async Task CopyAsync(long size, CancellationToken cancellationToken)
        {
            var left = size;
            while (left > 0)
            {
                var part = _buffer.AsMemory(0, (int)Math.Min(left, _buffer.Length));
                await source.ReadDataAsync(part, cancellationToken);
                await output.WriteAsync(part, cancellationToken);
                left -= part.Length;
            }

            await source.SkipPaddingAsync(size, cancellationToken);
            await output.WriteAsync(TarHeader.Padding(size), cancellationToken);
        }

        // The name without "./" before and "/" behind. Everything else unusual is refused rather than understood.
        private string CheckedPath(byte[] raw, byte[] entry, string what)
        {
            if (raw.Length == 0 || raw.Length > limits.MaxPathBytes)
            {
                throw Hostile(entry, $"{what} is empty or longer than {limits.MaxPathBytes} bytes");
            }

            if (!IsClean(raw))
            {
                throw Hostile(entry, $"{what} holds control characters, or is not UTF-8");
            }

            var path = Encoding.UTF8.GetString(raw);
            if (path.StartsWith('/'))
            {
                throw Hostile(entry, $"{what} is absolute");
            }

            path = path.StartsWith("./", StringComparison.Ordinal) ? path[2..] : path;
            path = path.EndsWith('/') ? path[..^1] : path;
            foreach (var part in path.Split('/'))
            {
                // "./" itself, the folder everything was packed from, is the one entry that may be empty.
                if (part is ".." or "." || (part.Length == 0 && path.Length > 0) || Encoding.UTF8.GetByteCount(part) > limits.MaxNameBytes)
                {
                    throw Hostile(entry, $"{what} has a part that is '..', '.', empty or longer than {limits.MaxNameBytes} bytes");
                }
            }

            return path;
        }

        private static bool IsClean(byte[] text)
        {
            var rest = text.AsSpan();
            while (rest.Length > 0)
            {
                if (Rune.DecodeFromUtf8(rest, out var rune, out var length) != OperationStatus.Done || Rune.IsControl(rune))
                {
                    return false;
                }

                rest = rest[length..];
            }

            return true;
        }

        private ArchAzureException Hostile(byte[] name, string reason) => new("HostileArchive", ErrorKind.InvalidData,
            $"'{WebText.Plain(fileName)}' was refused at the entry '{TarHeader.Show(name)}': {reason}. "
            + "No Arch Linux release looks like that: delete the file and take the release from another server.", TarHeader.Show(name));
    }
}
