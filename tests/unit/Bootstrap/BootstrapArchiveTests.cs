using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using ArchAzure.Bootstrap;
using CsCheck;
using ZstdSharp;

namespace ArchAzure.UnitTests.Bootstrap;

public sealed class BootstrapArchiveTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("pax", ".tar.zst")]
    [InlineData("gnu", ".tar.zst")]
    [InlineData("ustar", ".tar.gz")]
    [InlineData("v7", ".tar.gz")]
    public async Task A_real_tree_comes_through_unchanged(string format, string ending)
    {
        MakeTree(longNames: format is "pax" or "gnu");
        var archive = Pack(format, ending);
        var plain = _folder["plain.tar"];
        BootstrapSummary summary;
        await using (var output = File.Create(plain))
        {
            summary = await RewriteAsync(File.OpenRead(archive), archive, output);
        }

        Assert.Equal("2026.11.01", summary.Version);
        Assert.Equal(5_000_000 + 6, summary.Bytes);
        Directory.CreateDirectory(_folder["out"]);
        Tool.Run("tar", ["-xpf", plain, "--numeric-owner", "--same-owner"], _folder["out"]);
        Assert.Equal(Listing(_folder["tree/root.x86_64"]), Listing(_folder["out"]));
        // bsdtar reads it too, as an independent reader.
        Tool.Run("bsdtar", ["-tf", plain]);
    }

    [Fact]
    public async Task Times_to_the_nanosecond_come_through()
    {
        MakeTree(longNames: true);
        Tool.Run("touch", ["-d", "2020-02-03 04:05:06.123456789 UTC", _folder["tree/root.x86_64/etc/hostname"]]);
        var archive = Pack("pax", ".tar.zst");
        await using var output = File.Create(_folder["plain.tar"]);
        await RewriteAsync(File.OpenRead(archive), archive, output);
        output.Close();
        Directory.CreateDirectory(_folder["out"]);
        Tool.Run("tar", ["-xpf", _folder["plain.tar"]], _folder["out"]);
        Assert.Equal(
            "2020-02-03 04:05:06.123456789 +0000",
            Tool.Run("stat", ["-c", "%y", _folder["out/etc/hostname"]], environment: new() { ["TZ"] = "UTC" }).Trim());
    }

    [Fact]
    public async Task A_window_past_a_decoders_own_limit_is_taken()
    {
        // From a pipe zstd does not know the size and so keeps the window asked for: 256 MiB, twice what a decoder allows by itself.
        MakeTree(longNames: false, bytes: 1000);
        Tool.Run("sh", ["-c", "tar -cf - root.x86_64 | zstd -q -1 --long=28 -o ../a.tar.zst"], _folder["tree"]);
        Assert.Equal(1006, (await RewriteAsync(File.OpenRead(_folder["a.tar.zst"]), "a.tar.zst", Stream.Null)).Bytes);
        await using var limited = new DecompressionStream(File.OpenRead(_folder["a.tar.zst"]));
        await Assert.ThrowsAsync<ZstdException>(() => limited.CopyToAsync(Stream.Null));
    }

    [Fact]
    public async Task Binary_attributes_numbers_and_names_come_through_byte_for_byte()
    {
        // vfs_cap_data of newuidmap: cap_setuid is bit 7, so the value holds a byte no text has; and a line feed.
        byte[] capability = [1, 0, 0, 2, 0x80, 0, 0, 0, 0x0A, (byte)'=', 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        var header = new TarHeader
        {
            Name = Encoding.UTF8.GetBytes("root.x86_64/usr/bin/newuidmap-" + new string('ő', 60)),
            LinkName = [],
            Type = '0',
            Mode = 0x9ED,
            UserId = 3_000_000_000,
            GroupId = 5_000_000,
            Size = 0,
            ModifiedAt = -86400,
            Records = new() { ["SCHILY.xattr.security.capability"] = capability, ["SCHILY.acl.access"] = "user::rwx"u8.ToArray() },
        };
        var output = await RewriteAsync([.. TarHeader.Encode(header), .. new byte[1024]]);
        var (written, records) = Single(output);
        Assert.Equal(capability, records["SCHILY.xattr.security.capability"]);
        Assert.Equal("user::rwx"u8.ToArray(), records["SCHILY.acl.access"]);
        Assert.Equal("usr/bin/newuidmap-" + new string('ő', 60), Encoding.UTF8.GetString(records["path"]));
        Assert.Equal("3000000000", Encoding.UTF8.GetString(records["uid"]));
        Assert.Equal("5000000", Encoding.UTF8.GetString(records["gid"]));
        Assert.Equal("-86400", Encoding.UTF8.GetString(records["mtime"]));
        Assert.Equal(0x9ED, written.Mode);
    }

    [Fact]
    public async Task Files_past_the_octal_limit_keep_their_size()
    {
        // The stream breaks off on purpose: nobody writes 8 GiB in a unit test. What counts is the header that came out.
        var header = Regular("root.x86_64/large");
        header.Size = 9L << 30;
        using var output = new MemoryStream();
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => RewriteAsync(Gzip([.. TarHeader.Encode(header), .. new byte[512]]), "a.tar.gz", output));
        Assert.Equal("CorruptArchive", error.ErrorId);
        var (_, records) = Single(output.ToArray());
        Assert.Equal((9L << 30).ToString(), Encoding.UTF8.GetString(records["size"]));
    }

    [Fact]
    public async Task Global_headers_hold_for_what_follows()
    {
        using var tar = new MemoryStream();
        await using (var writer = new TarWriter(tar, TarEntryFormat.Pax, leaveOpen: true))
        {
            await writer.WriteEntryAsync(
                new PaxGlobalExtendedAttributesTarEntry(new Dictionary<string, string> { ["comment"] = "made by git", ["uid"] = "77" }));
            await writer.WriteEntryAsync(new PaxTarEntry(TarEntryType.RegularFile, "root.x86_64/a"));
        }

        var (header, records) = Single(await RewriteAsync(tar.ToArray()));
        Assert.Equal(77, header.UserId);
        Assert.DoesNotContain("comment", records);
    }

    public static TheoryData<string, string> HostileEntries => new()
    {
        { "absolute", "is absolute" },
        { "dotdot", "'..'" },
        { "dotdot outside", "'..'" },
        { "dot inside", "'.'" },
        { "empty part", "empty" },
        { "newline", "control characters" },
        { "escape", "control characters" },
        { "C1 control", "control characters" },
        { "not UTF-8", "not UTF-8" },
        { "NUL in pax path", "control characters" },
        { "through a symlink", "leads through the symbolic link 'root.x86_64/link'" },
        { "below a file", "which is a file" },
        { "through a hard link to a symlink", "leads through the symbolic link" },
        { "file twice", "there twice" },
        { "folder becomes link", "there twice" },
        { "implied folder becomes link", "there twice" },
        { "hard link outside", "outside root.x86_64/" },
        { "hard link absolute", "target of the hard link is absolute" },
        { "hard link up", "target of the hard link has a part" },
        { "hard link forward", "not a file that came before" },
        { "hard link to itself", "not a file that came before" },
        { "hard link to folder", "not a file that came before" },
        { "hard link with data", "carries data" },
        { "symlink with newline", "symbolic link" },
        { "symlink empty", "symbolic link" },
        { "character device", "device node" },
        { "block device", "device node" },
        { "fifo", "named pipe" },
        { "unknown type", "unknown type" },
        { "GNU sparse", "unknown type" },
        { "pax sparse", "GNU.sparse" },
        { "overlay attribute", "SCHILY.xattr.trusted" },
        { "whiteout", "deletions" },
        { "long name", "longer than 255" },
        { "long path", "longer than 4096" },
        { "root is a link", "root is not a folder" },
        { "global path", "sets 'path'" },
        { "huge header", "limit" },
        { "negative size", "less than none" },
        { "huge size", "have more than" },
    };

    [Theory]
    [MemberData(nameof(HostileEntries))]
    public async Task Hostile_archives_are_refused(string name, string reason)
    {
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => RewriteAsync(Hostile(name)));
        Assert.Equal("HostileArchive", error.ErrorId);
        Assert.Contains(reason, error.Message);
        Assert.DoesNotContain(error.Message, c => char.IsControl(c));
    }

    [Fact]
    public async Task Archives_with_more_than_the_limits_are_refused()
    {
        byte[] three =
        [
            .. TarHeader.Encode(Regular("root.x86_64/a")), .. TarHeader.Encode(Regular("root.x86_64/b")),
            .. TarHeader.Encode(Regular("root.x86_64/c")), .. new byte[1024],
        ];
        await RewriteAsync(three, new ArchiveLimits { MaxEntries = 3 });
        Assert.Contains(
            "entry 3",
            (await Assert.ThrowsAsync<ArchAzureException>(() => RewriteAsync(three, new ArchiveLimits { MaxEntries = 2 }))).Message);

        // "root.x86_64" and three names below it.
        await RewriteAsync(three, new ArchiveLimits { MaxNameCharacters = 11 + (3 * 13) });
        Assert.Contains(
            "more than 49 characters",
            (
                await Assert.ThrowsAsync<ArchAzureException>(
                    () => RewriteAsync(three, new ArchiveLimits { MaxNameCharacters = 49 }))).Message);

        await RewriteAsync(three, new ArchiveLimits { MaxTotalBytes = 1024 });
        byte[] withData =
        [
            .. TarHeader.Encode(Regular("root.x86_64/a")), .. TarHeader.Encode(Sized(Regular("root.x86_64/b"), 512)), .. new byte[512],
            .. new byte[1024],
        ];
        await RewriteAsync(withData, new ArchiveLimits { MaxTotalBytes = 1024 });
        Assert.Contains(
            "have more than",
            (
                await Assert.ThrowsAsync<ArchAzureException>(
                    () => RewriteAsync(withData, new ArchiveLimits { MaxTotalBytes = 1023 }))).Message);
    }

    // Each alone is small enough, and no entry follows that would be counted.
    [Theory]
    [InlineData('x', "a header of")]
    [InlineData('g', "a header of")]
    [InlineData('L', "a header of")]
    public async Task Headers_without_end_are_refused(char type, string reason)
    {
        using var tar = new MemoryStream();
        for (var i = 0; i < 12; i++)
        {
            var data = type == 'L'
                ? Encoding.ASCII.GetBytes(new string('n', 100_000))
                : TarRecords.Encode([KeyValuePair.Create($"comment{i}", new byte[100_000])]);
            tar.Write([.. TarHeader.Encode(Sized(Entry("h", type), data.Length)), .. data, .. TarHeader.Padding(data.Length)]);
        }

        Assert.Contains(reason, (await Assert.ThrowsAsync<ArchAzureException>(() => RewriteAsync(tar.ToArray()))).Message);

        byte[] empty = [.. Enumerable.Repeat(TarHeader.Encode(Entry("h", type)), 4).SelectMany(block => block)];
        Assert.Contains(
            "entry 4",
            (await Assert.ThrowsAsync<ArchAzureException>(() => RewriteAsync(empty, new ArchiveLimits { MaxEntries = 3 }))).Message);
    }

    [Fact]
    public async Task Deep_names_cost_little()
    {
        // Each name has its own 2000 folders; all of them together would be gigabytes.
        using var tar = new MemoryStream();
        for (var i = 0; i < 300; i++)
        {
            var header = Regular("root.x86_64/" + i + string.Concat(Enumerable.Repeat("/d", 2000)));
            tar.Write(TarHeader.Encode(header));
        }

        Assert.Contains("characters", (await Assert.ThrowsAsync<ArchAzureException>(() => RewriteAsync(tar.ToArray()))).Message);
    }

    [Fact]
    public async Task An_archive_of_something_else_is_named_as_such()
    {
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => RewriteAsync([.. TarHeader.Encode(Regular("linux-6.1/Makefile")), .. new byte[1024]]));
        Assert.Equal("NotABootstrapArchive", error.ErrorId);
        Assert.Contains("root.x86_64/", error.Message);
        Assert.Equal("UnsupportedArchive", (await Assert.ThrowsAsync<ArchAzureException>(
            () => RewriteAsync(new MemoryStream([1, 2, 3]), "arch.iso", Stream.Null))).ErrorId);
    }

    [Theory]
    [InlineData(".tar.zst")]
    [InlineData(".tar.gz")]
    public async Task Truncated_or_altered_archives_are_refused_wherever_it_is(string ending)
    {
        MakeTree(longNames: true, bytes: 20_000);
        var whole = await File.ReadAllBytesAsync(Pack("pax", ending));
        for (var cut = 0; cut < whole.Length; cut += 1 + (whole.Length / 50))
        {
            var error = await Assert.ThrowsAsync<ArchAzureException>(
                () => RewriteAsync(new MemoryStream(whole[..cut]), "b" + ending, Stream.Null));
            Assert.Equal("CorruptArchive", error.ErrorId);
            Assert.Contains("b" + ending, error.Message);
        }

        for (var at = 0; at < whole.Length; at += 1 + (whole.Length / 50))
        {
            var altered = whole.ToArray();
            altered[at] ^= 0x5A;
            using var original = new MemoryStream();
            using var output = new MemoryStream();
            await RewriteAsync(new MemoryStream(whole), "b" + ending, original);
            try
            {
                await RewriteAsync(new MemoryStream(altered), "b" + ending, output);
                // A bit that means nothing (gzip's time stamp) may change; the content may not.
                Assert.Equal(original.ToArray(), output.ToArray());
            }
            catch (ArchAzureException)
            {
                // Refused, as it should be.
            }
        }
    }

    [Fact]
    public async Task A_tar_that_ends_without_its_end_is_refused()
    {
        byte[] whole = [.. TarHeader.Encode(Regular("root.x86_64/a"))];
        Assert.Equal("CorruptArchive", (await Assert.ThrowsAsync<ArchAzureException>(() => RewriteAsync(whole))).ErrorId);
        Assert.Equal(
            "CorruptArchive",
            (await Assert.ThrowsAsync<ArchAzureException>(() => RewriteAsync([.. whole, .. new byte[1024], .. whole]))).ErrorId);
    }

    [Fact]
    public async Task Errors_of_the_output_are_not_taken_for_a_damaged_archive()
    {
        byte[] tar = [.. TarHeader.Encode(Regular("root.x86_64/a")), .. new byte[1024]];
        using var closed = new MemoryStream([], writable: false);
        await Assert.ThrowsAsync<NotSupportedException>(() => RewriteAsync(Gzip(tar), "a.tar.gz", closed));
    }

    [Fact]
    public void No_bytes_do_anything_but_come_through_or_give_an_error_of_ours()
    {
        var valid = TarHeader.Encode(Regular("root.x86_64/some/file"));
        var flips = Gen.Select(Gen.Int[0, 511], Gen.Byte).Array[0, 6];
        Gen.Select(flips, Gen.Bool, Gen.Byte.Array[0, 700]).Sample(
            (changes, repair, tail) =>
            {
                var block = valid.ToArray();
                foreach (var (at, value) in changes)
                {
                    block[at] = value;
                }

                if (repair)
                {
                    Repair(block);
                }

                try
                {
                    RewriteAsync([.. block, .. tail, .. new byte[1024 + ((512 - (tail.Length % 512)) % 512)]]).GetAwaiter().GetResult();
                }
                catch (ArchAzureException)
                {
                    // An error of ours is an answer.
                }
            },
            iter: 3000, threads: 1);
    }

    private static byte[] Hostile(string name)
    {
        var folder = Entry("root.x86_64/dir/", '5');
        var file = Regular("root.x86_64/file");
        var link = Entry("root.x86_64/link", '2', "/etc");
        TarHeader[] entries = name switch
        {
            "absolute" => [Regular("/etc/passwd")],
            "dotdot" => [Regular("root.x86_64/../../etc/passwd")],
            "dotdot outside" => [Regular("../x")],
            "dot inside" => [Regular("root.x86_64/./x")],
            "empty part" => [Regular("root.x86_64//x")],
            "newline" => [Regular("root.x86_64/a\nb")],
            "escape" => [Regular("root.x86_64/\u001b[2J")],
            "C1 control" => [Regular("root.x86_64/\u009b2J")],
            "not UTF-8" => [Raw([.. "root.x86_64/"u8, 0xE4])],
            "NUL in pax path" => [With(file, "path", "root.x86_64/a\0b")],
            "through a symlink" => [link, Regular("root.x86_64/link/passwd")],
            "below a file" => [file, Regular("root.x86_64/file/x")],
            "through a hard link to a symlink" => [link, Entry("root.x86_64/two", '1', "root.x86_64/link"), Regular("root.x86_64/two/x")],
            "file twice" => [file, Regular("./root.x86_64/file")],
            "folder becomes link" => [folder, Entry("root.x86_64/dir", '2', "/etc")],
            "implied folder becomes link" => [Regular("root.x86_64/dir/x"), Entry("root.x86_64/dir", '2', "/etc")],
            "hard link outside" => [Entry("root.x86_64/h", '1', "pkglist.x86_64.txt")],
            "hard link absolute" => [Entry("root.x86_64/h", '1', "/etc/shadow")],
            "hard link up" => [Entry("root.x86_64/h", '1', "root.x86_64/../../etc/shadow")],
            "hard link forward" => [Entry("root.x86_64/h", '1', "root.x86_64/file"), file],
            "hard link to itself" => [Entry("root.x86_64/h", '1', "root.x86_64/h")],
            "hard link to folder" => [folder, Entry("root.x86_64/h", '1', "root.x86_64/dir")],
            "hard link with data" => [file, Sized(Entry("root.x86_64/h", '1', "root.x86_64/file"), 512)],
            "symlink with newline" => [Entry("root.x86_64/l", '2', "a\nb")],
            "symlink empty" => [Entry("root.x86_64/l", '2', "")],
            "character device" => [Entry("root.x86_64/null", '3')],
            "block device" => [Entry("root.x86_64/sda", '4')],
            "fifo" => [Entry("root.x86_64/fifo", '6')],
            "unknown type" => [Entry("root.x86_64/x", 'V')],
            "GNU sparse" => [Entry("root.x86_64/x", 'S')],
            "pax sparse" => [With(file, "GNU.sparse.major", "1")],
            "overlay attribute" => [With(file, "SCHILY.xattr.trusted.overlay.redirect", "/")],
            "whiteout" => [Regular("root.x86_64/etc/.wh.passwd")],
            "long name" => [Regular("root.x86_64/" + new string('a', 256))],
            "long path" => [Regular("root.x86_64/" + string.Join('/', Enumerable.Repeat("abcdefgh", 500)))],
            "root is a link" => [Entry("root.x86_64", '2', "/etc")],
            "global path" => [Entry("g", 'g')],
            "huge header" => [Sized(Entry("x", 'x'), 2 << 20)],
            "negative size" => [Sized(file, -1)],
            "huge size" => [Sized(file, long.MaxValue)],
            _ => throw new ArgumentOutOfRangeException(nameof(name), name, null),
        };
        using var tar = new MemoryStream();
        foreach (var entry in entries)
        {
            switch (name)
            {
                case "global path":
                    var records = TarRecords.Encode([KeyValuePair.Create("path", "root.x86_64/evil"u8.ToArray())]);
                    entry.Size = records.Length;
                    tar.Write([.. TarHeader.Encode(entry), .. records, .. TarHeader.Padding(records.Length)]);
                    break;
                case "negative size":
                    var block = TarHeader.Encode(entry);
                    // GNU's binary numbers may be negative.
                    block.AsSpan(124, 12).Fill(0xFF);
                    Repair(block);
                    tar.Write(block);
                    break;
                default:
                    tar.Write(TarHeader.Encode(entry));
                    break;
            }
        }

        tar.Write(new byte[2048]);
        return tar.ToArray();
    }

    private static TarHeader Raw(byte[] name, char type = '0', string link = "") => new()
    {
        Name = name,
        LinkName = Encoding.UTF8.GetBytes(link),
        Type = type,
        Mode = 0x1A4,
        UserId = 0,
        GroupId = 0,
        Size = 0,
        ModifiedAt = 1_700_000_000,
    };

    private static TarHeader Entry(string name, char type, string link = "") => Raw(Encoding.UTF8.GetBytes(name), type, link);

    private static TarHeader Regular(string name) => Entry(name, '0');

    private static TarHeader Sized(TarHeader header, long size)
    {
        header.Size = size;
        return header;
    }

    private static TarHeader With(TarHeader header, string key, string value)
    {
        header.Records = new() { [key] = Encoding.UTF8.GetBytes(value) };
        return header;
    }

    // A right checksum over a wrong header.
    private static void Repair(byte[] block)
    {
        block.AsSpan(148, 8).Fill((byte)' ');
        var sum = block.AsSpan(0, 512).ToArray().Sum(b => (int)b);
        Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ").CopyTo(block, 148);
    }

    private static (TarHeader Header, Dictionary<string, byte[]> Records) Single(byte[] tar)
    {
        var records = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        var first = TarHeader.Decode(tar.AsSpan(0, 512))!;
        if (first.Type != 'x')
        {
            return (first, records);
        }

        TarRecords.Parse(tar.AsSpan(512, (int)first.Size), records, new TarSource(Stream.Null, "test"));
        var next = 512 + (int)((first.Size + 511) / 512 * 512);
        return (TarHeader.Decode(tar.AsSpan(next, 512))!, records);
    }

    private static MemoryStream Gzip(byte[] tar)
    {
        var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionLevel.Fastest, leaveOpen: true))
        {
            gzip.Write(tar);
        }

        compressed.Position = 0;
        return compressed;
    }

    private static async Task<byte[]> RewriteAsync(byte[] tar, ArchiveLimits? limits = null)
    {
        using var output = new MemoryStream();
        await using var compressed = Gzip(tar);
        await BootstrapArchive.RewriteAsync(compressed, "test.tar.gz", output, "x86_64", limits, default);
        return output.ToArray();
    }

    private static async Task<BootstrapSummary> RewriteAsync(Stream compressed, string name, Stream output)
    {
        await using (compressed)
        {
            return await BootstrapArchive.RewriteAsync(compressed, name, output, "x86_64", null, default);
        }
    }

    private void MakeTree(bool longNames, int bytes = 5_000_000)
    {
        var root = Directory.CreateDirectory(_folder["tree/root.x86_64"]).FullName;
        _folder.Write("tree/pkglist.x86_64.txt", "base 3-2\n");
        _folder.Write("tree/version", "2026.11.01\n");
        foreach (var name in new[] { "etc", "usr/bin", "usr/lib", "empty", "tmp" })
        {
            Directory.CreateDirectory(Path.Combine(root, name));
        }

        var noise = new byte[bytes];
        new Random(7).NextBytes(noise);
        File.WriteAllBytes(Path.Combine(root, "usr/lib/noise"), noise);
        File.WriteAllText(Path.Combine(root, "etc/hostname"), "arch\n\n");
        File.WriteAllText(Path.Combine(root, "etc/Főtanúsítvány.crt"), "");
        Tool.Run("ln", [Path.Combine(root, "etc/hostname"), Path.Combine(root, "usr/lib/hard")]);
        Tool.Run("ln", ["-s", "usr/bin", Path.Combine(root, "bin")]);
        Tool.Run("ln", ["-s", "/proc/self/mounts", Path.Combine(root, "etc/mtab")]);
        Tool.Run("chmod", ["1777", Path.Combine(root, "tmp")]);
        File.WriteAllText(Path.Combine(root, "usr/bin/su"), "");
        Tool.Run("chmod", ["4755", Path.Combine(root, "usr/bin/su")]);
        if (longNames)
        {
            var deep = Path.Combine(root, string.Join('/', Enumerable.Repeat("a-long-name-of-a-folder", 12)));
            Directory.CreateDirectory(deep);
            File.WriteAllText(Path.Combine(deep, new string('n', 200)), "");
            Tool.Run("ln", [Path.Combine(deep, new string('n', 200)), Path.Combine(root, "usr/lib/hard2")]);
            Tool.Run("ln", ["-s", "/" + new string('t', 250), Path.Combine(root, "usr/lib/soft")]);
        }
    }

    private string Pack(string format, string ending)
    {
        var tar = _folder["a.tar"];
        // Numbers and not names: what the image holds must not depend on this machine's users.
        Tool.Run(
            "tar",
            ["-cf", tar, $"--format={format}", "--numeric-owner", "--sort=name", "root.x86_64", "pkglist.x86_64.txt", "version"],
            _folder["tree"]);
        if (ending == ".tar.zst")
        {
            // As releases are made; -19 on 5 MB of noise would only take time.
            Tool.Run("zstd", ["-q", "--ultra", "-3", "--long=31", tar, "-o", tar + ".zst"]);
            return tar + ".zst";
        }

        Tool.Run("gzip", ["-n", tar]);
        return tar + ".gz";
    }

    // Everything that must be equal; link counts show that hard links are still such.
    private static string Listing(string folder) => Tool.Run(
        "find", [".", "-printf", "%P|%y|%m|%U|%G|%n|%Ts|%l|%s\n"], folder)
        .Split('\n').Where(l => !l.StartsWith('|')).Select(l => l.Contains("|d|", StringComparison.Ordinal) ? l[..l.LastIndexOf('|')] : l)
        .Order(StringComparer.Ordinal).Aggregate(new StringBuilder(), (text, line) => text.AppendLine(line)).ToString();
}
