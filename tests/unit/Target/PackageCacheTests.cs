using ArchAzure.Target;

namespace ArchAzure.UnitTests.Target;

public sealed class PackageCacheTests
{
    [Fact]
    public void A_shared_folder_that_cannot_be_made_is_told_with_its_setting()
    {
        using var folder = new TempFolder();
        var file = folder.Write("file", "no folder");
        var error = Assert.Throws<ArchAzureException>(() => new PackageCache(folder["cache"], $"{file}/packages").Open());
        Assert.Equal("PackageCacheRefused", error.ErrorId);
        Assert.Contains($"'{file}/packages'", error.Message, StringComparison.Ordinal);
        Assert.Contains("PACKAGE_CACHE", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_builder_writes_its_own_packages_and_only_reads_the_shared_ones()
    {
        using var folder = new TempFolder();
        var mounts = new PackageCache(folder["cache"], folder["a/packages"]).Open();
        Assert.Equal([(folder["cache"], false), (folder["a/packages"], true)], mounts.Select(mount => (mount.HostPath, mount.ReadOnly)));
        Assert.All(mounts, mount => Assert.True(Directory.Exists(mount.HostPath)));
    }
}
