using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using ArchAzure.IO;

namespace ArchAzure.UnitTests.IO;

public sealed class ChecksumFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string Sums => Path.Combine(_folder.Path, ChecksumFile.Name);

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
        Add((name, Hash("content")));

        Assert.True(ChecksumFile.Holds(_folder.Path, name, Hash("content")));
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
        Assert.False(ChecksumFile.Holds(_folder.Path, "a.vhd", first));
    }

    [Fact]
    public void The_file_goes_with_its_last_line()
    {
        Add(("a", Hash("1")), ("b", Hash("2")));

        ChecksumFile.Remove(_folder.Path, ["a"]);
        Assert.Equal([$"{Hash("2")}  b"], File.ReadAllLines(Sums));
        ChecksumFile.Remove(_folder.Path, ["b"]);
        Assert.False(File.Exists(Sums));
        ChecksumFile.Remove(Path.Combine(_folder.Path, "gone"), ["b"]);
    }

    private static string Hash(string text) => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(text))).ToLowerInvariant();

    private void Add(params (string Name, string Hash)[] files) =>
        ChecksumFile.Add(_folder.Path, files.ToDictionary(file => file.Name, file => file.Hash, StringComparer.Ordinal));

    private int Check()
    {
        using var process = Process.Start(
            new ProcessStartInfo("sha256sum", ["--check", "--strict", "--status", ChecksumFile.Name]) { WorkingDirectory = _folder.Path })!;
        process.WaitForExit();
        return process.ExitCode;
    }
}
