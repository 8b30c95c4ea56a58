using ArchAzure.Containers;

namespace ArchAzure.Disks;

/// <summary>Sets the times in an ext4 file system that mke2fs -d takes from the tree and no call can set there, such as that of the last change of status (ctime).</summary>
public static class InodeTimes
{
    private static readonly string[] s_times = ["atime", "ctime", "crtime"];

    /// <summary>Gives all inodes in use one time of access, of the change of status and of creation. That of the last modification stays.</summary>
    /// <param name="builder">Where dumpe2fs and debugfs are run.</param>
    /// <param name="fileSystem">The file system as both take it, in the builder: a path, <c>?offset=</c> and bytes.</param>
    /// <param name="epochSeconds">The time, in seconds since 1970.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="ArchAzureException"><c>InodeTimesNotSet</c> or <c>CommandFailed</c>.</exception>
    public static async Task SetAsync(Builder builder, string fileSystem, string epochSeconds, CancellationToken cancellationToken)
    {
        var listing = new InodeListing();
        await builder.RunAsync(["dumpe2fs", fileSystem], new CommandOptions { LogOutput = false, OnLine = (line, _) => listing.Add(line) }, cancellationToken);

        List<string> complaints = [];
        await builder.RunAsync(
            ["debugfs", "-w", "-f", "-", fileSystem],
            new CommandOptions
            {
                LogOutput = false,
                OnLine = (line, error) =>
                {
                    // Its exit status is 0 whatever happens: what goes wrong is told on standard error, after a line with its version.
                    if (error && !line.StartsWith("debugfs ", StringComparison.Ordinal))
                    {
                        complaints.Add(line);
                    }
                },
                Input = async (stream, token) =>
                {
                    await using var writer = new StreamWriter(stream, leaveOpen: true) { NewLine = "\n" };
                    foreach (var inode in listing.InUse())
                    {
                        foreach (var time in s_times)
                        {
                            await writer.WriteLineAsync($"set_inode_field <{inode}> {time} @{epochSeconds}".AsMemory(), token);

                            // Nanoseconds.
                            await writer.WriteLineAsync($"set_inode_field <{inode}> {time}_extra 0".AsMemory(), token);
                        }
                    }
                },
            },
            cancellationToken);
        if (complaints.Count > 0)
        {
            throw new ArchAzureException(
                "InodeTimesNotSet", ErrorKind.CommandFailed, $"debugfs could not set the times in the root file system: {string.Join(' ', complaints.Take(3))} Take another SNAPSHOT, or build with REPRODUCIBLE=false.", fileSystem);
        }
    }
}
