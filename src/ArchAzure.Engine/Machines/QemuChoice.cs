using ArchAzure.Builds;
using ArchAzure.SimulatedAzure;

namespace ArchAzure.Machines;

/// <summary>Which QEMU runs a boot test.</summary>
public enum QemuSource
{
    /// <summary>The host's where there is one that is new enough (without KVM: 8.1), else the builder's.</summary>
    Auto,

    /// <summary>The one that is installed on the host.</summary>
    Host,

    /// <summary>One in a container, made from the build's builder image.</summary>
    Builder,
}

/// <summary>Finds the QEMU for a VHD.</summary>
internal static class QemuChoice
{
    /// <summary>Chooses a launcher; the image of the builder's QEMU is made where it is missing.</summary>
    /// <exception cref="ArchAzureException">There is none; the message tells of both where both were looked for.</exception>
    public static Task<IQemuLauncher> FindAsync(
        QemuSource source, string vhdPath, string? workDirectory, IReporter reporter, CancellationToken cancellationToken) =>
        FindAsync(
            source, new HostQemuLauncher(), new WorkDirectory(workDirectory ?? Path.GetDirectoryName(Path.GetFullPath(vhdPath))!),
            CreateAsync, reporter, cancellationToken);

    /// <summary>As above, with other ways to run QEMU.</summary>
    internal static async Task<IQemuLauncher> FindAsync(
        QemuSource source, IQemuLauncher host, WorkDirectory directory,
        Func<ArchBuild, IReporter, CancellationToken, Task<IQemuLauncher>> createAsync,
        IReporter reporter, CancellationToken cancellationToken)
    {
        if (source == QemuSource.Builder)
        {
            return await createAsync(BuildIn(directory), reporter, cancellationToken);
        }

        string reason;
        ArchAzureException? none = null;
        try
        {
            var tools = await host.FindToolsAsync(cancellationToken);
            if (source == QemuSource.Host || !tools.MayPanicSoundKernels)
            {
                return host;
            }

            reason = $"QEMU {tools.Version} on this machine, without KVM, lets a sound kernel panic now and then";
        }
        catch (ArchAzureException e) when (source == QemuSource.Auto && e.ErrorId is "QemuNotFound" or "QemuTooOld")
        {
            reason = $"This machine has no QEMU to use ({e.ErrorId})";
            none = e;
        }

        try
        {
            var build = BuildIn(directory);
            reporter.Verbose($"{reason}: one in a container is taken.");
            return await createAsync(build, reporter, cancellationToken);
        }
        catch (ArchAzureException second)
        {
            if (none is null)
            {
                reporter.Warning($"{reason} (fixed in 8.1), and QEMU in a container cannot be used here: {second.Message}");
                return host;
            }

            throw new ArchAzureException(
                none.ErrorId, second.ErrorId == "BuildNotFound" ? none.Kind : second.Kind,
                $"{none.Message} QEMU in a container cannot be used here: {second.Message}", none.Target, second);
        }
    }

    private static async Task<IQemuLauncher> CreateAsync(ArchBuild build, IReporter reporter, CancellationToken cancellationToken) =>
        await ContainerQemuLauncher.CreateAsync(build, reporter, cancellationToken);

    private static ArchBuild BuildIn(WorkDirectory directory) =>
        BuildStore.TryLoad(directory) ?? throw new ArchAzureException("BuildNotFound", ErrorKind.NotFound,
            $"There is no build in '{directory.Path}' (no build.json) whose builder image could bring QEMU. Name the work directory of the "
            + $"VHD's build with -WorkDirectory, or install QEMU on this machine.",
            directory.Path);
}
