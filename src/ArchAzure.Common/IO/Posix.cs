using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace ArchAzure.IO;

/// <summary>The few system calls .NET has no wrapper for. All are optional: on Windows nothing here is called.</summary>
internal static class Posix
{
    public const int SeekData = 3;
    public const int SeekHole = 4;
    public const int Enxio = 6;
    private const int OReadOnly = 0;
    private const uint SyncFileRangeWrite = 2;
    private const int AtCurrentFolder = -100;
    private const int AtNoFollow = 0x100;
    private const uint StatXType = 0x1;
    private const uint StatXUser = 0x8;

    // S_IFMT, S_IFREG, S_IFDIR, S_IFLNK.
    private const int FileType = 0xF000;
    private const int FileTypeRegular = 0x8000;
    private const int FileTypeFolder = 0x4000;
    private const int FileTypeLink = 0xA000;

    // _IOW(0x94, 9, int) of linux/fs.h.
    private const ulong Ficlone = 0x4004_9409;

    /// <summary>The user and group that files of this process belong to; null where there is no such thing (Windows).</summary>
    public static (uint User, uint Group)? EffectiveOwner => OperatingSystem.IsWindows() ? null : (GetEUid(), GetEGid());

    /// <summary>The further groups of this process.</summary>
    public static IReadOnlyList<uint> Groups
    {
        get
        {
            var groups = new uint[Math.Max(GetGroups(0, []), 0)];
            return [.. groups.Take(GetGroups(groups.Length, groups))];
        }
    }

    /// <summary>Opens a file or folder for reading without the advisory lock .NET would take.</summary>
    public static SafeFileHandle OpenUnlocked(string path) => Open(Encoding.UTF8.GetBytes(path + '\0'), OReadOnly);

    public static bool TryReflink(SafeFileHandle source, SafeFileHandle destination) => Ioctl(destination, Ficlone, source) == 0;

    /// <summary>
    /// Has Linux copy a part of a file into another one: copy_file_range(2). It ends early where the kernel or a file system cannot.
    /// </summary>
    /// <returns>The bytes that were copied.</returns>
    public static long CopyRange(SafeFileHandle source, long sourceOffset, SafeFileHandle destination, long destinationOffset, long length)
    {
        var (from, to, done) = (sourceOffset, destinationOffset, 0L);
        while (done < length && CopyFileRange(source, ref from, destination, ref to, (nint)(length - done), 0) is > 0 and var count)
        {
            done += count;
        }

        return done;
    }

    /// <summary>Has Linux begin to write a part of a file to the disk. A hint: whether it does so does not matter here.</summary>
    public static void StartWriting(SafeFileHandle file, long offset, long length) =>
        _ = SyncFileRange(file, offset, length, SyncFileRangeWrite);

    /// <summary>Who a file or folder belongs to, not following a link; null where the system does not tell it this way.</summary>
    public static uint? Owner(string path) => Status(path, StatXUser) is { } status ? BitConverter.ToUInt32(status, 20) : null;

    /// <summary>
    /// Whether something is a pipe, a socket or a device, not following a link; false where the system does not tell it this way.
    /// </summary>
    public static bool IsSpecial(string path) =>
        Status(path, StatXType) is { } status
            && (BitConverter.ToUInt16(status, 28) & FileType) is not (FileTypeRegular or FileTypeFolder or FileTypeLink);

    /// <summary>struct statx, the same on every architecture: stx_uid is the 32 bits at byte 20, stx_mode the 16 at byte 28.</summary>
    private static byte[]? Status(string path, uint mask)
    {
        if (!OperatingSystem.IsLinux())
        {
            return null;
        }

        try
        {
            var status = new byte[256];
            return StatX(AtCurrentFolder, Encoding.UTF8.GetBytes(path + '\0'), AtNoFollow, mask, status) == 0 ? status : null;
        }
        catch (EntryPointNotFoundException)
        {
            // A C library older than the call.
            return null;
        }
    }

    [DllImport("libc", EntryPoint = "lseek", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    public static extern long Seek(SafeFileHandle fd, long offset, int whence);

    [DllImport("libc", EntryPoint = "fsync", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    public static extern int FSync(SafeFileHandle fd);

    [DllImport("libc", EntryPoint = "copy_file_range")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern nint CopyFileRange(
        SafeFileHandle source, ref long sourceOffset, SafeFileHandle destination, ref long destinationOffset, nint length, uint flags);

    [DllImport("libc", EntryPoint = "sync_file_range")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int SyncFileRange(SafeFileHandle fd, long offset, long length, uint flags);

    [DllImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Ioctl(SafeFileHandle fd, ulong request, SafeFileHandle source);

    [DllImport("libc", EntryPoint = "open", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern SafeFileHandle Open(byte[] path, int flags);

    [DllImport("libc", EntryPoint = "statx", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int StatX(int folder, byte[] path, int flags, uint mask, [Out] byte[] status);

    [DllImport("libc", EntryPoint = "geteuid")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern uint GetEUid();

    [DllImport("libc", EntryPoint = "getegid")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern uint GetEGid();

    [DllImport("libc", EntryPoint = "getgroups")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int GetGroups(int size, [Out] uint[] list);
}
