using System.Globalization;
using System.IO.Compression;
using System.Text;
using ZstdSharp;

namespace ArchAzure.FileSystems;

/// <summary>
/// What an initramfs unpacks to: cpio archives (newc) one after the other, uncompressed ones (microcode, modules) first, the last one
/// compressed with zstd or gzip, or not at all. Of the files' contents it keeps what its users read: the beginnings, and the lists of
/// modules.
/// </summary>
/// <param name="budget">Pays for what is unpacked and kept.</param>
/// <remarks>Source: Linux kernel documentation, driver-api/early-userspace/buffer-format; init/initramfs.c.</remarks>
internal sealed class Initramfs(ReadBudget budget) : FileSystemView(budget)
{
    /// <summary>The most bytes of a list of modules; modules.dep has some 1 MiB.</summary>
    public const int MaximumListLength = 8 << 20;

    private const int HeaderLength = 110;
    private const int MaximumNameLength = 4096;

    // As much as the kernel looks at to tell how to start a program (BINPRM_BUF_SIZE).
    private const int BeginningLength = 256;

    // What a file takes besides its name and what is kept of it.
    private const int BytesOfNode = 300;

    private readonly Node _root = new() { Type = FileType.Directory, Mode = 0x1ED, Size = 0, Number = 0 };
    private int _entries;

    /// <inheritdoc/>
    public override FileSystemIdentity Identity { get; } = new(FileSystemKind.Unknown, "initramfs");

    /// <inheritdoc/>
    protected internal override FileNode Root => _root;

    /// <summary>Unpacks one file over what is there, as the kernel does with all that the boot loader hands over.</summary>
    /// <param name="stream">The file, positioned at its start.</param>
    /// <exception cref="ArchAzureException"><c>ImageDamaged</c>, <c>CheckLimitReached</c> or, for another compression,
    /// <c>ImageNotReadable</c>.</exception>
    public void Add(Stream stream)
    {
        // What comes from the disk is paid for there.
        var reader = new Reader(stream, budget: null);
        Span<byte> magic = stackalloc byte[6];
        while (reader.Peek(magic) is var count and > 0)
        {
            if (IsCpio(magic[..count]))
            {
                AddArchive(reader);
                continue;
            }

            if (magic[0] == 0)
            {
                reader.SkipZeros();
                continue;
            }

            // What is compressed comes last: where it ends within the file, only its decoder knows.
            using var unpacked = Decoder(reader.AsStream(), magic[..count]);
            AddCompressed(new Reader(unpacked, Budget));
            break;
        }
    }

    /// <inheritdoc/>
    protected internal override FileNode? Lookup(FileNode directory, string name) => ((Node)directory).Names.GetValueOrDefault(name);

    /// <inheritdoc/>
    protected internal override IEnumerable<NodeName> ReadNames(FileNode directory) =>
        ((Node)directory).Names.Select(pair => new NodeName(pair.Key, () => pair.Value));

    /// <inheritdoc/>
    protected internal override int ReadContent(FileNode node, long position, Span<byte> buffer)
    {
        var kept = ((Node)node).Kept;
        if (position >= kept.Length)
        {
            throw DiskErrors.Unsupported("only the beginnings of the files in an initramfs are read.");
        }

        var count = (int)Math.Min(buffer.Length, kept.Length - position);
        kept.AsSpan((int)position, count).CopyTo(buffer);
        return count;
    }

    private static bool IsCpio(ReadOnlySpan<byte> magic) => magic.SequenceEqual("070701"u8) || magic.SequenceEqual("070702"u8);

