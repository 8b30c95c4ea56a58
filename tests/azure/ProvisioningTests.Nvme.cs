using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ArchAzure.SimulatedAzure;

namespace ArchAzure.AzureTests;

/// <summary>Disks on NVMe, as newer sizes have them only.</summary>
public abstract partial class ProvisioningTests
{
    private const int LocalDiskMiB = 64;

    /// <summary>QEMU's disks say who makes them: where Azure's model is asked for, theirs is taken for it.</summary>
    private protected static Task<string> TakesQemusDisksForAzuresAsync(TempFolder folder, string vhd, params string[] commands)
    {
        const string model = "ENV{ID_MODEL}==\"QEMU NVMe Ctrl\", ENV{ID_MODEL}=\"MSFT NVMe Accelerator v1.0\"\n";
        return TestImage.ChangedAsync(
            folder, vhd, [$"write {folder.Write("model.rules", model)} /etc/udev/rules.d/67-model.rules", .. commands]);
    }

    /// <summary>Azure's names lead to the disks, whatever the kernel calls them, and I/O may take as long as Azure asks for.</summary>
    private async Task FindsDisksOnNvmeAsync(MachineSession session, CancellationToken cancellationToken)
    {
        const string script = """
            cd /dev/disk/azure
            for link in os root data/by-lun/0 data/by-lun/3; do
                disk=$(readlink --canonicalize $link)
                echo $link $(cat /sys/block/${disk##*/}/nsid /sys/block/${disk##*/}/queue/io_timeout)
            done
            [ "$(readlink --canonicalize os-part3)" = "$(findmnt --noheadings --output SOURCE /)" ] && echo root is os-part3
            cat /sys/module/nvme_core/parameters/io_timeout
            """;
        Assert.Equal(
            ["os 1 240000", "root 1 240000", "data/by-lun/0 2 240000", "data/by-lun/3 5 240000", "root is os-part3", "240", ""],
            (await RootAsync(session, script, cancellationToken)).Split('\n'));
    }

    /// <summary>A local disk comes, the kernel finds it first at the next boot, and the OS disk has another name.</summary>
    private async Task SurvivesAnotherNameAsync(MachineSession session, CancellationToken cancellationToken)
    {
        const string rootDisk = "findmnt --noheadings --output SOURCE /";
        var (before, mounts) = (await RootAsync(session, rootDisk, cancellationToken), await RootAsync(session, Mounts, cancellationToken));
        await AddLocalDiskAsync(session, cancellationToken);
        await session.RebootAsync(cancellationToken);
        var after = await RootAsync(session, rootDisk, cancellationToken);
        Assert.Matches("^/dev/nvme[0-9]+n[0-9]+p3\n$", after);
        Assert.NotEqual(before, after);
        Assert.Equal(mounts, await RootAsync(session, Mounts, cancellationToken));
        await FindsDisksOnNvmeAsync(session, cancellationToken);
        Assert.Equal("", await RootAsync(session, "systemctl list-units --failed --no-legend --plain", cancellationToken));
    }

    private static async Task AddLocalDiskAsync(MachineSession session, CancellationToken cancellationToken)
    {
        const string node = "local";
        var file = Path.Combine(session.Machine.Host.RunDirectory.FullName, "local.raw");
        await using (var disk = File.Create(file))
        {
            disk.SetLength((long)LocalDiskMiB << 20);
        }

        await session.Machine.Monitor.ExecuteAsync(
            "blockdev-add",
            new JsonObject
            {
                ["driver"] = "raw", ["node-name"] = node,
                ["file"] = new JsonObject { ["driver"] = "file", ["filename"] = session.Machine.Host.MapPath(file) },
            },
            cancellationToken);
        await session.Machine.Monitor.ExecuteAsync(
            "device_add",
            new JsonObject { ["driver"] = "nvme", ["bus"] = QemuCommandLine.EmptyPort, ["serial"] = "local", ["drive"] = node },
            cancellationToken);
        File.Delete(file);
    }

    [GeneratedRegex("^(/dev/sd[a-z]|/dev/nvme[0-9]+n[0-9]+p)3 ", RegexOptions.None, 5000)]
    private static partial Regex RootOfOsDisk();
}
