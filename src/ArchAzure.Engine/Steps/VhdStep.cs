using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.Disks;
using ArchAzure.IO;
using ArchAzure.Target;
using ArchAzure.Vhd;

namespace ArchAzure.Steps;

/// <summary>
/// Step 5, ConvertTo-AzureVhd: seals the target, writes the file systems and the boot loaders for both firmwares into a copy
/// of the disk, and makes that a VHD.
/// </summary>
internal sealed class VhdStep : BuildStep
{
    private const string ImagePath = "/work/disk.img";
    private const string RootImagePath = "/work/root.img";

    // Scripts beside the layers; each says what it does.
    private const string SealScript = "seal";
    private const string ClampScript = "clamp";
    private const string BootLoadersScript = "boot-loaders";

    public override string Name => StepName.Vhd;

    public override IEnumerable<string> OtherInputs(StepContext context) =>
        [
            PathInBuild(context, Destination(context)), File.ReadAllText(Script(context, SealScript)),
            File.ReadAllText(Script(context, BootLoadersScript)),
            .. context.Reproducibility is null ? Array.Empty<string>() : [File.ReadAllText(Script(context, ClampScript))],
        ];

    public override async Task<bool> ProductExistsAsync(StepContext context, CancellationToken cancellationToken)
    {
        var (path, vhd) = (context.Build.VhdPath!, context.Build.Vhd!);
        var list = VhdFiles.PackageList(path);
        try
        {
            return vhd.FsVerity is { } digest
                && ChecksumFile.FsVerity.Holds(path, digest)
                && File.Exists(list)
                && ChecksumFile.Sha256.Holds(list, await SparseFile.Sha256Async(list, null, cancellationToken))
                && FixedVhd.ReadFooter(path).UniqueId == vhd.UniqueId;
        }
        catch (ArchAzureException)
        {
            return false;
        }
    }

    public override async Task<ArchBuild> RunAsync(StepContext context, CancellationToken cancellationToken)
    {
        var disk = context.Build.Disk!;
        var reproducibility = context.Reproducibility;
        var destination = Destination(context);
        if (File.Exists(destination) && destination != context.Build.VhdPath && !context.Request.Force)
        {
            throw new ArchAzureException(
                "DestinationExists",
                ErrorKind.InvalidInput,
                $"'{destination}' exists already. Use -Force to replace it, or name another with -Destination.",
                destination);
        }

        var (image, root) = (VhdFiles.ImagePart(destination), VhdFiles.RootPart(destination));
        try
        {
            var packages = await context.Target.RunAsync(
                // mke2fs counts what it writes, in the superblock; files with holes make a difference.
                context.TargetWork("none") with { FreshTree = reproducibility is not null },
                async (builder, target) =>
                {
                    await CopyDiskAsync(context.Directory.Disk, image, cancellationToken);
                    var installed = await target.ReadPackagesAsync(cancellationToken);
                    context.Say("making the boot loaders", 30);
                    await target.RunScriptAsync(Script(context, BootLoadersScript), context.ScriptEnvironment, null, cancellationToken);
                    await WriteBootLoadersAsync(builder, disk, reproducibility is not null, cancellationToken);
                    context.Say("sealing", 50);
                    await RunScriptAsync(builder, Script(context, SealScript), [TargetTree.Root], cancellationToken);
                    if (reproducibility is not null)
                    {
                        await RunScriptAsync(
                            builder, Script(context, ClampScript), [TargetTree.Root, reproducibility.EpochSeconds], cancellationToken);
                    }

                    context.Say($"writing the root file system ({disk.RootFileSystem})", 60);
                    await WriteRootAsync(builder, disk, cancellationToken);
                    return installed;
                },
                cancellationToken);
            context.Say("writing the VHD", 90);
            using (var handle = File.OpenHandle(image, FileMode.Open, FileAccess.ReadWrite))
            {
                if (disk.RootFileSystem == "btrfs")
                {
                    using var rootHandle = File.OpenHandle(root);
                    await SparseFile.CopyAsync(
                        rootHandle,
                        handle,
                        disk.Partitions[PartitionPlan.Root].Offset,
                        RandomAccess.GetLength(rootHandle),
                        null,
                        cancellationToken);
                }

                GrubBiosBoot.Link(handle, disk.Partitions[PartitionPlan.BiosBoot]);
            }

            var conversion = new VhdConversion { SourcePath = image, DestinationPath = destination, InPlace = true, Force = true };
            if (reproducibility is not null)
            {
                conversion = conversion with { UniqueId = reproducibility.Identities("vhd")(), Timestamp = reproducibility.Epoch };
            }

            var product = new VhdProduct(PathInBuild(context, destination), disk.SizeMiB, conversion.UniqueId);
            context.Announce(context.Build with { Vhd = product });
            await VhdConverter.ConvertAsync(conversion, context.Reporter, cancellationToken);

            var list = VhdFiles.PackageList(destination);
            AtomicFile.WriteAllText(list, PackageList.Write(context.Build.Version!, packages, context.Build.Agent!));
            ChecksumFile.Sha256.Add(list, await SparseFile.Sha256Async(list, null, cancellationToken));
            context.Say("computing the fs-verity digest", 95);
            var digest = await FsVerity.DigestAsync(destination, cancellationToken);
            ChecksumFile.FsVerity.Add(destination, digest);
            return context.Build with { Vhd = product with { FsVerity = digest } };
        }
        finally
        {
            File.Delete(image);
            File.Delete(root);
        }
    }

    public override IReadOnlyList<BindMount> Outputs(StepContext context)
    {
        var destination = Destination(context);
        return
        [
            new(VhdFiles.ImagePart(destination), ImagePath),
            .. context.Build.Disk!.RootFileSystem == "btrfs"
                ? [new BindMount(VhdFiles.RootPart(destination), RootImagePath)]
                : Array.Empty<BindMount>(),
        ];
    }

