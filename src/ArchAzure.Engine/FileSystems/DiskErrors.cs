namespace ArchAzure.FileSystems;

/// <summary>
/// The two ways in which reading somebody else's disk image ends: it is damaged, or it uses what these readers do not know.
/// </summary>
internal static class DiskErrors
{
    private const string DamagedId = "ImageDamaged";
    private const string UnsupportedId = "ImageNotReadable";

    /// <summary>Whether an error says that something cannot be read, as against a check that costs too much.</summary>
    public static bool IsUnreadable(ArchAzureException error) => error.ErrorId is DamagedId or UnsupportedId;

    /// <summary>A structure contradicts its specification or leads outside the image.</summary>
    public static ArchAzureException Damaged(string what, Exception? inner = null) =>
        new(
            DamagedId,
            ErrorKind.InvalidData,
            $"The image is damaged: {what} Make or copy it again, or repair its file systems.",
            inner: inner);

    /// <summary>The structure may be fine, but cannot be read here.</summary>
    public static ArchAzureException Unsupported(string what) =>
        new(UnsupportedId, ErrorKind.InvalidData, $"The image cannot be looked into: {what} Check it by hand.");

    /// <summary>The structure is larger than anything sensible, and may be made to use up memory.</summary>
    public static ArchAzureException TooLarge(string what) =>
        new("ImageFileTooLarge", ErrorKind.InvalidData, $"The image cannot be looked into: {what}");
}
