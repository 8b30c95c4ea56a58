using ArchAzure.Vhd;

namespace ArchAzure.PublishTests;

/// <summary>A small fixed VHD: random data in some places, holes and written zeros around them.</summary>
internal sealed class TestVhd : IDisposable
{
    private readonly TempFolder _folder = new();

    /// <param name="mebibytes">The disk's size in MiB.</param>
    /// <param name="seed">Of the data.</param>
    /// <param name="runs">Where data is, in bytes; 6 MiB at the start and some small places if not given.</param>
    public TestVhd(int mebibytes = 48, int seed = 1, params (long Offset, int Length)[] runs)
    {
        var random = new Random(seed);
        var size = (long)mebibytes << 20;
        using var file = File.Create(Path);
        file.SetLength(size);
        if (runs.Length == 0)
        {
            runs = [(0, 6 << 20), (9 << 20, 1), (20 << 20, 70_000), (21 << 20, 5000), (size - 4096, 4096)];
        }

        // Zeros that are data for the file system, in the middle of nothing.
        file.Position = 30 << 20;
        file.Write(new byte[1 << 20]);
        foreach (var (offset, length) in runs)
        {
            var data = new byte[length];
            random.NextBytes(data);
            data[0] |= 1;
            file.Position = offset;
            file.Write(data);
            NonZeroBytes += ((offset + length + 4095) / 4096 * 4096) - (offset / 4096 * 4096);
        }

        file.Position = size;
        file.Write(VhdFooter.ForFixedDisk(size, Guid.NewGuid(), DateTimeOffset.UtcNow).ToBytes());
    }

    public string Path => _folder["disk.vhd"];

    /// <summary>The blocks of 4096 bytes that hold data, in bytes.</summary>
    public long NonZeroBytes { get; }

    public long Length => new FileInfo(Path).Length;

    public void Dispose() => _folder.Dispose();
}
