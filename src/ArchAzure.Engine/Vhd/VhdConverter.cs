using ArchAzure.Disks;
using ArchAzure.IO;

namespace ArchAzure.Vhd;

/// <summary>How a raw image becomes a VHD.</summary>
internal sealed record VhdConversion
{
    /// <summary>The raw disk image.</summary>
    public required string SourcePath { get; init; }

    /// <summary>The VHD to make.</summary>
    public required string DestinationPath { get; init; }

    /// <summary>Turn the file itself into the VHD (a rename and a footer) instead of copying it.</summary>
    public bool InPlace { get; init; }

    /// <summary>Replace an existing destination.</summary>
    public bool Force { get; init; }

    /// <summary>Write the SHA-256 of the VHD to <c>SHA256SUMS</c>.</summary>
    public bool Checksum { get; init; }

    /// <summary>Compress the VHD too.</summary>
    public bool Compress { get; init; }

    /// <summary>The VHD's identity.</summary>
    public Guid UniqueId { get; init; } = Guid.NewGuid();

    /// <summary>The time in the footer.</summary>
    public DateTimeOffset Timestamp { get; init; } = DateTimeOffset.UtcNow;
}

/// <summary>Makes fixed VHDs of raw disk images.</summary>
internal static class VhdConverter
{
    /// <summary>The unit Azure wants disks to be whole multiples of, in bytes.</summary>
    public const long MiB = 1 << 20;

    /// <summary>The largest OS disk Azure takes (generation 2), in bytes.</summary>
    public const long MaximumBytes = 4L << 40;

    private const string Activity = "ConvertTo-AzureVhd";

    private static ReadOnlySpan<byte> QcowMagic => [(byte)'Q', (byte)'F', (byte)'I', 0xFB];

    /// <summary>
    /// Rounds the image up to a whole MiB, gives it a footer and puts it in place under its new name in one rename.
    /// Without <see cref="VhdConversion.InPlace"/> the source is left as it was.
    /// </summary>
    /// <returns>The footer written.</returns>
    /// <exception cref="ArchAzureException">The source is missing, empty, too large or a VHD already; the destination exists or has no
    /// room.</exception>
    public static async Task<VhdFooter> ConvertAsync(VhdConversion conversion, IReporter reporter, CancellationToken cancellationToken)
    {
        var source = Path.GetFullPath(conversion.SourcePath);
        var destination = Path.GetFullPath(conversion.DestinationPath);
        var length = CheckSource(source);
        CheckDestination(source, destination, conversion.Force);
        var footer = VhdFooter.ForFixedDisk((length + MiB - 1) / MiB * MiB, conversion.UniqueId, conversion.Timestamp);
        if (conversion.InPlace)
        {
            if (Path.GetDirectoryName(source) != Path.GetDirectoryName(destination))
            {
                // A rename to another file system would copy the whole disk, holes and all.
                throw new ArchAzureException(
                    "InPlaceElsewhere", ErrorKind.InvalidInput, "-InPlace keeps the file in its folder, but the destination is "
                    + $"'{destination}'. Leave out -InPlace to copy it there.", destination);
            }

            using (var file = new FileStream(source, FileMode.Open, FileAccess.ReadWrite, FileShare.None, bufferSize: 0))
            {
                Finish(file, footer, reporter);
            }

            Put(source, destination, conversion.Force);
        }
        else
        {
            await CopyAsync(source, length, destination, conversion.Force, footer, reporter, cancellationToken);
        }

        if (conversion.Checksum)
        {
            await VhdFiles.AddChecksumAsync(destination, Activity, reporter, cancellationToken);
        }

        if (conversion.Compress)
        {
            await VhdFiles.AddCompressedAsync(destination, Activity, reporter, cancellationToken);
        }

        return footer;
    }

    private static async Task CopyAsync(
        string source, long length, string destination, bool force, VhdFooter footer, IReporter reporter,
        CancellationToken cancellationToken)
    {
        CheckRoom(source, destination);
        var part = VhdFiles.ImagePart(destination);
        try
        {
            using (var from = File.OpenHandle(source, options: FileOptions.SequentialScan))
            using (var file = NewFile.Create(part))
            {
                var to = file.SafeFileHandle;
                if (!SparseFile.TryReflink(from, to))
                {
                    RandomAccess.SetLength(to, footer.CurrentSize);
                    var progress = new ByteProgress(
                        reporter, Activity, $"copying {Path.GetFileName(source)}", SparseFile.AllocatedBytes(source));
                    await SparseFile.CopyAsync(from, to, 0, length, progress.Report, cancellationToken);
                }

                Finish(file, footer, reporter);
            }

            Put(part, destination, force);
        }
        catch
        {
            File.Delete(part);
            throw;
        }
    }

