using System.Globalization;
using System.IO.Compression;
using System.Text;
using ZstdSharp;

namespace ArchAzure.FileSystems;

/// <summary>
/// Lists what an initramfs holds: cpio archives (newc) one after the other, uncompressed ones (microcode, modules) first,
/// the last one compressed with zstd or gzip, or not at all.
/// </summary>
/// <remarks>Source: Linux kernel documentation, driver-api/early-userspace/buffer-format.</remarks>
internal static class Initramfs
{
    // An initramfs is unpacked into memory; one larger than this starts on no small virtual machine.
    private const long MaximumUnpackedLength = 2L << 30;
    private const int MaximumEntries = 1 << 18;
    private const int HeaderLength = 110;
    private const int MaximumNameLength = 4096;

    /// <summary>The names of all its files, directories and links, without a leading '/' or './'.</summary>
    /// <param name="stream">The file, positioned at its start.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="ArchAzureException"><c>ImageDamaged</c>, <c>ImageFileTooLarge</c> or, for another compression, <c>ImageNotReadable</c>.</exception>
    public static IReadOnlyList<string> ListNames(Stream stream, CancellationToken cancellationToken)
    {
        var names = new List<string>();
        var reader = new Reader(stream, MaximumUnpackedLength, cancellationToken);
        Span<byte> magic = stackalloc byte[6];
        while (reader.Peek(magic) is var count and > 0)
        {
            if (IsCpio(magic[..count]))
            {
                ListArchive(reader, names);
                continue;
            }

            if (magic[0] == 0)
            {
                reader.Skip(1);
                continue;
            }

            // What is compressed comes last: where it ends within the file, only its decoder knows.
            using var unpacked = Decoder(reader.AsStream(), magic[..count]);
            ListCompressed(new Reader(unpacked, MaximumUnpackedLength, cancellationToken), names);
            break;
        }

        return names;
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
            : magic.StartsWith((ReadOnlySpan<byte>)[0x02, 0x21, 0x4C, 0x18]) || magic.StartsWith((ReadOnlySpan<byte>)[0x04, 0x22, 0x4D, 0x18]) ? "lz4"
            : magic.StartsWith((ReadOnlySpan<byte>)[0x5D, 0x00, 0x00]) ? "lzma"
            : magic.StartsWith((ReadOnlySpan<byte>)[0x89, 0x4C, 0x5A, 0x4F]) ? "lzop"
            : null;
        throw name is null
            ? ImageErrors.Damaged("an initramfs is no cpio archive and not compressed in any way that is known here.")
            : ImageErrors.Unsupported($"its initramfs is compressed with {name}; zstd, gzip and none can be read.");
    }

    private static void ListCompressed(Reader reader, List<string> names)
    {
        Span<byte> magic = stackalloc byte[6];
        var complete = false;
        try
        {
            while (reader.Peek(magic) is var count and > 0)
            {
                if (magic[0] == 0)
                {
                    reader.Skip(1);
                    continue;
                }

                if (!IsCpio(magic[..count]))
                {
                    throw ImageErrors.Damaged("what an initramfs unpacks to is no cpio archive.");
                }

                ListArchive(reader, names);
                complete = true;
            }
        }
        catch (Exception e) when (e is InvalidDataException or ZstdException or EndOfStreamException)
        {
            // Behind a complete archive there may be padding, which a decoder takes for damage. The kernel skips it.
            if (!complete)
            {
                throw ImageErrors.Damaged($"an initramfs cannot be unpacked ({e.Message}).", e);
            }
        }
    }

    private static void ListArchive(Reader reader, List<string> names)
    {
        Span<byte> header = stackalloc byte[HeaderLength];
        while (true)
        {
            reader.ReadExactly(header);
            if (!IsCpio(header[..6]))
            {
                throw ImageErrors.Damaged("a cpio archive of an initramfs has an entry without its magic number.");
            }

            var fileLength = Number(header, 54);
            var nameLength = Number(header, 94);
            if (nameLength is 0 or > MaximumNameLength)
            {
                throw ImageErrors.Damaged($"a cpio archive of an initramfs has a name of {nameLength} bytes.");
            }

            var nameBytes = new byte[nameLength];
            reader.ReadExactly(nameBytes);
            var name = ((ReadOnlySpan<byte>)nameBytes).Text();
            reader.Skip(Padding(HeaderLength + nameLength) + fileLength + Padding(fileLength));
            if (name == "TRAILER!!!")
            {
                return;
            }

            if (names.Count >= MaximumEntries)
            {
                throw ImageErrors.TooLarge($"an initramfs has more than {MaximumEntries} files.");
            }

            name = (name.StartsWith("./", StringComparison.Ordinal) ? name[2..] : name).TrimStart('/');
            if (name is not ("" or "."))
            {
                names.Add(name);
            }
        }
    }

    private static uint Number(ReadOnlySpan<byte> header, int offset) =>
        uint.TryParse(Encoding.Latin1.GetString(header.Slice(offset, 8)), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw ImageErrors.Damaged("a cpio archive of an initramfs has a field that is no number.");

    private static long Padding(long length) => -length & 3;

    /// <summary>Reads forwards only, with a look ahead of a few bytes and a limit of the whole.</summary>
    private sealed class Reader(Stream stream, long limit, CancellationToken cancellationToken)
    {
        private readonly byte[] _buffer = new byte[1 << 16];
        private int _start;
        private int _end;
        private long _taken;

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

        /// <summary>The rest as a stream: what was looked ahead at, and then the stream itself.</summary>
        public Stream AsStream() => new Rest(this);

        private int Take(long most)
        {
            if (_start == _end && !Fill())
            {
                throw ImageErrors.Damaged("an initramfs is cut short.");
            }

            var count = (int)Math.Min(most, _end - _start);
            _start += count;
            return count;
        }

        private bool Fill()
        {
            cancellationToken.ThrowIfCancellationRequested();
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
            _taken += count;
            return _taken > limit ? throw ImageErrors.TooLarge($"an initramfs unpacks to more than {limit >> 20} MiB.") : count > 0;
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
