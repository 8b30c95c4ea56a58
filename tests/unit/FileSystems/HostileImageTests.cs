using System.Diagnostics;
using ArchAzure.FileSystems;
using ArchAzure.Readiness;
using ArchAzure.UnitTests.Fuzz;
using ArchAzure.UnitTests.Readiness;
using CsCheck;
using Xunit;

namespace ArchAzure.UnitTests.FileSystems;

/// <summary>
/// Whatever a file holds, the readers end soon and within their budget, with an answer or with <see cref="ArchAzureException"/>.
/// CsCheck prints the seed of a failure;
/// CsCheck_Seed repeats it. ARCHAZURE_FUZZ_SECONDS makes as many as come in that time.
/// </summary>
public sealed class HostileImageTests
{
    // Far above what any of them takes, also on a busy machine; a loop without end takes longer.
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    // All that one input has allocated, garbage included. Each has a budget of its own, which pays for all that grows with it.
    private const long MostAllocated = 512 << 20;

    private static readonly Lazy<byte[]> s_ext4 = new(() => Make(work => ImageTool.Run(
        "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum", "-d", work["tree"], work["image"],
        "2m")));
    private static readonly Lazy<byte[]> s_ext4Inline = new(() => Make(work => ImageTool.Run(
        "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "inline_data,^metadata_csum", "-I", "256", "-d",
        work["tree"], work["image"], "2m")));
    private static readonly Lazy<byte[]> s_ext2 = new(
        () => Make(work => ImageTool.Run("mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024", "-d", work["tree"], work["image"], "2m")));
    private static readonly Lazy<byte[]> s_fat12 = new(() => MakeFat(12, 1));
    private static readonly Lazy<byte[]> s_fat32 = new(() => MakeFat(32, 34));

    // Checksums would refuse nearly every change; of this kind they are not checked.
    private static readonly Lazy<byte[]> s_btrfs = new(() => Make(work =>
    {
        using (var file = File.Create(work["image"]))
        {
            file.SetLength(17 << 20);
        }

        ImageTool.Run("mkfs.btrfs", "-q", "--mixed", "--csum", "xxhash", "--rootdir", work["tree"], work["image"]);
    }));

    private static readonly Lazy<byte[]> s_cpio = new(
        () => Make(work => ImageTool.Run("bsdtar", "--format", "newc", "-cf", work["image"], "-C", work["tree"], ".")));
    private static readonly Lazy<byte[]> s_cpioZstd = new(
        () =>
            Make(
                work =>
                {
                    ImageTool.Run("bsdtar", "--format", "newc", "-cf", work["plain"], "-C", work["tree"], ".");
                    ImageTool.Run("zstd", "-q", work["plain"], "-o", work["image"]);
                }));
    private static readonly Lazy<byte[]> s_cpioGzip = new(
        () => Make(work => { ImageTool.Run("bsdtar", "--format", "newc", "-czf", work["image"], "-C", work["tree"], "."); }));

    private static readonly string[] s_words =
    [
        "menuentry", "submenu", "set", "default=", "linux", "initrd", "if", "fi", "{", "}", "'", "\"", "$", "${x}", "x=$x$x", "\\", ";",
        "#", "\n", " ", "0>1", "--id", "a",
    ];

    private static readonly Gen<byte[]> s_noise = Gen.Byte.Array[0, 8192];

    [Fact]
    public void Noise_is_no_image() => s_noise.Sample(
        bytes =>
        {
            Survive(() => GuidPartitionTableTests.Read(bytes));
            Survive(() => Walk.All(FileSystemIdentity.Open(FileSystemViewTests.Region(bytes))));
            Survive(() => InitramfsTests.List(bytes));
            Survive(() => KernelFile.ReadRelease(new MemoryStream(bytes)));
        },
        iter: 300, time: FuzzRun.Seconds);

