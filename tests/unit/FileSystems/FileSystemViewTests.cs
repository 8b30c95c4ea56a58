using System.IO.Enumeration;
using System.Security.Cryptography;
using System.Text;
using ArchAzure.FileSystems;
using Xunit;

namespace ArchAzure.UnitTests.FileSystems;

/// <summary>What mke2fs and mkfs.vfat write is read back file by file.</summary>
public sealed class FileSystemViewTests : IDisposable
{
    private readonly TemporaryDirectory _work = new();

    public void Dispose() => _work.Dispose();

    [Theory]
    [InlineData("ext4")]
    [InlineData("ext4", "-b", "1024")]
    [InlineData("ext4", "-b", "1024", "-O", "meta_bg,^resize_inode", "-g", "1024")]
    [InlineData("ext4", "-b", "4096", "-O", "inline_data", "-I", "512")]
    [InlineData("ext4", "-O", "inline_data", "-I", "256")]
    [InlineData("ext4", "-O", "^64bit,^metadata_csum")]
    [InlineData("ext4", "-O", "^extents,^64bit")]
    [InlineData("ext4", "-O", "sparse_super2,^resize_inode")]
    [InlineData("ext4", "-O", "metadata_csum_seed,large_dir,casefold,encrypt")]
    [InlineData("ext4", "-O", "bigalloc", "-C", "16384")]
    [InlineData("ext3", "-b", "1024")]
    [InlineData("ext2")]
    [InlineData("ext2", "-r", "0", "-I", "128")]
    public void Ext_is_read_as_it_was_written(params string[] options)
    {
        var tree = SampleTree();
        var folder = Directory.CreateDirectory(_work["tree"]).FullName;
        tree.WriteTo(folder);
        ImageTool.Run(
            "mke2fs",
            [
                "-q", "-F", "-d", folder, "-L", "label", "-U", "6f1c1b0e-9b1f-4d52-8a3e-0c6a5d0f7a11", "-t", .. options, _work["image"],
                "64m",
            ]);

        using var stream = File.OpenRead(_work["image"]);
        var image = FileSystemIdentity.Open(new DiskRegion(stream, stream.Length));

        Assert.Equal(
            Expected(folder), Walk.All(image, 10_000, 8 << 20).Where(line => !line.StartsWith("/lost+found", StringComparison.Ordinal)));
        Assert.Equal(
            new FileSystemIdentity(FileSystemKind.Ext, options[0], "6f1c1b0e-9b1f-4d52-8a3e-0c6a5d0f7a11", "label"), image.Identity);
    }

    [Theory]
    [InlineData()]
    [InlineData("--nodesize", "4096", "--mixed")]
    [InlineData("--metadata", "dup", "--nodesize", "65536")]
    [InlineData("--csum", "xxhash")]
    public void Btrfs_is_read_as_it_was_written(params string[] options)
    {
        var folder = Directory.CreateDirectory(_work["tree"]).FullName;
        SampleTree().WriteTo(folder);
        using (var file = File.Create(_work["image"]))
        {
            file.SetLength(256 << 20);
        }

        ImageTool.Run(
            "mkfs.btrfs",
            ["-q", "--rootdir", folder, "-L", "label", "-U", "6f1c1b0e-9b1f-4d52-8a3e-0c6a5d0f7a11", .. options, _work["image"]]);

        using var stream = File.OpenRead(_work["image"]);
        var image = FileSystemIdentity.Open(new DiskRegion(stream, stream.Length));

        Assert.Equal(Expected(folder), Walk.All(image, 10_000, 8 << 20));
        Assert.Equal(
            new FileSystemIdentity(FileSystemKind.Btrfs, "btrfs", "6f1c1b0e-9b1f-4d52-8a3e-0c6a5d0f7a11", "label"), image.Identity);
    }

