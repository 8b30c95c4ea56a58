using System.Globalization;
using System.Text.RegularExpressions;

namespace ArchAzure.AzureTests;

/// <summary>What the agent does with the resource disk, with the tools that the image has.</summary>
public abstract partial class ProvisioningTests
{
    // Tells it from the other data disk.
    private const int ResourceDiskMiB = 256;
    private const int SwapMiB = 128;

    // Source: cloud-init's DataSourceAzure.py (RESOURCE_DISK_PATH) and documentation, "Azure".
    private const string ResourceDiskLink = "/dev/disk/cloud/azure_resource";
    private const string CloudInitsMountPoint = "/mnt";

    /// <summary>
    /// The agent's own code formats and mounts the disk as each generation gets it from Azure, and makes the swap it is asked for.
    /// </summary>
    private async Task UsesTheResourceDiskAsync(MachineSession session, CancellationToken cancellationToken)
    {
        // Generation 2: LUN 1 of the SCSI controller, a GPT with two partitions. Generation 1: IDE 0:1, an MBR with NTFS.
        foreach (var (deviceId, partitions, type) in ((string, string, string)[])[
            ("f8b3781a-1e82-4818-a1c3-63d806ec15bb", "label: gpt\n,16M\n,,\n", "0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
            ("00000000-0001-8899-0000-000000000000", "label: dos\n,,7\n", "83")])
        {
            var found = await RootAsync(session, ResourceDiskScript(deviceId, partitions), cancellationToken);
            Assert.Matches("(?m)^/mnt/resource /dev/sd[a-z]1 ext4$", found);
            Assert.Contains($"\n{type}\n", found, StringComparison.Ordinal);

            // In a file system this small not every page lies whole on the disk.
            var swap = Regex.Match(found, @"(?m)^/mnt/resource/swapfile\s+file\s+(\d+)\s");
            Assert.InRange(int.Parse(swap.Groups[1].ValueSpan, CultureInfo.InvariantCulture), (SwapMiB - 1) << 10, SwapMiB << 10);
            Assert.Contains("THIS IS A TEMPORARY DISK", found, StringComparison.Ordinal);
            Assert.Contains("swapfile 600", found, StringComparison.Ordinal);
        }
    }

    /// <summary>cloud-init formats and mounts the disk that its own udev rules would name on Hyper-V.</summary>
    private async Task HasTheResourceDiskAsync(MachineSession session, CancellationToken cancellationToken)
    {
        var found = await RootAsync(
            session, $"findmnt --noheadings --raw --bytes --output TARGET,SOURCE,FSTYPE {CloudInitsMountPoint}; "
                + $"readlink --canonicalize {ResourceDiskLink}-part1", cancellationToken);
        Assert.Matches(@"^/mnt (/dev/nvme\dn\dp1) ext4\n\1\n$", found);
    }

    /// <summary>Says of the last data disk what cloud-init's udev rules say of Azure's resource disk, by what only VMBus tells.</summary>
    private protected static string NamesTheResourceDisk(TempFolder folder)
    {
        var (size, name) = (ResourceDiskMiB << 11, ResourceDiskLink["/dev/".Length..]);
        var rule = $$"""
            SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ATTR{size}=="{{size}}", SYMLINK+="{{name}}"
            SUBSYSTEM=="block", ENV{DEVTYPE}=="partition", ATTRS{size}=="{{size}}", SYMLINK+="{{name}}-part%n"

            """;
        return $"write {folder.Write("resource.rules", rule)} /etc/udev/rules.d/69-resource.rules";
    }

    // QEMU has no VMBus, where the agent looks for the disk: in a mount namespace of its own it sees the one that it would see there.
    private static string ResourceDiskScript(string deviceId, string partitions) =>
        $$"""
        set -eu
        export disk=$(lsblk --nodeps --bytes --noheadings --raw --output NAME,SIZE | sed -n 's/ {{(long)ResourceDiskMiB << 20}}$//p')
        printf '{{partitions.Replace("\n", "\\n", StringComparison.Ordinal)}}' |
            sfdisk --quiet --wipe always --wipe-partitions always /dev/$disk
        udevadm settle
        {{(partitions.Contains("dos", StringComparison.Ordinal) ? NtfsScript : "")}}
        sed 's/^ResourceDisk.EnableSwap=.*/ResourceDisk.EnableSwap=y/; s/^ResourceDisk.SwapSizeMB=.*/ResourceDisk.SwapSizeMB={{SwapMiB}}/' \
            /etc/waagent.conf > /run/waagent.conf
        unshare --mount sh -eu << 'END'
        mount -t tmpfs tmpfs /sys/bus
        mkdir -p /sys/bus/vmbus/devices/1/host0/target0:0:0/0:0:0:1/block/$disk
        echo '{{{deviceId}}}' > /sys/bus/vmbus/devices/1/device_id
        PYTHONPATH=/usr/lib/waagent python3 << 'PYTHON'
        from azurelinuxagent.common import conf, logger
        logger.add_logger_appender(logger.AppenderType.STDOUT, logger.LogLevel.INFO)
        conf.load_conf_from_file("/run/waagent.conf")
        from azurelinuxagent.daemon.resourcedisk import get_resourcedisk_handler
        get_resourcedisk_handler().run()
        PYTHON
        findmnt --noheadings --raw --output TARGET,SOURCE,FSTYPE /mnt/resource
        cat /proc/swaps /mnt/resource/DATALOSS_WARNING_README.txt
        stat --format 'swapfile %a' /mnt/resource/swapfile
        sfdisk --part-type /dev/$disk 1
        swapoff /mnt/resource/swapfile
        umount /mnt/resource
        END
        wipefs --quiet --all /dev/$disk
        rm -r /run/waagent.conf /mnt/resource
        """;

    // As much of NTFS as blkid wants to see: the image has no mkfs.ntfs.
    private const string NtfsScript =
        """
        python3 << 'PYTHON'
        import os, struct
        with open("/dev/%s1" % os.environ["disk"], "r+b") as part:
            part.write(b"\xeb\x52\x90NTFS    " + struct.pack("<HB", 512, 8) + bytes(7) + b"\xf8" + bytes(18))
            part.seek(40)
            part.write(struct.pack("<QQQbxxxbxxxQ", 400000, 4, 8, -10, 1, 0x1234))
            for record in range(4):
                part.seek(4 * 4096 + record * 1024)
                part.write(b"FILE")
        PYTHON
        [ "$(blkid -p -o value -s TYPE /dev/${disk}1)" = ntfs ]
        """;
}