    private static Stream Decoder(Stream packed, ReadOnlySpan<byte> magic)
    {
        if (magic.StartsWith((ReadOnlySpan<byte>)[0x28, 0xB5, 0x2F, 0xFD]))
        {
            // Its default limit of the window, 128 MiB, is the kernel's too.
            return new DecompressionStream(packed, leaveOpen: true);
        }

        if (magic.StartsWith((ReadOnlySpan<byte>)[0x1F, 0x8B]))
        {
            return new GZipStream(packed, CompressionMode.Decompress, leaveOpen: true);
        }

        var name = magic.StartsWith((ReadOnlySpan<byte>)[0xFD, 0x37, 0x7A, 0x58, 0x5A]) ? "xz"
            : magic.StartsWith("BZh"u8) ? "bzip2"
            : magic.StartsWith((ReadOnlySpan<byte>)[0x02, 0x21, 0x4C, 0x18])
                || magic.StartsWith((ReadOnlySpan<byte>)[0x04, 0x22, 0x4D, 0x18]) ? "lz4"
            : magic.StartsWith((ReadOnlySpan<byte>)[0x5D, 0x00, 0x00]) ? "lzma"
            : magic.StartsWith((ReadOnlySpan<byte>)[0x89, 0x4C, 0x5A, 0x4F]) ? "lzop"
            : null;
        throw name is null
            ? DiskErrors.Damaged("an initramfs is no cpio archive and not compressed in any way that is known here.")
            : DiskErrors.Unsupported($"its initramfs is compressed with {name}; zstd, gzip and none can be read.");
    }

    private void AddCompressed(Reader reader)
    {
        Span<byte> magic = stackalloc byte[6];
        var complete = false;
        try
        {
            while (reader.Peek(magic) is var count and > 0)
            {
                if (magic[0] == 0)
                {
                    reader.SkipZeros();
                    continue;
                }

                if (!IsCpio(magic[..count]))
                {
                    throw DiskErrors.Damaged("what an initramfs unpacks to is no cpio archive.");
                }

                AddArchive(reader);
                complete = true;
            }
        }
        catch (Exception e) when (e is InvalidDataException or ZstdException or EndOfStreamException)
        {
            // Behind a complete archive there may be padding, which a decoder takes for damage. The kernel skips it.
            if (!complete)
            {
                throw DiskErrors.Damaged($"an initramfs cannot be unpacked ({e.Message}).", e);
            }
        }
    }

    private void AddArchive(Reader reader)
    {
        Span<byte> header = stackalloc byte[HeaderLength];
        while (true)
        {
            reader.ReadExactly(header);
            if (!IsCpio(header[..6]))
            {
                throw DiskErrors.Damaged("a cpio archive of an initramfs has an entry without its magic number.");
            }

            var mode = Number(header, 14);
            var fileLength = Number(header, 54);
            var nameLength = Number(header, 94);
            if (nameLength is 0 or > MaximumNameLength)
            {
                throw DiskErrors.Damaged($"a cpio archive of an initramfs has a name of {nameLength} bytes.");
            }

            var nameBytes = new byte[nameLength];
            reader.ReadExactly(nameBytes);
            var name = ((ReadOnlySpan<byte>)nameBytes).Text();
            reader.Skip(Padding(HeaderLength + nameLength));
            if (name == "TRAILER!!!")
            {
                reader.Skip(fileLength + Padding(fileLength));
                return;
            }

            _entries++;
            Budget.Spend(ReadCost.Names, 1);
            var keptLength = Math.Min(fileLength, MostKept(name, mode));
            Budget.Spend(ReadCost.Memory, BytesOfNode + (2 * name.Length) + keptLength);
            var kept = new byte[keptLength];
            reader.ReadExactly(kept);
            reader.Skip(fileLength - kept.Length + Padding(fileLength));
            Add(name, new() { Type = TypeOf(mode), Mode = (int)(mode & 0xFFF), Size = fileLength, Number = _entries, Kept = kept });
        }
    }

    /// <summary>Puts a file where the kernel would: over another one, through links; nowhere without its directory.</summary>
    private void Add(string path, Node node)
    {
        path = path.TrimEnd('/');
        var slash = path.LastIndexOf('/');
        var name = path[(slash + 1)..];
        if (name is "" or "." or ".."
            || Find(path[..Math.Max(slash, 0)], followLinks: true) is not Node { Type: FileType.Directory } directory)
        {
            return;
        }

        // A directory that is there stays, with what is in it.
        if (!directory.Names.TryGetValue(name, out var old)
            || old.Type != FileType.Directory
            || (old.Names.Count == 0 && node.Type != FileType.Directory))
        {
            directory.Put(name, node);
        }
    }

    private static int MostKept(string name, uint mode) => TypeOf(mode) switch
    {
        FileType.SymbolicLink => MaximumNameLength,
        FileType.File =>
            name[(name.LastIndexOf('/') + 1)..].StartsWith("modules.", StringComparison.Ordinal) ? MaximumListLength : BeginningLength,
        _ => 0,
    };