    [Theory]
    [InlineData("ext4", 300_000)]
    [InlineData("ext4 inline", 300_000)]
    [InlineData("ext2", 300_000)]
    [InlineData("fat12", 40_000)]
    [InlineData("fat32", 1 << 20)]
    [InlineData("btrfs", 17 << 20)]
    public void Altered_file_systems_are_read_or_refused(string kind, int within) => Altered(Image(kind), within).Sample(
        bytes => Survive(() => Walk.All(FileSystemIdentity.Open(FileSystemViewTests.Region(bytes)))),
        iter: kind is "fat32" or "btrfs" ? 60 : 300, time: FuzzRun.Seconds,
        threads: 1);

    [Theory]
    [InlineData("cpio")]
    [InlineData("cpio zstd")]
    [InlineData("cpio gzip")]
    public void Altered_initramfs_is_read_or_refused(string kind) => Altered(Image(kind), Image(kind).Length).Sample(
        bytes => Survive(() => InitramfsTests.List(bytes)),
        iter: 500, time: FuzzRun.Seconds,
        threads: 1);

    [Fact]
    public void Altered_index_of_modules_is_read_or_refused()
    {
        var index = ModuleIndex.Write(ReadyImage.InitramfsModules);
        Assert.Equal(
            ReadyImage.InitramfsModules.Select(module => module + ":").Order(StringComparer.Ordinal),
            KernelModules.IndexValues(index, new()).Order(StringComparer.Ordinal));
        Altered(index, index.Length)
            .Sample(bytes => Survive(() => KernelModules.IndexValues(bytes, new())), iter: 2000, time: FuzzRun.Seconds, threads: 1);
    }

    [Fact]
    public void Altered_partition_tables_are_read_or_refused() => Altered(GuidPartitionTableTests.Sample()[..(1 << 20)], 4096).Sample(
        bytes => Survive(() =>
        {
            foreach (var partition in GuidPartitionTableTests.Read(bytes).Partitions)
            {
                Assert.True(partition.Offset > 0 && partition.Length > 0 && partition.Offset + partition.Length <= bytes.Length);
            }
        }),
        iter: 500, time: FuzzRun.Seconds,
        threads: 1);

    [Fact]
    public void Directories_in_a_circle_end()
    {
        // The root's entry for `sub` leads back to the root.
        var tree = new Tree();
        tree["/sub/file"] = "x";
        var bytes = Make(
            work => ImageTool.Run("mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024", "-d", work["tree"], work["image"], "1m"), tree);
        var entry = bytes.AsSpan().IndexOf("sub\0"u8) - 8;
        BitConverter.TryWriteBytes(bytes.AsSpan(entry), 2);

        var image = FileSystemIdentity.Open(FileSystemViewTests.Region(bytes));

        Assert.True(image.DirectoryExists("/sub/sub/sub/sub/sub"));
        Survive(() => FileTree.Files(image, "/").Count());
        Assert.Throws<ArchAzureException>(() => FileTree.Files(image, "/").Count());
    }

    [Fact]
    public void Cluster_chains_in_a_circle_end()
    {
        var tree = new Tree();
        tree["/dir/file"] = "x";
        var bytes = MakeFat(12, 1, tree);
        var image = FileSystemIdentity.Open(FileSystemViewTests.Region(bytes));
        Assert.True(image.FileExists("/dir/file"));

        // Every cluster of the first FAT, and so also the directory's, leads to itself.
        var fat = BitConverter.ToUInt16(bytes, 14) * 512;
        for (var cluster = 2; cluster < 20; cluster += 2)
        {
            var pair = cluster | ((cluster + 1) << 12);
            bytes[fat + (cluster * 3 / 2)] = (byte)pair;
            bytes[fat + (cluster * 3 / 2) + 1] = (byte)(pair >> 8);
            bytes[fat + (cluster * 3 / 2) + 2] = (byte)(pair >> 16);
        }

        // The directory's entries after its first cluster would repeat for ever.
        var full = FileSystemIdentity.Open(FileSystemViewTests.Region(bytes));
        Assert.Throws<ArchAzureException>(() => full.ReadDirectory("/dir"));
    }

