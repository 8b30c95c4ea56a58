using ArchAzure.Builds;

namespace ArchAzure.BuildTests;

/// <summary>A work directory whose file system tells of no holes: ramfs, which knows neither SEEK_HOLE nor SEEK_DATA.</summary>
public sealed class NoSparseFilesTests
{
    [Fact]
    public async Task A_file_system_without_sparse_files_is_refused_by_name()
    {
        using var folder = new TempFolder();
        await Tool.RunAsync("mount", "-t", "ramfs", "ramfs", folder.Path);
        try
        {
            var error = Assert.Throws<ArchAzureException>(() => new WorkDirectory(folder.Path).Prepare());
            Assert.Equal("NoSparseFiles", error.ErrorId);
            Assert.Contains(folder.Path, error.Message, StringComparison.Ordinal);
            Assert.Contains("ext4", error.Message, StringComparison.Ordinal);
            Assert.Empty(Directory.EnumerateFileSystemEntries(folder.Path));
        }
        finally
        {
            await Tool.RunAsync("umount", folder.Path);
        }
    }
}
