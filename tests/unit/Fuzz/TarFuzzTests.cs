using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using ArchAzure.Bootstrap;
using CsCheck;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Fuzz;

/// <summary>Bootstrap archives: headers whose checksum is right but nothing else may be, and damaged compressed data.</summary>
public sealed class TarFuzzTests(ITestOutputHelper output)
{
    private static readonly string[] s_words =
    [
        "root.x86_64/", "./", "../", "/", ".wh.", "version", "ustar\0", "ustar  \0", "x", "g", "L", "K", "1", "2", "5",
        "11 path=a/b\n", "20 path=root.x86_64\n", "12 size=512\n", "9 uid=-1\n", "10 gid=07\n",
        "30 SCHILY.xattr.user.a=\u0001\u0002\n", "GNU.sparse.", "\u0080\0\0\0\0\0\0\0\0\0\u0002\0", new('\0', 512), new('/', 60),
    ];

    private static readonly byte[][] s_samples =
    [
        Sample(TarEntryFormat.Pax), Sample(TarEntryFormat.Gnu), Sample(TarEntryFormat.Ustar), Sample(TarEntryFormat.V7),
    ];

    [Fact]
    public void An_archive_is_rewritten_or_refused() =>
        Gen.Select(
            Mutations.Of(s_samples, s_words),
            Gen.Frequency((3, Gen.Const(true)), (1, Gen.Const(false))),
            (tar, repaired) => repaired ? Repaired(tar) : tar).Run(
            output,
            tar =>
            {
                using var compressed = new MemoryStream();
                using (var gzip = new GZipStream(compressed, CompressionLevel.NoCompression, leaveOpen: true))
                {
                    gzip.Write(tar);
                }

                compressed.Position = 0;
                var (summary, written) = Rewrite(compressed, "a.tar.gz");
                Assert.Equal(summary.Entries, AssertSafe(written));
            },
            count: 3000);

    [Theory]
    [InlineData("a.tar.gz")]
    [InlineData("a.tar.zst")]
    public void Damaged_compressed_data_is_refused(string name) =>
        Mutations.Of(s_samples.Select(tar => Compressed(tar, name)).ToArray()).Run(
            output,
            bytes =>
            {
                using var compressed = new MemoryStream(bytes, writable: false);
                AssertSafe(Rewrite(compressed, name).Written);
            },
            count: 1200);

    [Fact]
    public void Any_block_is_a_header_or_none() =>
        Mutations.Of([.. s_samples.Select(tar => tar[..512]), TarHeader.Encode(Header("a"u8.ToArray(), 1, 2, 3, 4))], s_words)
            .Select(Gen.Bool, (bytes, repaired) => repaired ? Repaired(Sized(bytes)) : Sized(bytes))
            .Run(output, block => TarHeader.Decode(block), count: 20000);

    [Fact]
    public void A_header_reads_back_as_it_was_written() =>
        Gen.Select(
            Gen.Byte[1, 255].Array[1, 99],
            Gen.Long[0, 0x1F_FFFF],
            Gen.Long[0, 0x1F_FFFF],
            Gen.Long[0, 0x1_FFFF_FFFF],
            Gen.Long[0, 0x1_FFFF_FFFF]).Run(
            output,
            fields =>
            {
                var (name, user, group, size, time) = fields;
                var block = TarHeader.Encode(Header(name, user, group, size, time));
                Assert.Equal(512, block.Length);
                var read = TarHeader.Decode(block)!;
                Assert.Equal(name, read.Name);
                Assert.Equal(
                    (user, group, size, time, '0', 0x1A4), (read.UserId, read.GroupId, read.Size, read.ModifiedAt, read.Type, read.Mode));
            },
            count: 3000);

