using System.Globalization;
using System.Text;
using ArchAzure.IO;

namespace ArchAzure.Builds;

/// <summary>
/// Holds a work directory for one run. The lock is the kernel's (flock, share mode), so it ends with its owner however that dies;
/// the owner's process id in the file is for people.
/// </summary>
internal sealed class BuildLock : IDisposable
{
    private readonly FileStream _file;

    private BuildLock(FileStream file) => _file = file;

    /// <summary>Takes the lock.</summary>
    /// <exception cref="ArchAzureException"><c>WorkDirectoryInUse</c> if another run has it; <c>WorkDirectoryNotOwn</c> if other users
    /// can write to it.</exception>
    public static BuildLock Take(WorkDirectory directory)
    {
        directory.RequireOwn();
        FileStream stream;
        try
        {
            stream = NewFile.OpenOrCreate(directory.LockFile, FileShare.None);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new ArchAzureException(
                "WorkDirectoryNotWritable", ErrorKind.PermissionDenied, $"The lock '{directory.LockFile}' cannot be written: "
                + $"{e.Message.TrimEnd('.')}. It may belong to another user; run as that user or use another work directory.",
                directory.LockFile, e);
        }
        catch (IOException e)
        {
            throw new ArchAzureException(
                "WorkDirectoryInUse",
                ErrorKind.ResourceBusy,
                $"Another run{Owner(directory)} is using '{directory.Path}'. Wait for it to end, end it, or use another work directory.",
                directory.Path,
                e);
        }

        stream.SetLength(0);
        stream.Write(Encoding.ASCII.GetBytes(Environment.ProcessId.ToString(CultureInfo.InvariantCulture) + "\n"));
        stream.Flush();
        return new BuildLock(stream);
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private static string Owner(WorkDirectory directory)
    {
        if (OperatingSystem.IsWindows())
        {
            return "";
        }

        using var handle = Posix.OpenUnlocked(directory.LockFile);
        if (handle.IsInvalid)
        {
            return "";
        }

        Span<byte> text = stackalloc byte[32];
        var length = RandomAccess.Read(handle, text, 0);
        return $" (process {Encoding.ASCII.GetString(text[..length]).Trim()})";
    }
}
