using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>Walks directories of an image.</summary>
internal static class FileTree
{
    // Damaged directories can contain themselves.
    private const int MaximumDepth = 32;

    // What a path takes besides its characters.
    private const int CostOfPath = 64;

    /// <summary>All files below a directory that are no directories, with what they are; links are not followed.</summary>
    public static IEnumerable<(string Path, FileStatus Status)> Files(IFileSystemView fileSystem, string directory)
    {
        var pending = new Stack<(string Path, int Depth)>();
        pending.Push((directory, 0));
        while (pending.TryPop(out var current))
        {
            foreach (var name in fileSystem.ReadDirectory(current.Path))
            {
                if (current.Depth > MaximumDepth)
                {
                    throw DiskErrors.Damaged($"{directory} holds too deep directories.");
                }

                // Paths are kept, here or by who gets them.
                var path = $"{current.Path}/{name}";
                fileSystem.Budget.Spend(ReadCost.Memory, CostOfPath + (2 * path.Length));
                if (fileSystem.GetStatus(path, followLinks: false) is not { } status)
                {
                    continue;
                }

                if (status.Type == FileType.Directory)
                {
                    pending.Push((path, current.Depth + 1));
                }
                else
                {
                    yield return (path, status);
                }
            }
        }
    }
}
