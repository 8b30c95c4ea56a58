using Microsoft.Win32.SafeHandles;

namespace ArchAzure.Vhd;

/// <summary>A fixed VHD on disk: opening it checks that it is one, whole and undamaged.</summary>
internal static class FixedVhd
{
    private static ReadOnlySpan<byte> VhdxSignature => "vhdxfile"u8;

    /// <summary>Reads and checks the footer of a fixed VHD.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ArchAzureException">
    /// <c>VhdNotFound</c>, <c>NotAVhd</c>, <c>VhdxNotSupported</c>, <c>VhdNotFixed</c>, <c>VhdTruncated</c>, <c>VhdAppendedTo</c> or
    /// <c>DamagedVhdFooter</c>.
    /// </exception>
    public static VhdFooter ReadFooter(string path)
    {
        if (!File.Exists(path))
        {
            throw new ArchAzureException("VhdNotFound", ErrorKind.NotFound, $"There is no file '{path}'. Name an existing VHD.", path);
        }

        using var handle = File.OpenHandle(path);
        return ReadFooter(handle, path);
    }

    private static VhdFooter ReadFooter(SafeFileHandle handle, string path)
    {
        var length = RandomAccess.GetLength(handle);
        Span<byte> head = stackalloc byte[VhdFooter.Size];
        head = head[..RandomAccess.Read(handle, head, 0)];
        if (head.StartsWith(VhdxSignature))
        {
            throw new ArchAzureException(
                "VhdxNotSupported",
                ErrorKind.InvalidData,
                $"'{path}' is a VHDX. Azure takes fixed VHDs only. Convert it: qemu-img convert -f vhdx -O raw IN OUT.raw, then "
                + "ConvertTo-AzureVhd -Path OUT.raw.",
                path);
        }

        Span<byte> tail = stackalloc byte[VhdFooter.Size];
        if (length < VhdFooter.Size
            || RandomAccess.Read(handle, tail, length - VhdFooter.Size) != VhdFooter.Size
            || !VhdFooter.HasCookie(tail))
        {
            if (AppendedTo(handle, length) is { } end)
            {
                throw new ArchAzureException(
                    "VhdAppendedTo",
                    ErrorKind.InvalidData,
                    $"'{path}' is a fixed VHD of {end} bytes, and {length - end} bytes follow its footer. Cut them off "
                    + $"(truncate --size={end}), or copy or make it again.",
                    path);
            }

            // Dynamic disks carry a copy of the footer at their start: the end is what got lost.
            throw VhdFooter.HasCookie(head)
                ? new ArchAzureException(
                    "VhdTruncated",
                    ErrorKind.InvalidData,
                    $"'{path}' begins as a dynamic VHD, but its footer at the end is missing: the file is cut short. Copy or "
                    + "make it again.",
                    path)
                : new ArchAzureException(
                    "NotAVhd",
                    ErrorKind.InvalidData,
                    $"'{path}' is not a VHD: its last 512 bytes are no VHD footer. For a raw disk image run ConvertTo-AzureVhd -Path "
                    + "first; if it was a VHD, it is cut short.",
                    path);
        }

        VhdFooter footer;
        try
        {
            footer = VhdFooter.Parse(tail);
        }
        catch (ArchAzureException e)
        {
            throw new ArchAzureException(e.ErrorId, e.Kind, $"'{path}': {e.Message} Make or copy the VHD again.", path, e);
        }

        if (footer.DiskType != VhdDiskType.Fixed)
        {
            throw new ArchAzureException(
                "VhdNotFixed",
                ErrorKind.InvalidData,
                $"'{path}' is a {(footer.DiskType == VhdDiskType.Dynamic ? "dynamic" : "differencing")} VHD. Azure takes fixed VHDs only. "
                + "Convert it: qemu-img convert -f vpc -O raw IN OUT.raw, then ConvertTo-AzureVhd -Path OUT.raw.",
                path);
        }

        if (footer.CurrentSize != length - VhdFooter.Size)
        {
            throw new ArchAzureException(
                "VhdTruncated",
                ErrorKind.InvalidData,
                $"'{path}' should hold {footer.CurrentSize} bytes and a footer, but is {length} bytes long: it was cut or appended to. "
                + "Copy or make it again.",
                path);
        }

        return footer;
    }

    /// <summary>Where a fixed VHD ends to which something was appended, or null if it is none such; looks at the last MiB.</summary>
    private static long? AppendedTo(SafeFileHandle handle, long length)
    {
        const int searched = 1 << 20;
        var bytes = new byte[Math.Min(searched, length)];
        var start = length - bytes.Length;
        var count = RandomAccess.Read(handle, bytes, start);
        for (int at; (at = bytes.AsSpan(0, count).LastIndexOf(VhdFooter.Cookie)) >= 0; count = at)
        {
            if (at + VhdFooter.Size <= bytes.Length && IsFooterAt(bytes.AsSpan(at, VhdFooter.Size), start + at))
            {
                return start + at + VhdFooter.Size;
            }
        }

        return null;
    }

    private static bool IsFooterAt(ReadOnlySpan<byte> bytes, long position)
    {
        try
        {
            return VhdFooter.Parse(bytes) is { DiskType: VhdDiskType.Fixed } footer && footer.CurrentSize == position;
        }
        catch (ArchAzureException)
        {
            return false;
        }
    }
}
