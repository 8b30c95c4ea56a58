using ArchAzure.IO;
using ArchAzure.Vhd;
using Microsoft.Win32.SafeHandles;

namespace ArchAzure.Publishing;

/// <summary>A fixed VHD that is sent to Azure. It must stay as it is until that is done.</summary>
internal sealed class VhdSource : IDisposable
{
    /// <summary>The most that one request may write, in bytes.</summary>
    /// <remarks>https://learn.microsoft.com/rest/api/storageservices/put-page: 4 MiB.</remarks>
    public const int LargestRun = 4 << 20;

    /// <summary>
    /// Zeros between two runs of data that are sent along: a request costs about as much as they do, and they are 2 % of the data at most
    /// in images of this module.
    /// </summary>
    private const int LargestGap = 16 << 10;

    private readonly DateTime _written;
    private List<DataExtent>? _runs;

    private VhdSource(string path, SafeFileHandle handle, VhdFooter footer, string digest)
    {
        (Path, Handle, Footer, Digest) = (path, handle, footer, digest);
        Length = RandomAccess.GetLength(handle);
        _written = File.GetLastWriteTimeUtc(path);
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>For reading.</summary>
    public SafeFileHandle Handle { get; }

    /// <summary>Its footer.</summary>
    public VhdFooter Footer { get; }

    /// <summary>The whole file's length in bytes, with the footer.</summary>
    public long Length { get; }

    /// <summary>The fs-verity digest (SHA-256, 64 hexadecimal digits) of the whole file: what an upload is known by.</summary>
    public string Digest { get; }

    /// <summary>Where the footer goes: the last 512 bytes.</summary>
    public DataExtent FooterRun => new(Length - VhdFooter.Size, VhdFooter.Size);

    /// <summary>Opens a VHD, and computes its digest.</summary>
    /// <exception cref="ArchAzureException">What <see cref="FixedVhd.ReadFooter(string)"/> throws, or <c>VhdSizeNotWhole</c>: Azure takes
    /// whole MiB only.</exception>
    public static async Task<VhdSource> OpenAsync(string path, CancellationToken cancellationToken)
    {
        var footer = FixedVhd.ReadFooter(path);
        if (footer.CurrentSize % (1 << 20) != 0)
        {
            throw new ArchAzureException(
                "VhdSizeNotWhole",
                ErrorKind.InvalidData,
                $"The disk in '{path}' has {footer.CurrentSize} bytes. Azure takes whole MiB only: make it "
                + $"{(footer.CurrentSize >> 20) + 1} MiB, for example by ConvertTo-AzureVhd -Path.",
                path);
        }

        var handle = File.OpenHandle(path);
        try
        {
            return new VhdSource(path, handle, footer, await FsVerity.DigestAsync(path, cancellationToken));
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>All that has to be sent, with the footer.</summary>
    public long DataBytes => Runs.Sum(run => run.Length) + FooterRun.Length;

    /// <summary>
    /// The runs of data on the disk, without the footer, in order; each begins and ends at a multiple of 4096 bytes. All data is read for
    /// them, once.
    /// </summary>
    public IReadOnlyList<DataExtent> Runs =>
        _runs ??= [.. SparseFile.NonZeroRuns(Handle, FooterRun.Offset, LargestGap, LargestRun)];

    /// <summary>Refuses to go on with a file that is no longer the one that was opened.</summary>
    /// <exception cref="ArchAzureException"><c>VhdChanged</c>.</exception>
    public void RequireUnchanged()
    {
        var footer = new byte[VhdFooter.Size];
        if (RandomAccess.GetLength(Handle) == Length && File.GetLastWriteTimeUtc(Path) == _written
            && RandomAccess.Read(Handle, footer, FooterRun.Offset) == footer.Length && VhdFooter.Parse(footer) == Footer)
        {
            return;
        }

        throw new ArchAzureException(
            "VhdChanged",
            ErrorKind.InvalidData,
            $"'{Path}' was changed while it was sent. What is in Azure is not complete and not usable. Wait until nothing writes to "
            + "the file, and run the command again with -Force.",
            Path);
    }

    /// <inheritdoc/>
    public void Dispose() => Handle.Dispose();
}
