namespace ArchAzure.FileSystems;

/// <summary>What a Linux kernel image for x86 says of itself.</summary>
internal static class KernelFile
{
    private const int HeaderMagicOffset = 0x202;

    /// <summary>Whether the image is a bzImage whose kernel runs in 64-bit mode.</summary>
    /// <param name="stream">The image.</param>
    /// <remarks>Source: Linux kernel documentation, arch/x86/boot, field xloadflags: XLF_KERNEL_64 (protocol 2.12 and later).</remarks>
    public static bool Is64Bit(Stream stream)
    {
        var setup = new byte[1024];
        var length = stream.ReadAtLeast(setup, setup.Length, throwOnEndOfStream: false);
        return length == setup.Length && setup.At(HeaderMagicOffset, 4).SequenceEqual("HdrS"u8) && (setup.U16(0x236) & 1) != 0;
    }

    /// <summary>The release that the image was built as (<c>uname -r</c>), or null if it is no bzImage.</summary>
    /// <param name="stream">The image, seekable.</param>
    /// <remarks>Source: Linux kernel documentation, arch/x86/boot ("The Linux/x86 Boot Protocol"), field kernel_version.</remarks>
    public static string? ReadRelease(Stream stream)
    {
        const int KernelVersionOffset = 0x20E;
        const int SetupOffset = 0x200;

        // The string lies in the setup code, of which the boot protocol knows at most 64 sectors.
        var setup = new byte[64 * 512];
        var length = stream.ReadAtLeast(setup, setup.Length, throwOnEndOfStream: false);
        if (length < SetupOffset + 0x20 || !setup.At(HeaderMagicOffset, 4).SequenceEqual("HdrS"u8))
        {
            return null;
        }

        var position = SetupOffset + setup.U16(KernelVersionOffset);
        if (position == SetupOffset || position >= length)
        {
            return null;
        }

        var version = setup.At(position, Math.Min(length - position, 256)).Text();
        var release = version.Split(' ')[0];
        return release.Length == 0 || release.Contains('/', StringComparison.Ordinal) ? null : release;
    }
}
