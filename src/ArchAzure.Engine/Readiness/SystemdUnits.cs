using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>The systemd units of an image, as systemd finds them at boot.</summary>
/// <remarks>Source: systemd.unit(5), "Unit File Load Path".</remarks>
internal static class SystemdUnits
{
    private static readonly string[] s_directories =
    [
        "/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
    ];

    /// <summary>Whether there is such a unit and nothing masks it.</summary>
    public static bool Exists(IFileSystemView root, string unit)
    {
        foreach (var directory in s_directories)
        {
            var path = $"{directory}/{unit}";
            if (root.GetStatus(path, followLinks: false) is not { } link)
            {
                continue;
            }

            // The first directory that has the name decides; a link to /dev/null or an empty file masks the unit.
            return link.LinkTarget != "/dev/null" && root.GetStatus(path) is { Type: FileType.File, Size: > 0 };
        }

        return false;
    }

    /// <summary>The link that starts a unit at boot, or null if none does (or the unit is missing or masked).</summary>
    public static string? EnabledBy(IFileSystemView root, params string[] units)
    {
        foreach (var unit in units.Where(unit => Exists(root, unit)))
        {
            foreach (var directory in s_directories)
            {
                var link = root.ReadDirectory(directory)
                    .Where(
                        name => name.EndsWith(".wants", StringComparison.Ordinal) || name.EndsWith(".requires", StringComparison.Ordinal))
                    .Select(name => $"{directory}/{name}/{unit}")
                    .FirstOrDefault(path => root.GetStatus(path, followLinks: false) is not null);
                if (link is not null)
                {
                    return link;
                }
            }
        }

        return null;
    }
}
