using System.Text;
using ArchAzure.FileSystems;
using Xunit;

namespace ArchAzure.UnitTests.FileSystems;

public sealed class InitramfsTests : IDisposable
{
    private static readonly string[] s_names = ["init", "usr", "usr/lib", "usr/lib/udf.ko.zst"];

    private readonly TemporaryDirectory _work = new();

    public void Dispose() => _work.Dispose();

    [Theory]
    [InlineData("none")]
    [InlineData("zstd", "-19", "--ultra", "--long=27")]
    [InlineData("gzip", "-9")]
    public void Names_are_listed(string compression, params string[] options)
    {
        Assert.Equal(s_names, List(Pack(Cpio("main", "/init", "/usr/lib/udf.ko.zst"), compression, options)));
    }

    [Fact]
    public void Early_archives_come_first()
    {
        byte[] early = [.. Cpio("early", "/kernel/x86/microcode/AuthenticAMD.bin"), .. new byte[100]];
        early = early[..(early.Length & ~3)];
        var main = Pack(Cpio("main", "/init", "/usr/lib/udf.ko.zst"), "zstd");

        Assert.Equal(
            [s_names[0], "kernel", "kernel/x86", "kernel/x86/microcode", "kernel/x86/microcode/AuthenticAMD.bin", .. s_names[1..]],
            List([.. early, .. main]));
    }

    /// <summary>As Linux unpacks them: init/initramfs.c.</summary>
    [Fact]
    public void A_later_archive_goes_over_an_earlier_one_and_through_its_links()
    {
        var first = new Tree();
        first.Link("/lib", "usr/lib");
        first.Link("/init", "usr/lib/old");
        first["/usr/lib/old"] = "old";
        first["/etc/kept"] = "kept";
        var second = new Tree();
        second.File("/init", "#!/lib/shell\n"u8.ToArray(), (UnixFileMode)0b111_101_101);
        second["/lib/modules.dep"] = new string('x', 5000);
        second["/etc/more"] = new string('y', 5000);
        second.WriteTo(Directory.CreateDirectory(_work["second"]).FullName);
        ImageTool.Run(
            "bsdtar", "--format", "newc", "-cf", _work["second.cpio"], "-C", _work["second"], "init", "lib/modules.dep", "etc/more");

        var initramfs = Read([.. Cpio("first", first), .. File.ReadAllBytes(_work["second.cpio"])]);

        Assert.Equal(["etc", "init", "lib", "usr"], initramfs.ReadDirectory("/"));
        Assert.Equal(["modules.dep", "old"], initramfs.ReadDirectory("/usr/lib"));
        Assert.Equal(new string('x', 5000), initramfs.ReadText("/lib/modules.dep"));
        Assert.Equal(["kept", "more"], initramfs.ReadDirectory("/etc"));
        Assert.True(initramfs.GetStatus("/init")!.IsExecutable);
        Assert.Equal("usr/lib", initramfs.GetStatus("/lib", followLinks: false)?.LinkTarget);

        // Of other files only the beginning is kept: that is told, not made up.
        Assert.Equal("ImageNotReadable", Assert.Throws<ArchAzureException>(() => initramfs.ReadText("/etc/more")).ErrorId);
    }

    [Theory]
    [InlineData("zstd")]
    [InlineData("gzip")]
    [InlineData("none")]
    public void Padding_behind_it_is_skipped(string compression)
    {
        Assert.Equal(s_names, List([.. Pack(Cpio("main", "/init", "/usr/lib/udf.ko.zst"), compression), .. new byte[1000]]));
    }

    [Theory]
    [InlineData("xz")]
    [InlineData("bzip2")]
    [InlineData("lz4", "-l")]
    public void Other_compressions_are_named(string compression, params string[] options)
    {
        var error = Assert.Throws<ArchAzureException>(() => List(Pack(Cpio("main", "/init"), compression, options)));

        Assert.Equal("ImageNotReadable", error.ErrorId);
        Assert.Contains(compression, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("none")]
    [InlineData("zstd")]
    [InlineData("gzip")]
    public void Cut_short_is_damage(string compression)
    {
        var packed = Pack(Cpio("main", "/init", "/usr/lib/udf.ko.zst"), compression);

        Assert.Equal("ImageDamaged", Assert.Throws<ArchAzureException>(() => List(packed[..(packed.Length / 2)])).ErrorId);
        Assert.Equal("ImageDamaged", Assert.Throws<ArchAzureException>(() => List("neither archive nor compressed"u8.ToArray())).ErrorId);
    }

    [Fact]
    public void Bombs_end_at_the_limit()
    {
        // One file of 3 GiB of zeros packs into some 300 kB.
        string[] fields = [.. Enumerable.Repeat("00000000", 6), "C0000000", .. Enumerable.Repeat("00000000", 4), "00000002", "00000000"];
        var header = Encoding.ASCII.GetBytes($"070701{string.Concat(fields)}a\0");
        using (var file = File.Create(_work["bomb"]))
        {
            file.Write(header);
            file.SetLength((3L << 30) + 112);
        }

        ImageTool.Run("zstd", "-q", "-1", "--rm", _work["bomb"]);

        Assert.Equal("CheckLimitReached", Assert.Throws<ArchAzureException>(() => List(File.ReadAllBytes(_work["bomb.zst"]))).ErrorId);
    }

    /// <summary>All that is in it, in order of the names.</summary>
    internal static IReadOnlyList<string> List(byte[] bytes)
    {
        var initramfs = Read(bytes);
        return [.. Below("")];

        IEnumerable<string> Below(string folder) => initramfs.ReadDirectory("/" + folder).Select(name => folder + name)
            .SelectMany(
                path =>
                    initramfs.GetStatus("/" + path, followLinks: false)!.Type == FileType.Directory
                        ? Below(path + "/").Prepend(path)
                        : [path]);
    }

    private static Initramfs Read(byte[] bytes)
    {
        using var stream = new MemoryStream(bytes);
        var initramfs = new Initramfs(new ReadBudget());
        initramfs.Add(stream);
        return initramfs;
    }

    private byte[] Cpio(string name, params string[] files)
    {
        var tree = new Tree();
        foreach (var file in files)
        {
            tree[file] = "content of " + file;
        }

        return Cpio(name, tree);
    }

    private byte[] Cpio(string name, Tree tree)
    {
        tree.WriteTo(Directory.CreateDirectory(_work[name]).FullName);
        ImageTool.Run("bsdtar", "--format", "newc", "-cf", _work[name + ".cpio"], "-C", _work[name], ".");

        // bsdtar names the top '.', and pads the archive.
        return File.ReadAllBytes(_work[name + ".cpio"]);
    }

    private byte[] Pack(byte[] archive, string compression, params string[] options)
    {
        if (compression == "none")
        {
            return archive;
        }

        File.WriteAllBytes(_work["packed"], archive);
        ImageTool.Run(compression, [.. options, "-q", .. compression == "lz4" ? ["-m"] : Array.Empty<string>(), _work["packed"]]);
        File.Delete(_work["packed"]);
        var file = Directory.GetFiles(_work.Path, "packed*").Single();
        var bytes = File.ReadAllBytes(file);
        File.Delete(file);
        return bytes;
    }
}