    /// <summary>Gives the finished VHD its name.</summary>
    private static void Put(string image, string destination, bool force)
    {
        VhdFiles.RemoveAllAbout(destination);
        AtomicFile.Move(image, destination, force);
    }

    /// <summary>
    /// Rounds the open file up to the footer's size, has a GPT's backup at its end, appends the footer and flushes all to the disk.
    /// </summary>
    private static void Finish(FileStream file, VhdFooter footer, IReporter reporter)
    {
        RandomAccess.SetLength(file.SafeFileHandle, footer.CurrentSize);
        if (GuidPartitionTable.MoveBackupToEnd(file, footer.CurrentSize) is { } problem)
        {
            reporter.Warning(
                $"The backup of the disk's partition table (GPT) stays where it is: {problem} Test-AzureVhd tells whether the VHD can be "
                + "used; gdisk repairs the table (commands r, then b or e).");
        }

        RandomAccess.Write(file.SafeFileHandle, footer.ToBytes(), footer.CurrentSize);
        RandomAccess.FlushToDisk(file.SafeFileHandle);
    }

    private static long CheckSource(string source)
    {
        if (!File.Exists(source))
        {
            throw new ArchAzureException(
                "RawImageNotFound", ErrorKind.NotFound, $"There is no file '{source}'. Name an existing raw disk image.", source);
        }

        using var handle = File.OpenHandle(source);
        var length = RandomAccess.GetLength(handle);
        if (length == 0)
        {
            throw new ArchAzureException("RawImageEmpty", ErrorKind.InvalidData, $"'{source}' is empty. Name a raw disk image.", source);
        }

        if (length > MaximumBytes + VhdFooter.Size)
        {
            throw new ArchAzureException(
                "RawImageTooLarge", ErrorKind.InvalidData, $"'{source}' is {length} bytes; Azure takes OS disks up to 4 TiB "
                + $"({MaximumBytes} bytes). Make a smaller disk.", source);
        }

        Span<byte> bytes = stackalloc byte[VhdFooter.Size];
        if (RandomAccess.Read(handle, bytes, 0) >= 8
            && (VhdFooter.HasCookie(bytes) || bytes.StartsWith("vhdxfile"u8) || bytes.StartsWith(QcowMagic)))
        {
            throw NotRaw(source, "a dynamic VHD, a VHDX or a qcow2 image");
        }

        if (length > VhdFooter.Size
            && RandomAccess.Read(handle, bytes, length - VhdFooter.Size) == VhdFooter.Size
            && VhdFooter.HasCookie(bytes))
        {
            throw NotRaw(source, "a VHD already: it ends in a VHD footer");
        }

        return length;
    }

    private static ArchAzureException NotRaw(string source, string what) =>
        new(
            "NotARawImage",
            ErrorKind.InvalidData,
            $"'{source}' is not a raw disk image but {what}. Convert it first (qemu-img convert -O raw), or use the VHD as it is.",
            source);

    private static void CheckDestination(string source, string destination, bool force)
    {
        if (source == destination)
        {
            throw new ArchAzureException(
                "SamePath", ErrorKind.InvalidInput, $"Source and destination are both '{source}'. Name another destination.", destination);
        }

        if (Directory.Exists(destination))
        {
            throw new ArchAzureException(
                "DestinationIsFolder",
                ErrorKind.InvalidInput,
                $"The destination '{destination}' is a folder. Name a file in it.",
                destination);
        }

        if (!force && VhdFiles.Products(destination).FirstOrDefault(File.Exists) is { } existing)
        {
            throw new ArchAzureException(
                "DestinationExists",
                ErrorKind.InvalidInput,
                $"'{existing}' exists already. Use -Force to replace it, or name another with -Destination.",
                existing);
        }

        if (!Directory.Exists(Path.GetDirectoryName(destination)))
        {
            throw new ArchAzureException(
                "DestinationFolderNotFound",
                ErrorKind.NotFound,
                $"The folder of '{destination}' does not exist. Make it, or name another destination.",
                destination);
        }
    }

    private static void CheckRoom(string source, string destination)
    {
        var needed = SparseFile.AllocatedBytes(source);
        var free = FreeSpace.In(Path.GetDirectoryName(destination)!);
        if (free < needed)
        {
            throw FreeSpace.Missing(Path.GetDirectoryName(destination)!, needed, free, "the VHD");
        }
    }
}
