using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using ArchAzure.IO;

namespace ArchAzure.UnitTests.IO;

public sealed class ChecksumFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string Sums => _folder["SHA256SUMS"];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("image.vhd")]
    [InlineData("two words.vhd")]
    [InlineData("-c")]
    [InlineData("back\\slash")]
    [InlineData("line\nbreak")]
    [InlineData("Größe'\"$(x)")]
    public void Sha256sum_itself_finds_each_name_and_notices_each_change(string name)
    {
        _folder.Write(name, "content");
        ChecksumFile.Sha256.Add(_folder[name], Hash("content"));

        Assert.True(ChecksumFile.Sha256.Holds(_folder[name], Hash("content")));
        Assert.Equal(0, Check());
        _folder.Write(name, "Content");
        Assert.Equal(1, Check());
    }

    [Fact]
    public void A_new_hash_replaces_the_old_one_and_other_files_keep_theirs()
    {
        var (first, second, other) = (Hash("1"), Hash("2"), Hash("3"));
        Add(("a.vhd", first), ("b.vhd", other), ("xa.vhd", other));

        Add(("a.vhd", second));

        Assert.Equal([$"{other}  b.vhd", $"{other}  xa.vhd", $"{second}  a.vhd"], File.ReadAllLines(Sums));
        Assert.False(ChecksumFile.Sha256.Holds(_folder["a.vhd"], first));
        Assert.True(ChecksumFile.Sha256.Holds(_folder["a.vhd"]));
        Assert.False(ChecksumFile.Sha256.Holds(_folder["c.vhd"]));
    }

    [Fact]
    public void The_file_goes_with_its_last_line()
    {
        Add(("a", Hash("1")), ("b", Hash("2")));

        ChecksumFile.Sha256.Remove(_folder["a"]);
        Assert.Equal([$"{Hash("2")}  b"], File.ReadAllLines(Sums));
        ChecksumFile.Sha256.Remove(_folder["b"]);
        Assert.False(File.Exists(Sums));
        ChecksumFile.Sha256.Remove(_folder["gone/b"]);
    }

    [Fact]
    public void An_fs_verity_digest_has_a_file_of_its_own_in_the_form_of_fsverity()
    {
        ChecksumFile.FsVerity.Add(_folder["a b.vhd"], Hash("1"));

        Assert.Equal($"sha256:{Hash("1")} a b.vhd\n", File.ReadAllText(_folder["FSVERITYSUMS"]));
        Assert.True(ChecksumFile.FsVerity.Holds(_folder["a b.vhd"], Hash("1")));
        Assert.False(ChecksumFile.Sha256.Holds(_folder["a b.vhd"]));
        ChecksumFile.FsVerity.Remove(_folder["a b.vhd"]);
        Assert.False(File.Exists(_folder["FSVERITYSUMS"]));
    }

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private void Add(params (string Name, string Hash)[] files) =>
        Array.ForEach(files, file => ChecksumFile.Sha256.Add(_folder[file.Name], file.Hash));

    private int Check()
    {
        using var process = Process.Start(
            new ProcessStartInfo("sha256sum", ["--check", "--strict", "--status", "SHA256SUMS"]) { WorkingDirectory = _folder.Path })!;
        process.WaitForExit();
        return process.ExitCode;
    }
}
