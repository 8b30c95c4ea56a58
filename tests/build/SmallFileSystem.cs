using System.Globalization;

namespace ArchAzure.BuildTests;

/// <summary>A tmpfs of a few MiB in place of a work directory, with the disk, the state and the settings that were there.</summary>
internal sealed class SmallFileSystem : IAsyncDisposable
{
    private readonly string _folder;

    private SmallFileSystem(string folder) => _folder = folder;

    public static async Task<SmallFileSystem> MountAsync(string folder, string size)
    {
        Assert.True(
            Environment.IsPrivilegedProcess, "A small file system is a tmpfs, and mounting that takes root. Run the build tests as root.");
        using var aside = new TempFolder();
        var names = new[]
        {
            "settings.env", "build.json", "disk.img", "target-3.tar.zst", "target-4.tar.zst",
        }.Where(name => File.Exists(Path.Combine(folder, name)));
        foreach (var name in names)
        {
            await Tool.RunAsync("cp", "--sparse=always", Path.Combine(folder, name), aside.Path);
        }

        await Tool.RunAsync("mount", "-t", "tmpfs", "-o", $"size={size},mode=0755", "tmpfs", folder);
        var mounted = new SmallFileSystem(folder);
        await Tool.RunAsync("cp", "--recursive", "--sparse=always", $"{aside.Path}/.", folder);
        return mounted;
    }

    /// <summary>Leaves so many MiB free.</summary>
    public async Task LeaveAsync(int freeMiB)
    {
        var used = (await Tool.RunAsync("df", "--block-size=1K", "--output=used", _folder)).Split('\n')[1].Trim();
        await Tool.RunAsync("mount", "-o", $"remount,size={long.Parse(used, CultureInfo.InvariantCulture) + (freeMiB * 1024L)}k", _folder);
    }

    /// <summary>Room is made, as by the user who was told that it lacks.</summary>
    public Task GrowAsync() => Tool.RunAsync("mount", "-o", "remount,size=8g", _folder);

    public async ValueTask DisposeAsync() => await Tool.RunAsync("umount", _folder);
}
