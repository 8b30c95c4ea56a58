using System.Globalization;
using ArchAzure.Containers;

namespace ArchAzure.Target;

/// <summary>The target's tree in a builder, at <c>/target</c>, and what can be done with it.</summary>
internal sealed class TargetTree(Builder builder)
{
    /// <summary>Where the tree is, in the builder.</summary>
    public const string Root = TargetChroot.Tree;

    /// <summary>The program that <see cref="ChrootAsync"/> runs commands with.</summary>
    public const string ChrootCommand = "chroot";

    /// <summary>What tar notes of the tree by <see cref="MarkAsync"/>, in the builder.</summary>
    private const string MarkPath = "/run/target-mark";

    // Numeric owners, ACLs, capabilities; in name order, so that equal trees make equal archives.
    private static readonly string[] s_tarFidelity = ["--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*"];

    /// <summary>Empties the folders in memory, which are no part of the tree: programs of an earlier step may have left files.</summary>
    public Task BeginAsync(CancellationToken cancellationToken) =>
        builder.RunAsync(
            [
                "bash", "-euc",
                "find \"$1\"/{run,tmp,dev/shm} -xdev -mindepth 1 -delete; "

                // Where /etc/resolv.conf of an image with systemd-resolved leads to.
                + "for name in stub-resolv.conf resolv.conf; do "
                + "install -D --mode=0644 /etc/resolv.conf \"$1/run/systemd/resolve/$name\"; done",
                "bash", TargetChroot.Root,
            ],
            null,
            cancellationToken);

    /// <summary>Unpacks a snapshot into the tree: the first into the empty one, a later one over those before it.</summary>
    /// <remarks>GNU tar manual, "Using tar to Perform Incremental Dumps": what has been removed since goes.</remarks>
    public Task RestoreAsync(string path, bool isFirst, CancellationToken cancellationToken) =>
        builder.RunAsync(
            [
                "tar", "--extract", "--file", path, "--zstd", "--same-permissions", .. s_tarFidelity,
                .. isFirst ? Array.Empty<string>() : ["--listed-incremental=/dev/null"], "--directory", Root,
            ],
            null,
            cancellationToken);

    /// <summary>Notes what the tree is like now: a snapshot that is not whole holds what has changed since.</summary>
    public Task MarkAsync(CancellationToken cancellationToken) =>
        builder.RunAsync(
            [
                "bash", "-euc", "rm -rf \"$1\"; exec tar --create --file /dev/null --listed-incremental \"$1\" --directory \"$2\" .",
                "bash", MarkPath, Root,
            ],
            null,
            cancellationToken);

    /// <summary>Writes the tree to a snapshot's file: all of it, or what has changed since <see cref="MarkAsync"/>.</summary>
    public Task SaveAsync(string path, bool isWhole, CancellationToken cancellationToken) =>
        builder.RunAsync(
            [
                "tar", "--create", "--file", path, "--use-compress-program", "zstd --fast=3 -T0", "--sort=name", .. s_tarFidelity,
                .. isWhole ? Array.Empty<string>() : ["--listed-incremental", MarkPath], "--warning=no-file-ignored", "--directory", Root,
                ".",
            ],
            null,
            cancellationToken);

    /// <summary>Whether the file system that holds the tree has less than 256 MiB left. False where nobody can say.</summary>
    public async Task<bool> IsFullAsync(CancellationToken cancellationToken)
    {
        try
        {
            var free = await builder.RunAsync(["stat", "--file-system", "--format=%a %S", Root], null, cancellationToken);
            return free.Output.Split(' ') is [var blocks, var size]
                && long.Parse(blocks, CultureInfo.InvariantCulture) * long.Parse(size, CultureInfo.InvariantCulture) < 256 << 20;
        }
        catch (ArchAzureException)
        {
            return false;
        }
    }

    /// <summary>Lays a layer's files and templates.</summary>
    public Task LayFilesAsync(Layer layer, bool early, IReadOnlyDictionary<string, string> values, CancellationToken cancellationToken) =>
        layer.HasFiles(early)
            ? UnpackAsync((stream, token) => layer.WriteFilesAsync(stream, early, values, token), cancellationToken)
            : Task.CompletedTask;

    /// <summary>Runs a command with the target as its root.</summary>
    public Task<CommandResult> ChrootAsync(IReadOnlyList<string> command, CommandOptions? options, CancellationToken cancellationToken) =>
        builder.RunAsync([ChrootCommand, TargetChroot.Root, .. command], options, cancellationToken);

    /// <summary>Runs a script of the host in the target; with bash.</summary>
    public async Task<CommandResult> RunScriptAsync(
        string scriptPath, IReadOnlyDictionary<string, string> environment, CommandOptions? options, CancellationToken cancellationToken)
    {
        // A file, not standard input: a command of the script that reads its input would swallow the rest. /run is no part of the tree.
        const string script = "/run/archazure-script";
        await builder.RunAsync(
            ["install", "--mode=0755", "/dev/stdin", TargetChroot.Root + script], CommandOptions.FromFile(scriptPath), cancellationToken);
        return await ChrootAsync(
            ["env", .. environment.Select(pair => $"{pair.Key}={pair.Value}"), "bash", script], options, cancellationToken);
    }

    /// <summary>Enables and disables a layer's services.</summary>
    public async Task SetServicesAsync(Layer layer, CancellationToken cancellationToken)
    {
        if (layer.EnabledServices.Count > 0)
        {
            await ChrootAsync(["systemctl", "enable", .. layer.EnabledServices], null, cancellationToken);
        }

        if (layer.DisabledServices.Count > 0)
        {
            await ChrootAsync(["systemctl", "disable", .. layer.DisabledServices], null, cancellationToken);
        }
    }

    /// <summary>Reads what pacman has installed in the tree.</summary>
    /// <exception cref="ArchAzureException"><c>PackageDatabaseDamaged</c>.</exception>
    public async Task<IReadOnlyList<InstalledPackage>> ReadPackagesAsync(CancellationToken cancellationToken)
    {
        // By line: the whole of a large image is more than a command's kept output. 2,000 packages have 30,000 lines, 1 MiB.
        var lines = new BoundedLines(1_000_000, 32 << 20);
        await builder.RunAsync(
            [
                "find", Root + "/var/lib/pacman/local", "-mindepth", "2", "-maxdepth", "2", "-name", "desc",
                "-exec", "sed", "--separate", "--quiet", $"/^%\\({string.Join("\\|", InstalledPackage.Fields)}\\)%$/,/^$/p", "{}", "+",
            ],
            new CommandOptions
            {
                LogOutput = false,
                OnLine = (line, error) =>
                {
                    if (!error)
                    {
                        lines.Add(line);
                    }
                },
            },
            cancellationToken);
        return lines.IsFull
            ? throw new ArchAzureException(
                "PackageDatabaseDamaged",
                ErrorKind.InvalidData,
                $"The target's package database is larger than {lines.Limits}. Make the target again: Install-ArchBase -Force.")
            : InstalledPackage.Parse(string.Join('\n', lines));
    }

    /// <summary>Unpacks a tar stream into the tree; folders that are there keep their modes, links to folders stay links.</summary>
    private Task UnpackAsync(Func<Stream, CancellationToken, Task> write, CancellationToken cancellationToken) =>
        builder.RunAsync(
            [
                "tar", "--extract", "--file=-", "--numeric-owner", "--same-permissions", "--no-overwrite-dir", "--keep-directory-symlink",
                "--directory", Root,
            ],
            new CommandOptions { Input = write },
            cancellationToken);
}
