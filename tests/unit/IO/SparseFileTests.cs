using System.Security.Cryptography;
using ArchAzure.IO;

namespace ArchAzure.UnitTests.IO;

public sealed class SparseFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData((3 << 20) + 5)]
    [InlineData(5 << 20, 0)]
    [InlineData(5 << 20, 2 << 20)]
    [InlineData((5 << 20) + 511, 0, 70_000, 5 << 20)]
    public async Task The_checksum_is_that_of_all_bytes_holes_included(int length, params int[] written)
    {
        var path = Path.Combine(_folder.Path, "file");
        using (var handle = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write))
        {
            RandomAccess.SetLength(handle, length);
            foreach (var offset in written)
            {
                RandomAccess.Write(handle, "some data"u8, offset);
            }
        }

        Assert.Equal(
            Convert.ToHexString(SHA256.HashData(await File.ReadAllBytesAsync(path))).ToLowerInvariant(),
            await SparseFile.Sha256Async(path, null, default));
    }
}