    [Fact]
    public void Numbers_past_the_octal_fields_come_back_from_their_records() =>
        Gen.Select(
            Gen.Long[0, uint.MaxValue - 1],
            Gen.Long[0, uint.MaxValue - 1],
            Gen.OneOf(Gen.Long, Gen.Long[-10, 10]),
            Gen.Byte[1, 255].Array[101, 400]).Run(
            output,
            fields =>
            {
                var (user, group, time, name) = fields;
                var blocks = TarHeader.Encode(Header(name, user, group, 0, time));
                var extended = TarHeader.Decode(blocks.AsSpan(0, 512))!;
                Assert.Equal('x', extended.Type);
                var records = new Dictionary<string, byte[]>(StringComparer.Ordinal);
                TarRecords.Parse(blocks.AsSpan(512, (int)extended.Size), records, new TarSource(Stream.Null, "a"));
                var plain = TarHeader.Decode(blocks.AsSpan(blocks.Length - 512))!;
                Assert.Equal(name, records["path"]);
                Assert.Equal(
                    (user, group, time), (Number("uid", plain.UserId), Number("gid", plain.GroupId), Number("mtime", plain.ModifiedAt)));

                long Number(string key, long otherwise) =>
                    records.TryGetValue(key, out var text) ? long.Parse(Encoding.ASCII.GetString(text)) : otherwise;
            },
            count: 3000);

    [Fact]
    public void Records_are_read_or_refused() =>
        Mutations.Of(["11 path=a/b\n30 mtime=1700000000.123456789\n"u8.ToArray(), "19 SCHILY.acl.x=\0\n\u0001\n"u8.ToArray()], s_words).Run(
            output,
            bytes => TarRecords.Parse(bytes, new(StringComparer.Ordinal), new TarSource(Stream.Null, "a")),
            count: 20000);

    [Fact]
    public void Records_read_back_as_they_were_written() =>
        Gen.Dictionary(Gen.String[Gen.Char.AlphaNumeric, 1, 20], Gen.Byte.Array[0, 200])[0, 8].Run(
            output,
            written =>
            {
                var read = new Dictionary<string, byte[]>(StringComparer.Ordinal);
                TarRecords.Parse(TarRecords.Encode(written), read, new TarSource(Stream.Null, "a"));
                Assert.Equal(written.OrderBy(r => r.Key, StringComparer.Ordinal), read.OrderBy(r => r.Key, StringComparer.Ordinal));
            },
            count: 3000);

    private static (BootstrapSummary Summary, byte[] Written) Rewrite(Stream compressed, string name)
    {
        using var written = new MemoryStream();
        var limits = new ArchiveLimits { MaxTotalBytes = 1 << 20 };
        var summary = BootstrapArchive.RewriteAsync(compressed, name, written, "x86_64", limits, default).GetAwaiter().GetResult();
        return (summary, written.ToArray());
    }

    /// <summary>Reads what came out as a simple extractor would, and looks for what such a one must never meet.</summary>
    private static long AssertSafe(byte[] tar)
    {
        var kinds = new Dictionary<string, char>(StringComparer.Ordinal);
        var records = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        long entries = 0;
        for (var at = 0; ;)
        {
            Assert.Equal(0, at % 512);
            if (!tar.AsSpan(at, 512).ContainsAnyExcept((byte)0))
            {
                Assert.Equal(tar.Length, at + 1024);
                return entries;
            }

            var header = TarHeader.Decode(tar.AsSpan(at, 512))!;
            at += 512;
            var length = (int)header.Size;
            if (header.Type == 'x')
            {
                TarRecords.Parse(tar.AsSpan(at, length), records, new TarSource(Stream.Null, "a"));
            }
            else
            {
                entries++;
                var name = Encoding.UTF8.GetString(records.GetValueOrDefault("path", header.Name)).TrimEnd('/');
                var parts = name.Split('/');
                Assert.False(
                    name.StartsWith('/') || parts.Contains("..") || parts.Any(part => part.StartsWith(".wh.", StringComparison.Ordinal)),
                    name);
                for (var i = 1; i < parts.Length; i++)
                {
                    Assert.Equal('5', kinds.GetValueOrDefault(string.Join('/', parts[..i]), '5'));
                }

                var kind = header.Type;
                Assert.Contains(kind, "0125");
                if (kind == '1')
                {
                    kind = kinds[Encoding.UTF8.GetString(records.GetValueOrDefault("linkpath", header.LinkName))];
                    Assert.NotEqual('5', kind);
                }

                Assert.True(kinds.TryAdd(name, kind) || kind == '5');
                records.Clear();
            }

            at += length + TarHeader.Padding(length).Length;
        }
    }