    public override async Task<ArchBuild> CompleteAsync(StepContext context, ArchBuild build, CancellationToken cancellationToken)
    {
        var (path, vhd) = (build.VhdPath!, build.Vhd!);
        if (context.Settings.Checksum && !(vhd.Sha256 is { } known && ChecksumFile.Sha256.Holds(path, known)))
        {
            var sha256 = await VhdFiles.AddChecksumAsync(path, Name, context.Reporter, cancellationToken);
            build = build with { Vhd = vhd with { Sha256 = sha256 } };
        }

        var compressed = VhdFiles.Compressed(path);
        if (context.Settings.Compress && !(File.Exists(compressed) && ChecksumFile.Sha256.Holds(compressed)))
        {
            await VhdFiles.AddCompressedAsync(path, Name, context.Reporter, cancellationToken);
        }

        return build;
    }

    private static string Destination(StepContext context) =>
        Path.GetFullPath(context.Request.Destination ?? context.Build.VhdPath ?? context.Directory.Vhd(context.Build.Version!));

    /// <summary>Relative within the work directory, which may be moved.</summary>
    private static string PathInBuild(StepContext context, string destination)
    {
        var near = Path.GetRelativePath(context.Directory.Path, destination);
        return near.StartsWith("..", StringComparison.Ordinal) ? destination : near;
    }

    private static string Script(StepContext context, string name) => Path.Combine(context.LayerFolder, name);

    private static async Task CopyDiskAsync(string source, string destination, CancellationToken cancellationToken)
    {
        using var from = File.OpenHandle(source);

        // The same file: the builder has it mounted. What an earlier step may have written into it goes.
        using var to = File.OpenHandle(destination, FileMode.Open, FileAccess.ReadWrite);
        RandomAccess.SetLength(to, 0);
        var length = RandomAccess.GetLength(from);
        RandomAccess.SetLength(to, length);
        await SparseFile.CopyAsync(from, to, 0, length, null, cancellationToken);
    }

    /// <summary>Puts GRUB onto the disk: boot code and core image for BIOS, a file in a fresh ESP for UEFI.</summary>
    private static async Task WriteBootLoadersAsync(
        Builder builder, DiskProduct disk, bool reproducible, CancellationToken cancellationToken)
    {
        const string bios = TargetTree.Root + "/boot/grub/i386-pc";
        var biosBoot = disk.Partitions[PartitionPlan.BiosBoot];
        await builder.RunAsync(
            ["dd", $"if={bios}/boot.img", $"of={ImagePath}", $"bs={GrubBiosBoot.BootCodeLength}", "count=1", "conv=notrunc", "status=none"],
            null,
            cancellationToken);
        await builder.RunAsync(
            ["dd", $"if={bios}/core.img", $"of={ImagePath}", "bs=512", $"seek={biosBoot.FirstSector}", "conv=notrunc,sync", "status=none"],
            null,
            cancellationToken);

        var esp = disk.Partitions[PartitionPlan.Esp];
        var volume = $"{ImagePath}@@{esp.Offset}";
        await builder.RunAsync(
            [
                // The label's time; and an identity, which the next option replaces.
                "mkfs.vfat", .. reproducible ? ["--invariant"] : Array.Empty<string>(),
                "-F", "32", "-s", "1", "-n", "ESP", "-i", $"{disk.EspVolumeId:X8}", "--offset", $"{esp.FirstSector}", ImagePath,
                $"{esp.Length / 1024}",
            ],
            null,
            cancellationToken);
        await builder.RunAsync(["mmd", "-i", volume, "::/EFI", "::/EFI/BOOT"], null, cancellationToken);

        // The removable-media path: what firmware starts without an entry in its variables.
        await builder.RunAsync(
            ["mcopy", "-i", volume, TargetTree.Root + "/boot/grub/x86_64-efi/core.efi", "::/EFI/BOOT/BOOTX64.EFI"],
            null,
            cancellationToken);
    }

    private static Task RunScriptAsync(
        Builder builder, string script, IReadOnlyList<string> arguments, CancellationToken cancellationToken) =>
        builder.RunAsync(["bash", "-s", "--", .. arguments], CommandOptions.FromFile(script), cancellationToken);

    private static async Task WriteRootAsync(Builder builder, DiskProduct disk, CancellationToken cancellationToken)
    {
        var root = disk.Partitions[PartitionPlan.Root];
        if (disk.RootFileSystem == "btrfs")
        {
            await builder.RunAsync(["truncate", "--size", $"{root.Length}", RootImagePath], null, cancellationToken);
            await builder.RunAsync(
                [
                    "mkfs.btrfs", "--quiet", "--label", "root", "--uuid", $"{disk.RootUuid}", "--rootdir", TargetTree.Root, RootImagePath,
                ], null, cancellationToken);
            await builder.RunAsync(["btrfs", "check", "--readonly", RootImagePath], null, cancellationToken);
            return;
        }

        // ^metadata_csum_seed: GRUB before 2.12 does not read a file system that has it. The journal is stored, and would grow with the
        // disk to 1 GiB. No e2fsck: it takes 5 s for 4 TiB, whatever is in them, to read what mke2fs has just written.
        await builder.RunAsync(
            [
                "mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-U", $"{disk.RootUuid}", "-O", "^metadata_csum_seed,^orphan_file",
                "-J", "size=64", "-E", $"offset={root.Offset},hash_seed={disk.HashSeed},root_owner=0:0", "-d", TargetTree.Root, ImagePath,
                $"{root.Length / 1024}k",
            ],
            null,
            cancellationToken);
    }
}
