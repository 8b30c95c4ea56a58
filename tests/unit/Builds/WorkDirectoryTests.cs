using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.IO;

namespace ArchAzure.UnitTests.Builds;

/// <summary>What somebody else planted in a work directory, or may plant, harms nobody.</summary>
public sealed class WorkDirectoryTests : IDisposable
{
    private const int OtherUser = 47013;
    private readonly TempFolder _folder = new();

    private WorkDirectory Directory => new(_folder["work"]);

    public WorkDirectoryTests() => System.IO.Directory.CreateDirectory(_folder["work"]);

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(".")]
    [InlineData("download")]
    [InlineData("cache")]
    [InlineData("logs")]
    public void A_folder_that_everyone_may_write_to_is_refused(string name)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        var path = Path.GetFullPath(name, _folder["work"]);
        System.IO.Directory.CreateDirectory(path);

        // The sticky bit keeps others from removing files, not from planting them.
        File.SetUnixFileMode(path, (UnixFileMode)0b1_111_111_111);
        var error = Assert.Throws<ArchAzureException>(() => BuildLock.Take(Directory));
        Assert.Equal("WorkDirectoryNotOwn", error.ErrorId);
        Assert.Contains($"'{path}' can be written by every user", error.Message);
        Assert.Contains("chmod o-w", error.Message);
        Assert.False(File.Exists(Directory.LockFile));
    }

    [Theory]
    [InlineData(".")]
    [InlineData("build.json")]
    [InlineData("cache")]
    [InlineData("build.lock")]
    public void What_belongs_to_another_user_is_refused(string name)
    {
        if (!OperatingSystem.IsLinux() || !Environment.IsPrivilegedProcess)
        {
            return;
        }

        var victim = _folder.Write("victim", "mine");
        var path = Path.GetFullPath(name, _folder["work"]);
        if (name != ".")
        {
            File.CreateSymbolicLink(path, victim);
        }

        Tool.Run("chown", ["--no-dereference", $"{OtherUser}:{OtherUser}", path]);
        var error = Assert.Throws<ArchAzureException>(() => BuildLock.Take(Directory));
        Assert.Equal("WorkDirectoryNotOwn", error.ErrorId);
        Assert.Contains($"'{path}' belongs to the user with the number {OtherUser}", error.Message);
        Assert.Equal("mine", File.ReadAllText(victim));
    }

    [Fact]
    public void Links_at_the_names_of_new_files_are_replaced_and_never_followed()
    {
        var victim = _folder.Write("victim", "mine");
        foreach (var name in new[] { "build.json.part", "logs/1.log", "build.lock", "SHA256SUMS.part" })
        {
            System.IO.Directory.CreateDirectory(Path.GetDirectoryName(_folder["work/" + name])!);
            File.CreateSymbolicLink(_folder["work/" + name], victim);
        }

        using (BuildLock.Take(Directory))
        {
            BuildStore.Save(Directory, new ArchBuild { Id = Guid.NewGuid() });
            using var log = new StepLog(_folder["work/logs/1.log"], new RecordingReporter());
            log.Write("text");
            ChecksumFile.Sha256.Add(_folder["work/a.vhd"], new('0', 64));
        }

        Assert.Equal("mine", File.ReadAllText(victim));
        Assert.All(
            new[] { "build.json", "logs/1.log", "build.lock", "SHA256SUMS" },
            name => Assert.Null(new FileInfo(_folder["work/" + name]).LinkTarget));
    }
}