    private static TarHeader Header(byte[] name, long user, long group, long size, long time) => new()
    {
        Name = name, LinkName = [], Type = '0', Mode = 0x1A4, UserId = user, GroupId = group, Size = size, ModifiedAt = time,
    };

    private static byte[] Sized(byte[] bytes)
    {
        Array.Resize(ref bytes, 512);
        return bytes;
    }

    // The right checksum in every block that says it is a header, and in the first.
    private static byte[] Repaired(byte[] tar)
    {
        for (var at = 0; at + 512 <= tar.Length; at += 512)
        {
            var block = tar.AsSpan(at, 512);
            if (at == 0 || block.Slice(257, 5).SequenceEqual("ustar"u8) || block.StartsWith("root"u8))
            {
                block.Slice(148, 8).Fill((byte)' ');
                var sum = 0;
                foreach (var b in block)
                {
                    sum += b;
                }

                Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ").CopyTo(block[148..]);
            }
        }

        return tar;
    }

    private static byte[] Sample(TarEntryFormat format)
    {
        using var tar = new MemoryStream();
        using (var writer = new TarWriter(tar, format, leaveOpen: true))
        {
            var file = format == TarEntryFormat.V7 ? TarEntryType.V7RegularFile : TarEntryType.RegularFile;
            Write(TarEntryType.Directory, "root.x86_64/", null, null);
            Write(TarEntryType.Directory, "root.x86_64/etc/", null, null);
            Write(file, "root.x86_64/etc/hostname", null, "arch\n");
            Write(TarEntryType.HardLink, "root.x86_64/etc/hard", "root.x86_64/etc/hostname", null);
            Write(TarEntryType.SymbolicLink, "root.x86_64/bin", "usr/bin", null);
            if (format is TarEntryFormat.Pax or TarEntryFormat.Gnu)
            {
                Write(file, "root.x86_64/" + new string('n', 120), null, new string('d', 600));
            }

            Write(file, "version", null, "2026.11.01\n");

            void Write(TarEntryType type, string name, string? link, string? content)
            {
                TarEntry entry = format switch
                {
                    TarEntryFormat.Pax => new PaxTarEntry(type, name, [KeyValuePair.Create("SCHILY.xattr.user.a", "b")]),
                    TarEntryFormat.Gnu => new GnuTarEntry(type, name),
                    TarEntryFormat.Ustar => new UstarTarEntry(type, name),
                    _ => new V7TarEntry(type, name),
                };
                entry.ModificationTime = DateTimeOffset.UnixEpoch.AddDays(20000);
                if (link is not null)
                {
                    entry.LinkName = link;
                }

                using var data = content is null ? null : new MemoryStream(Encoding.UTF8.GetBytes(content));
                if (data is not null)
                {
                    entry.DataStream = data;
                }

                writer.WriteEntry(entry);
            }
        }

        return tar.ToArray();
    }

    private static byte[] Compressed(byte[] tar, string name)
    {
        using var compressed = new MemoryStream();
        using (Stream compressor = name.EndsWith("gz", StringComparison.Ordinal)
            ? new GZipStream(compressed, CompressionLevel.Optimal, leaveOpen: true)
            : new ZstdSharp.CompressionStream(compressed, 3, leaveOpen: true))
        {
            compressor.Write(tar);
        }

        return compressed.ToArray();
    }
}