    [Fact]
    public void Btrfs_node_with_a_wrong_checksum_is_damage()
    {
        using (var file = File.Create(_work["image"]))
        {
            file.SetLength(128 << 20);
        }

        ImageTool.Run("mkfs.btrfs", "-q", _work["image"]);
        var bytes = File.ReadAllBytes(_work["image"]);
        bytes[0x10000 + 0x12B] ^= 1;

        Assert.Contains(
            "checksum", Assert.Throws<ArchAzureException>(() => FileSystemIdentity.Open(Region(bytes))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(12, 4)]
    [InlineData(16, 32)]
    [InlineData(32, 40)]
    public void Fat_is_read_as_it_was_written(int bits, int mebibytes)
    {
        var tree = new Tree();
        tree["/EFI/BOOT/BOOTX64.EFI"] = "short name";
        tree["/EFI/Arch Linux/a rather long name, with blanks and ümläuts.conf"] = "long name";
        tree["/loader/entries/lower.con"] = new string('x', 100_000);
        tree["/empty.txt"] = "";
        for (var i = 0; i < 300; i++)
        {
            tree[$"/many/a file with a long name, number {i}"] = $"{i}";
        }

        var folder = Directory.CreateDirectory(_work["tree"]).FullName;
        tree.WriteTo(folder);
        using (var file = File.Create(_work["image"]))
        {
            file.SetLength(mebibytes << 20);
        }

        ImageTool.Run("mkfs.vfat", "-F", $"{bits}", "-s", bits == 12 ? "4" : "1", "-i", "0badcafe", "-n", "EFI", _work["image"]);
        ImageTool.Run(
            new() { ["LC_ALL"] = "C.UTF-8" }, "mcopy", ["-s", "-i", _work["image"], .. Directory.GetFileSystemEntries(folder), "::/"]);

        using var stream = File.OpenRead(_work["image"]);
        var image = FileSystemIdentity.Open(new DiskRegion(stream, stream.Length));

        Assert.Equal(new FileSystemIdentity(FileSystemKind.Fat, "FAT", "0BAD-CAFE", "EFI"), image.Identity);
        Assert.Equal(Expected(folder).Select(WithoutMode), Walk.All(image).Select(WithoutMode));
        Assert.True(image.FileExists("/efi/boot/bootx64.efi"));
    }

    [Fact]
    public void Links_stay_inside_the_image()
    {
        var tree = new Tree();
        tree["/etc/passwd"] = "the image's";
        tree.Link("/up", "../../../../../../etc/passwd");
        tree.Link("/absolute", "/etc/passwd");
        tree.Link("/directory", "etc/");
        tree.Link("/circle", "circle");
        tree.Link("/a", "b/x");
        tree.Link("/b", "a/y");
        tree.Link("/nowhere", "/does/not/exist");
        using var image = Ext(tree);

        Assert.Equal("the image's", image.FileSystem.ReadText("/up"));
        Assert.Equal("the image's", image.FileSystem.ReadText("/absolute"));
        Assert.Equal("the image's", image.FileSystem.ReadText("/directory/../directory/./passwd"));
        Assert.Equal("/does/not/exist", image.FileSystem.GetStatus("/nowhere", followLinks: false)!.LinkTarget);
        foreach (var path in new[] { "/circle", "/a", "/b/z", "/nowhere", "/etc/passwd/x", "/none" })
        {
            Assert.Null(image.FileSystem.GetStatus(path));
        }
    }

    [Fact]
    public void Sizes_are_bounded_by_the_caller()
    {
        var tree = new Tree();
        tree["/file"] = new string('x', 1000);
        using var image = Ext(tree);

        Assert.Equal("ImageFileTooLarge", Assert.Throws<ArchAzureException>(() => image.FileSystem.ReadAllBytes("/file", 999)).ErrorId);
        Assert.Equal(1000, image.FileSystem.ReadAllBytes("/file", 1000).Length);
        Assert.Equal("ImageFileNotFound", Assert.Throws<ArchAzureException>(() => image.FileSystem.ReadAllBytes("/", 1000)).ErrorId);
    }

    [Fact]
    public void Streams_of_files_seek()
    {
        var content = RandomNumberGenerator.GetBytes(200_000);
        var tree = new Tree();
        tree.File("/file", content);
        using var image = Ext(tree);

        using var stream = image.FileSystem.OpenRead("/file");
        stream.Seek(-1000, SeekOrigin.End);
        var buffer = new byte[500];
        stream.ReadExactly(buffer);

        Assert.Equal(content[^1000..^500], buffer);
        stream.Position = 300_000;
        Assert.Equal(0, stream.Read(buffer));
    }

    [Theory]
    [InlineData(0x60 + 3, 0x80, "ImageNotReadable", "incompat 0x80000000")]
    [InlineData(0x18, 7, "ImageDamaged", "impossible size")]
    [InlineData(0x28, 0, "ImageDamaged", "impossible block groups")]
    public void Unknown_and_impossible_superblocks_are_told(int offset, byte value, string errorId, string message)
    {
        using var image = Ext(new Tree(), "-O", "^metadata_csum");
        var bytes = image.Bytes;
        bytes[1024 + offset] = value;
        if (offset == 0x28)
        {
            bytes.AsSpan(1024 + offset, 4).Clear();
        }

        var error = Assert.Throws<ArchAzureException>(() => FileSystemIdentity.Open(Region(bytes)));

        Assert.Equal(errorId, error.ErrorId);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Superblock_with_a_wrong_checksum_is_damage()
    {
        using var image = Ext(new Tree());
        image.Bytes[1024 + 0x78] ^= 1;

        Assert.Contains(
            "checksum",
            Assert.Throws<ArchAzureException>(() => FileSystemIdentity.Open(Region(image.Bytes))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Special_files_are_told_apart()
    {
        var folder = Directory.CreateDirectory(_work["tree"]).FullName;
        ImageTool.Run("mkfifo", Path.Combine(folder, "pipe"));
        ImageTool.Run("mke2fs", "-q", "-F", "-t", "ext4", "-d", folder, _work["image"], "4m");
        var image = FileSystemIdentity.Open(Region(File.ReadAllBytes(_work["image"])));

        Assert.Equal(FileType.Special, image.GetStatus("/pipe")!.Type);
        Assert.Throws<ArchAzureException>(() => image.OpenRead("/pipe"));
    }

    [Fact]
    public void Swap_and_others_are_recognized()
    {
        File.WriteAllBytes(_work["swap"], new byte[1 << 20]);
        ImageTool.Run("mkswap", "-U", "6f1c1b0e-9b1f-4d52-8a3e-0c6a5d0f7a11", "-L", "swap", _work["swap"]);

        Assert.Equal(
            new FileSystemIdentity(FileSystemKind.Swap, "swap", "6f1c1b0e-9b1f-4d52-8a3e-0c6a5d0f7a11", "swap"),
            FileSystemIdentity.Probe(Region(File.ReadAllBytes(_work["swap"]))));
        Assert.Equal(FileSystemKind.Unknown, FileSystemIdentity.Probe(Region([])).Kind);
        Assert.Equal(FileSystemKind.Unknown, FileSystemIdentity.Probe(Region(new byte[1 << 17])).Kind);
    }

    internal static DiskRegion Region(byte[] bytes) => new(new MemoryStream(bytes), bytes.Length);

    internal static Tree SampleTree()
    {
        var tree = new Tree();
        tree["/empty"] = "";
        tree["/tiny"] = "in the inode";
        tree["/inline"] = new string('i', 130);
        tree["/small"] = new string('s', 3000);
        tree["/usr/lib/deep/er/and/deeper/file"] = "deep";
        tree.File("/large", Enumerable.Range(0, 3_000_000).Select(i => (byte)(i * 31 / 7)).ToArray(), (UnixFileMode)0b111_101_000);
        tree.Link("/fast", "usr/lib");
        tree.Link("/slow", new string('d', 200) + "/" + new string('e', 100));
        tree.Link("/sixty", new string('f', 60));
        tree.Link("/fiftynine", new string('f', 59));
        tree.Folder("/nothing here");
        for (var i = 0; i < 1500; i++)
        {
            tree[$"/many/a file with a rather long name so that a hashed directory comes about {i:D5}"] = $"{i}";
        }

        tree["/ümläut ☃"] = "unicode";
        return tree;
    }

    private static List<string> Expected(string folder)
    {
        var lines = new List<string>();
        var entries = new FileSystemEnumerable<FileSystemInfo>(
            folder,
            (ref FileSystemEntry entry) => entry.ToFileSystemInfo(),
            new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.None })
        {
            ShouldRecursePredicate = (ref FileSystemEntry entry) =>
                entry.IsDirectory && !entry.Attributes.HasFlag(FileAttributes.ReparsePoint),
        };
        foreach (var entry in entries)
        {
            var path = entry.FullName[folder.Length..];
            lines.Add(entry switch
            {
                { LinkTarget: { } target } => $"{path} SymbolicLink 777 {Encoding.UTF8.GetByteCount(target)} {target}",
                DirectoryInfo => $"{path} Directory {Mode(entry)} 0 ",
                FileInfo file =>
                    $"{path} File {Mode(entry)} {file.Length} {Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file.FullName)))}",
                _ => throw new InvalidOperationException(path),
            });
        }

        lines.Sort(StringComparer.Ordinal);
        return lines;
    }

#pragma warning disable CA1416 // These tests need Linux's tools.
    private static string Mode(FileSystemInfo entry) => Convert.ToString((int)entry.UnixFileMode, 8);
#pragma warning restore CA1416

    private static string WithoutMode(string line) =>
        System.Text.RegularExpressions.Regex.Replace(line, " (File|Directory) [0-7]+ ", " $1 ");

    private Image Ext(Tree tree, params string[] options)
    {
        var folder = Directory.CreateDirectory(_work["tree"]).FullName;
        tree.WriteTo(folder);
        ImageTool.Run("mke2fs", ["-q", "-F", "-t", "ext4", "-d", folder, .. options, _work["image"], "4m"]);
        return new Image(File.ReadAllBytes(_work["image"]));
    }

    private sealed class Image(byte[] bytes) : IDisposable
    {
        private readonly MemoryStream _stream = new(bytes);

        public byte[] Bytes { get; } = bytes;

        public IFileSystemView FileSystem => FileSystemIdentity.Open(new DiskRegion(_stream, Bytes.Length));

        public void Dispose() => _stream.Dispose();
    }
}
