using ArchAzure.Disks;
using ArchAzure.Readiness;

namespace ArchAzure.BuildTests;

/// <summary>
/// The image moved to btrfs, made by the mkfs.btrfs of the builder, with its root in a subvolume as archinstall and others have it.
/// </summary>
[Collection(Pipeline.Name)]
public sealed class BtrfsLayoutTests(Pipeline pipeline)
{
    private const string Uuid = "b7f50000-0000-4000-8000-000000000001";

    [Theory]
    [InlineData("rw:@", "rootflags=subvol=@", "subvol=/@")]
    [InlineData("default:@", "", "compress=zstd:1")]
    public async Task The_root_is_found_in_its_subvolume(string subvolume, string rootFlags, string options)
    {
        using var folder = new TempFolder();
        var vhd = await MakeAsync(folder, subvolume, rootFlags, options, plant: "true");
        ReadinessAssert.MeetsEveryRule(await CheckAsync(vhd));
    }

    /// <summary>What a wrong tree, the top level, would hide.</summary>
    [Fact]
    public async Task What_is_in_the_subvolume_is_seen()
    {
        using var folder = new TempFolder();
        const string plant = "echo 0123456789abcdef0123456789abcdef > @/etc/machine-id; install -D /dev/stdin @/root/.ssh/authorized_keys "
            + "<<< 'ssh-ed25519 AAAA'; echo id > @/root/.bash_history; echo key > @/etc/ssh/ssh_host_rsa_key; "
            + "echo '/swapfile none swap defaults 0 0' >> @/etc/fstab; echo line > @/var/log/pacman.log; mkdir @home/ada; "
            + "echo secret > @home/ada/.histfile; echo 'UUID=" + Uuid + " /home btrfs subvol=@home 0 0' >> @/etc/fstab";
        var vhd = await MakeAsync(folder, "rw:@", "rootflags=subvol=@", "subvol=/@", plant);
        var failed = (await CheckAsync(vhd)).Where(result => result.Verdict == ReadinessOutcome.Failed).ToList();
        Assert.Equal(
            ["MachineIdEmpty", "NoAuthorizedKeys", "NoLogs", "NoShellHistory", "NoSshHostKeys", "NoSwap"],
            failed.Select(result => result.Rule).Order(StringComparer.Ordinal));
        Assert.Contains("/home/ada/.histfile", failed.Single(result => result.Rule == "NoShellHistory").Found, StringComparison.Ordinal);
    }

    private static Task<IReadOnlyList<ReadinessResult>> CheckAsync(string vhd) =>
        ReadinessCheck.RunAsync(vhd, new ReadinessOptions(), new RecordingReporter(), CancellationToken.None);

    private async Task<string> MakeAsync(TempFolder folder, string subvolume, string rootFlags, string options, string plant)
    {
        var small = (await pipeline.SmallBuildAsync()).State;
        var root = small.Disk!.Partitions[PartitionPlan.Root];
        await Tool.RunAsync("cp", "--sparse=always", "--reflink=auto", small.VhdPath!, folder["disk.vhd"]);

        // In GRUB's eyes all paths begin at the top level.
        var script = $$"""
            set -euo pipefail
            mkdir -p /tree/@ /tree/@home
            debugfs -R 'rdump / /tree/@' '/work/disk.vhd?offset={{root.Offset}}' 2> /dev/null
            cd /tree
            sed -i -E 's#^UUID=\S+\s+/\s.*#UUID={{Uuid}} / btrfs {{options}} 0 0#' @/etc/fstab
            sed -i -E 's#root=UUID=\S+#root=UUID={{Uuid}} {{rootFlags}}#; s#(linux|initrd) /boot#\1 /@/boot#' @/boot/grub/grub.cfg
            {{plant}}
            truncate --size={{root.Length}} /work/root.img
            mkfs.btrfs --quiet --uuid {{Uuid}} --rootdir /tree --subvol {{subvolume}} --subvol rw:@home /work/root.img
            """;
        await Tool.RunAsync(
            "docker", "run", "--rm", "--network=none", $"--volume={folder.Path}:/work", "--entrypoint=bash",
            pipeline.ImageBuild.Bootstrap!.BuilderImage, "-c", script);

        // The old file system goes, holes and all.
        await Tool.RunAsync(
            "fallocate", "--punch-hole", $"--offset={root.Offset}", $"--length={root.Length}", folder["disk.vhd"]);
        await Tool.RunAsync(
            "dd", $"if={folder["root.img"]}", $"of={folder["disk.vhd"]}", "bs=1M", $"seek={root.Offset}", "oflag=seek_bytes",
            "conv=notrunc,sparse", "status=none");
        return folder["disk.vhd"];
    }
}
