using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.Disks;
using ArchAzure.IO;

namespace ArchAzure.Steps;

/// <summary>Step 2, New-ArchDisk: the raw sparse image with its partition table, and every identity the later steps write down.</summary>
internal sealed class DiskStep : BuildStep
{
    /// <summary>What a build of Arch takes in the work directory, in bytes: package cache, two snapshots, the VHD's data.</summary>
    private const long BuildNeeds = 4L << 30;

    public override string Name => StepName.Disk;

    public override Task<bool> ProductExistsAsync(StepContext context, CancellationToken cancellationToken) =>
        Task.FromResult(new FileInfo(context.Directory.Disk) is { Exists: true } file && file.Length == context.Build.Disk!.SizeMiB << 20);

    public override async Task<ArchBuild> RunAsync(StepContext context, CancellationToken cancellationToken)
    {
        var disk = PartitionPlan.Create(
            context.Settings.DiskSizeMiB,
            context.Settings.BootStart,
            context.Settings.RootFileSystem,
            context.Reproducibility?.Identities("disk") ?? Guid.NewGuid);
        var needed = Math.Min(BuildNeeds, disk.SizeMiB << 20);
        var free = FreeSpace.In(context.Directory.Path);
        if (free < needed)
        {
            throw FreeSpace.Missing(context.Directory.Path, needed, free, "a build");
        }

        if (context.Reproducibility is not null)
        {
            await RequireMke2fsAsync(context, cancellationToken);
        }

        context.Say($"partitioning a disk of {disk.SizeMiB} MiB");
        var part = context.Directory.Disk + ".part";
        try
        {
            using (var image = NewFile.Create(part))
            {
                image.SetLength(disk.SizeMiB << 20);
                GuidPartitionTable.Write(image, image.Length, disk.DiskGuid, PartitionPlan.Table(disk));
            }

            cancellationToken.ThrowIfCancellationRequested();
            AtomicFile.Commit(part, context.Directory.Disk);
        }
        catch
        {
            File.Delete(part);
            throw;
        }

        return context.Build with { Disk = disk };
    }

    /// <summary>Step 5 needs it; told before the long steps.</summary>
    private static async Task RequireMke2fsAsync(StepContext context, CancellationToken cancellationToken)
    {
        var spec = new BuilderSpec { Image = context.BuilderImage, BuildId = context.Build.Id, Purpose = "disk" };
        await using var builder = await Builder.StartAsync(context.Docker, spec, context.Log, cancellationToken);
        var version = await builder.RunAsync(["mke2fs", "-V"], null, cancellationToken);
        Reproducibility.RequireMke2fs(version.Tail is [var first, ..] ? first : "");
    }
}
