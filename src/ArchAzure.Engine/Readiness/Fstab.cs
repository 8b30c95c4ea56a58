using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>A line of fstab.</summary>
internal sealed record FstabEntry(string Source, string MountPoint, string Type, IReadOnlyList<string> Options);

/// <summary>The image's fstab.</summary>
/// <remarks>Source: fstab(5).</remarks>
internal static class Fstab
{
    public static IReadOnlyList<FstabEntry> Read(IFileSystemView root)
    {
        var entries = new List<FstabEntry>();
        foreach (var line in root.ReadLines("/etc/fstab"))
        {
            var fields = line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length >= 3 && !fields[0].StartsWith('#'))
            {
                entries.Add(new(fields[0], fields[1], fields[2], fields.Length > 3 ? fields[3].Split(',') : []));
            }
        }

        return entries;
    }
}
