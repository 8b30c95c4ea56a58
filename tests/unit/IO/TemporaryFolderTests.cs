using System.Diagnostics;
using ArchAzure.IO;

namespace ArchAzure.UnitTests.IO;

public sealed class TemporaryFolderTests : IDisposable
{
    // No other run's folders begin so.
    private readonly string _prefix = $"archazure-test-{Guid.NewGuid():N}-";

    public void Dispose()
    {
        foreach (var path in Directory.EnumerateDirectories(Path.GetTempPath(), _prefix + "*"))
        {
            Directory.Delete(path, recursive: true);
        }
    }

    [Fact]
    public void Goes_with_its_owner()
    {
        var folder = TemporaryFolder.Create(_prefix);
        File.WriteAllText(Path.Combine(folder.Directory.FullName, "disk"), "");
        folder.Dispose();
        Assert.False(Directory.Exists(folder.Directory.FullName));
    }

    [Fact]
    public void One_that_is_kept_stays_for_good()
    {
        using var folder = TemporaryFolder.Create(_prefix);
        folder.Keep();
        folder.Dispose();
        TemporaryFolder.Create(_prefix).Dispose();
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder.Directory.FullName));
    }

    [Fact]
    public async Task That_of_a_killed_owner_goes_with_the_next_and_that_of_a_living_one_stays()
    {
        var folder = Directory.CreateTempSubdirectory(_prefix).FullName;
        var held = Path.Combine(folder, ".lock");
        await File.WriteAllTextAsync(held, "");
        File.SetLastWriteTimeUtc(held, DateTime.UtcNow.AddMinutes(-1));
        using var owner = Process.Start("flock", ["--no-fork", held, "sleep", "600"]);
        while (await TakenAsync(held) == false)
        {
            Assert.False(owner.HasExited);
        }

        TemporaryFolder.Create(_prefix).Dispose();
        Assert.True(Directory.Exists(folder));

        owner.Kill();
        await owner.WaitForExitAsync();
        TemporaryFolder.Create(_prefix).Dispose();
        Assert.False(Directory.Exists(folder));
    }

    [Fact]
    public void What_a_link_leads_to_and_what_has_no_lock_or_a_new_one_stays()
    {
        using var elsewhere = new TempFolder();
        var held = elsewhere.Write(".lock", "");
        File.SetLastWriteTimeUtc(held, DateTime.UtcNow.AddMinutes(-1));
        var link = Path.Combine(Path.GetTempPath(), _prefix + "link");
        Directory.CreateSymbolicLink(link, elsewhere.Path);
        var without = Directory.CreateTempSubdirectory(_prefix).FullName;
        var young = Directory.CreateTempSubdirectory(_prefix).FullName;
        File.WriteAllText(Path.Combine(young, ".lock"), "");

        TemporaryFolder.Create(_prefix).Dispose();

        Assert.True(File.Exists(held));
        Assert.True(Directory.Exists(without));
        Assert.True(Directory.Exists(young));
        File.Delete(link);
    }

    private static async Task<bool> TakenAsync(string path)
    {
        await Task.Delay(20);
        try
        {
            new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None).Dispose();
            return false;
        }
        catch (IOException)
        {
            return true;
        }
    }
}
