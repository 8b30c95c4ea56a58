namespace ArchAzure.IO;

/// <summary>Free space on file systems, and the error for too little of it.</summary>
internal static class FreeSpace
{
    /// <summary>The bytes this user may still write in the file system that holds the folder.</summary>
    public static long In(string folder) => new DriveInfo(folder).AvailableFreeSpace;

    /// <summary>The error for too little room.</summary>
    public static ArchAzureException Missing(string folder, long neededBytes, long freeBytes, string what) =>
        new(
            "NotEnoughSpace",
            ErrorKind.ResourceUnavailable,
            $"'{folder}' has {freeBytes >> 20} MiB free, but {what} needs up to {neededBytes >> 20} MiB. Free some room, or use another "
            + "folder.",
            folder);
}
