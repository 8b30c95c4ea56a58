using System.Text;

namespace ArchAzure.IO;

/// <summary>Files that are either whole or not there, also after a power cut.</summary>
internal static class AtomicFile
{
    /// <summary>Writes a file beside its place and renames it.</summary>
    public static void WriteAllText(string path, string text)
    {
        var part = path + ".part";
        using (var file = NewFile.Create(part))
        {
            file.Write(Encoding.UTF8.GetBytes(text));
            file.Flush(flushToDisk: true);
        }

        Move(part, path, overwrite: true);
    }

    /// <summary>Flushes a finished file and gives it its name, replacing what was there.</summary>
    public static void Commit(string part, string path)
    {
        using (var handle = File.OpenHandle(part, FileMode.Open, FileAccess.ReadWrite))
        {
            RandomAccess.FlushToDisk(handle);
        }

        Move(part, path, overwrite: true);
    }

    /// <summary>Gives a file that is on the disk already its name, and makes that durable too.</summary>
    public static void Move(string part, string path, bool overwrite)
    {
        File.Move(part, path, overwrite);
        FlushFolder(Path.GetDirectoryName(path)!);
    }

    /// <summary>
    /// Makes a rename durable: on Linux the folder itself has to be flushed (fsync(2), "Calling fsync() does not necessarily
    /// ensure...").
    /// </summary>
    private static void FlushFolder(string folder)
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        using var handle = Posix.OpenUnlocked(folder);
        if (!handle.IsInvalid)
        {
            _ = Posix.FSync(handle);
        }
    }
}