    // inode(7): S_IFMT.
    private static FileType TypeOf(uint mode) => (mode >> 12) switch
    {
        0x8 => FileType.File,
        0x4 => FileType.Directory,
        0xA => FileType.SymbolicLink,
        0x1 or 0x2 or 0x6 or 0xC => FileType.Special,
        _ => FileType.Unknown,
    };

    private static uint Number(ReadOnlySpan<byte> header, int offset) =>
        uint.TryParse(
            Encoding.Latin1.GetString(header.Slice(offset, 8)),
            NumberStyles.AllowHexSpecifier,
            CultureInfo.InvariantCulture,
            out var number)
            ? number
            : throw DiskErrors.Damaged("a cpio archive of an initramfs has a field that is no number.");

    private static long Padding(long length) => -length & 3;

    private sealed class Node : FileNode
    {
        private static readonly Dictionary<string, Node> s_none = [];

        public required int Number { get; init; }

        public Dictionary<string, Node> Names { get; private set; } = s_none;

        public byte[] Kept { get; init; } = [];

        public override (ulong Major, ulong Minor) Key => (0, (ulong)Number);

        public void Put(string name, Node node)
        {
            // Most nodes are files, and never have names.
            if (ReferenceEquals(Names, s_none))
            {
                Names = new(StringComparer.Ordinal);
            }

            Names[name] = node;
        }
    }

    /// <summary>Reads forwards only, with a look ahead of a few bytes; each byte is paid for.</summary>
    private sealed class Reader(Stream stream, ReadBudget? budget)
    {
        private readonly byte[] _buffer = new byte[1 << 16];
        private int _start;
        private int _end;

        /// <summary>Copies the next bytes without taking them; fewer at the end.</summary>
        public int Peek(Span<byte> destination)
        {
            while (_end - _start < destination.Length && Fill())
            {
            }

            var count = Math.Min(destination.Length, _end - _start);
            _buffer.AsSpan(_start, count).CopyTo(destination);
            return count;
        }

        public void ReadExactly(Span<byte> destination)
        {
            while (!destination.IsEmpty)
            {
                var count = Take(destination.Length);
                _buffer.AsSpan(_start - count, count).CopyTo(destination);
                destination = destination[count..];
            }
        }

        public void Skip(long count)
        {
            while (count > 0)
            {
                count -= Take(count);
            }
        }

        public void SkipZeros()
        {
            do
            {
                var rest = _buffer.AsSpan(_start, _end - _start);
                var count = rest.IndexOfAnyExcept((byte)0);
                _start += count < 0 ? rest.Length : count;
            }
            while (_start == _end && Fill());
        }

        /// <summary>The rest as a stream: what was looked ahead at, and then the stream itself.</summary>
        public Stream AsStream() => new Rest(this);

        private int Take(long most)
        {
            if (_start == _end && !Fill())
            {
                throw DiskErrors.Damaged("an initramfs is cut short.");
            }

            var count = (int)Math.Min(most, _end - _start);
            _start += count;
            return count;
        }

        private bool Fill()
        {
            if (_start == _end)
            {
                _start = _end = 0;
            }
            else if (_end == _buffer.Length)
            {
                _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
                (_start, _end) = (0, _end - _start);
            }

            var count = stream.Read(_buffer.AsSpan(_end));
            _end += count;
            budget?.Spend(ReadCost.Bytes, count);
            return count > 0;
        }

        private sealed class Rest(Reader reader) : Stream
        {
            public override bool CanRead => true;

            public override bool CanSeek => false;

            public override bool CanWrite => false;

            public override long Length => throw new NotSupportedException();

            public override long Position
            {
                get => throw new NotSupportedException();
                set => throw new NotSupportedException();
            }

            public override int Read(Span<byte> buffer)
            {
                if (buffer.IsEmpty || (reader._start == reader._end && !reader.Fill()))
                {
                    return 0;
                }

                var count = Math.Min(buffer.Length, reader._end - reader._start);
                reader.ReadExactly(buffer[..count]);
                return count;
            }

            public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

            public override void Flush()
            {
            }

            public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

            public override void SetLength(long value) => throw new NotSupportedException();

            public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        }
    }
}
