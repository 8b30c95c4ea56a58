using ArchAzure.Builds;

namespace ArchAzure.TestSupport;

/// <summary>What the snapshots of a finished step 4 hold together: each file as the last of them has it.</summary>
internal static class TargetFiles
{
    /// <summary>The paths, without a slash at their beginning.</summary>
    public static async Task<IReadOnlyList<string>> NamesAsync(WorkDirectory directory) =>
        [.. (await Task.WhenAll(directory.Snapshots(4).Select(NamesAsync))).SelectMany(names => names).Distinct(StringComparer.Ordinal)];

    /// <summary>A file's content.</summary>
    public static async Task<string> ReadAsync(WorkDirectory directory, string path) =>
        await Tool.RunAsync("tar", "--extract", "--to-stdout", "--file", await LastAsync(directory, path), "./" + path);

    /// <summary>A file as <c>ls -ln</c> shows it.</summary>
    public static async Task<string> LineAsync(WorkDirectory directory, string path) =>
        (await Tool.RunAsync("tar", "--list", "--verbose", "--numeric-owner", "--file", await LastAsync(directory, path), "./" + path))
            .TrimEnd('\n');

    private static async Task<string> LastAsync(WorkDirectory directory, string path)
    {
        foreach (var snapshot in directory.Snapshots(4).Reverse())
        {
            if ((await NamesAsync(snapshot)).Contains(path, StringComparer.Ordinal))
            {
                return snapshot;
            }
        }

        throw new FileNotFoundException($"No snapshot in '{directory.Path}' has '{path}'.", path);
    }

    private static async Task<IReadOnlyList<string>> NamesAsync(string snapshot) =>
        [
            .. (await Tool.RunAsync("tar", "--list", "--file", snapshot)).Split('\n')
                .Select(name => name.StartsWith("./", StringComparison.Ordinal) ? name[2..] : name),
        ];
}