    [Fact]
    public void Grub_configuration_of_any_text_is_read() => Gen.Int[0, s_words.Length - 1].Select(i => s_words[i])
        .Array[0, 300]
        .Sample(
            words => Survive(() => GrubConfiguration.ReadDefaultEntry(string.Join(words.Length % 2 == 0 ? " " : "", words), [], new())),
            iter: 2000,
            time: FuzzRun.Seconds);

    private static byte[] Image(string kind) => kind switch
    {
        "ext4" => s_ext4.Value,
        "ext4 inline" => s_ext4Inline.Value,
        "ext2" => s_ext2.Value,
        "fat12" => s_fat12.Value,
        "fat32" => s_fat32.Value,
        "btrfs" => s_btrfs.Value,
        "cpio" => s_cpio.Value,
        "cpio zstd" => s_cpioZstd.Value,
        _ => s_cpioGzip.Value,
    };

    /// <summary>Copies of an image with a few of the bytes changed that are not zero, or near such: where its structures are.</summary>
    private static Gen<byte[]> Altered(byte[] image, int within)
    {
        var places = Enumerable.Range(0, Math.Min(within, image.Length))
            .Where(i => image[i] != 0 || (i > 0 && image[i - 1] != 0))
            .ToArray();
        var value = Gen.OneOf(Gen.Byte, Gen.Int[0, 4].Select(i => new byte[] { 0, 1, 0x7F, 0x80, 0xFF }[i]));
        return Gen.Select(Gen.Int[0, places.Length - 1], value).Array[1, 12].Select(changes =>
        {
            var copy = image.ToArray();
            foreach (var (place, content) in changes)
            {
                copy[places[place]] = content;
            }

            return copy;
        });
    }

    private static void Survive(Action read)
    {
        var watch = Stopwatch.StartNew();
        var before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            read();
        }
        catch (ArchAzureException e)
        {
            Assert.False(string.IsNullOrWhiteSpace(e.Message));
        }

        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(allocated < MostAllocated, $"It allocated {allocated} bytes.");
        Assert.True(watch.Elapsed < s_limit, $"It took {watch.Elapsed}.");
    }

    private static void Survive<T>(Func<T> read) => Survive(() => { read(); });

    private static byte[] Make(Action<TemporaryDirectory> make, Tree? tree = null)
    {
        using var work = new TemporaryDirectory();
        (tree ?? Small()).WriteTo(Directory.CreateDirectory(work["tree"]).FullName);
        make(work);
        return File.ReadAllBytes(work["image"]);
    }

    private static byte[] MakeFat(int bits, int mebibytes, Tree? tree = null) => Make(
        work =>
        {
            using (var file = File.Create(work["image"]))
            {
                file.SetLength(mebibytes << 20);
            }

            ImageTool.Run("mkfs.vfat", "-F", $"{bits}", "-s", "1", work["image"]);
            ImageTool.Run("mcopy", ["-s", "-i", work["image"], .. Directory.GetFileSystemEntries(work["tree"]), "::/"]);
        },
        tree ?? Small(links: false));

    private static Tree Small(bool links = true)
    {
        var tree = new Tree();
        tree["/etc/a file with a long name"] = new string('a', 5000);
        tree["/etc/inline"] = new string('b', 120);
        tree.File("/usr/lib/large", Enumerable.Range(0, 300_000).Select(i => (byte)(i * 7)).ToArray());
        for (var i = 0; i < 40; i++)
        {
            tree[$"/many/number {i} of many names"] = $"{i}";
        }

        if (links)
        {
            tree.Link("/lib", "usr/lib");
            tree.Link("/far", new string('f', 100) + "/../lib");
        }

        return tree;
    }
}
