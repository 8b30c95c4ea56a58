using System.Globalization;

namespace ArchAzure.SimulatedAzure;

/// <summary>What a machine is made of, in paths as QEMU sees them.</summary>
/// <param name="Options">The machine.</param>
/// <param name="Disk">The OS disk, a qcow2 overlay.</param>
/// <param name="MonitorSocket">A unix socket that listens, for QMP.</param>
/// <param name="NetworkSocket">A unix socket that listens, for Ethernet frames.</param>
/// <param name="SerialSocket">A unix socket that listens, for the first serial port.</param>
internal sealed record QemuMachine(
    VirtualMachineOptions Options, string Disk, string MonitorSocket, string NetworkSocket, string SerialSocket)
{
    /// <summary>True to use the host's processor through /dev/kvm, false to emulate one.</summary>
    public bool UseKvm { get; init; }

    /// <summary>The firmware of generation 2, with the machine's own copy of the variable store.</summary>
    public UefiFirmware? Firmware { get; init; }

    /// <summary>The provisioning DVD's image, or null: then generation 1 has an empty drive, generation 2 none.</summary>
    public string? Dvd { get; init; }

    /// <summary>More disks, raw images, in the order of their LUNs.</summary>
    public IReadOnlyList<string> DataDisks { get; init; } = [];
}

/// <summary>Turns a machine into QEMU's arguments.</summary>
/// <remarks>
/// Linux sees Hyper-V's devices only on Hyper-V, so what stands for them here are: IDE for generation 1's disk and DVD
/// (as on Azure for the DVD), virtio-scsi for generation 2's and for data disks, virtio-net for the network interface. NVMe is NVMe.
/// An image that is to boot here needs their drivers beside Hyper-V's, and a network configuration that takes virtio_net.
/// </remarks>
internal static class QemuCommandLine
{
    /// <summary>The id of the DVD drive in the monitor.</summary>
    public const string DvdDevice = "dvd0";

    /// <summary>The hardware address of the network interface.</summary>
    public static string Mac { get; } = BitConverter.ToString(VirtualNetwork.GuestMac).Replace('-', ':').ToLowerInvariant();

    /// <summary>The empty place for an NVMe controller before that of the OS disk.</summary>
    public const string EmptyPort = "before";

    /// <summary>The SCSI target of generation 2's OS disk (LUN 0) and DVD (LUN 2); the data disks have the other one.</summary>
    public static int OsTarget(bool dataDisksFirst) => dataDisksFirst ? 1 : 0;

    // Azure's mark in the firmware tables, by which cloud-init knows the platform.
    private const string AzureAssetTag = "7783-7084-3265-9085-8269-3286-77";

    /// <summary>The arguments after the program's name.</summary>
    /// <exception cref="ArchAzureException">Generation 2 without a firmware.</exception>
    public static IReadOnlyList<string> Build(QemuMachine machine)
    {
        var second = machine.Options.Generation == 2;
        List<string> arguments =
        [
            "-nodefaults", "-no-user-config", "-display", "none", "-vga", "std",
            "-machine", second ? "q35" : "pc",
            "-accel", machine.UseKvm ? "kvm" : "tcg,thread=multi",
            "-cpu", machine.UseKvm ? "host" : "max",
            "-smp", machine.Options.Processors.ToString(CultureInfo.InvariantCulture),
            "-m", "1024",
            "-rtc", "base=utc",
            "-device", "virtio-rng-pci",
            // Not Hyper-V's maker and product: for these ata_piix leaves IDE disks to hv_storvsc, which finds none here.
            "-smbios", $"type=1,uuid={machine.Options.VmId}",
            "-smbios", $"type=3,asset={AzureAssetTag}",
            "-chardev", $"socket,id=monitor,path={Escape(machine.MonitorSocket)},server=off",
            "-mon", "chardev=monitor,mode=control",
            "-chardev", $"socket,id=serial,path={Escape(machine.SerialSocket)},server=off",
            "-serial", "chardev:serial",
            "-netdev", $"stream,id=net,server=off,addr.type=unix,addr.path={Escape(machine.NetworkSocket)}",
            // An empty ROM: the firmware is not to try the network.
            "-device",
            $"virtio-net-pci,netdev=net,mac={Mac},romfile=",
            // The overlay is thrown away, so nothing of it needs to reach the host's disk.
            "-drive", $"if=none,id=os,file={Escape(machine.Disk)},format=qcow2,cache=unsafe,discard=unmap",
        ];

        if (second)
        {
            var firmware = machine.Firmware ?? throw new ArchAzureException("FirmwareNotFound", ErrorKind.NotFound,
                "Generation 2 needs a UEFI firmware for QEMU, and none was found. Install it (Debian, Ubuntu: ovmf; Arch, Fedora: "
                + "edk2-ovmf), "
                + "run QEMU from the builder image (-Qemu Builder), or test generation 1 only.");
            arguments.AddRange(
            [
                "-drive", $"if=pflash,unit=0,format=raw,readonly=on,file={Escape(firmware.Code)}",
                // A plain file: the firmware writes its variables byte by byte, and through a qcow2 snapshot the cleaning-up
                // of the store at a reset took five minutes.
                "-drive", $"if=pflash,unit=1,format=raw,cache=unsafe,file={Escape(firmware.Variables)}",
            ]);
        }

        if (second || machine.DataDisks.Count > 0)
        {
            arguments.AddRange(["-device", "virtio-scsi-pci,id=scsi"]);
        }

        var onNvme = machine.Options.DiskController == DiskController.NVMe;
        if (onNvme)
        {
            // The root port before it is for a disk that comes later, and is then found first.
            arguments.AddRange(
            [
                "-device", $"pcie-root-port,id={EmptyPort},chassis=1,slot=1",
                "-device", "pcie-root-port,id=disks,chassis=2,slot=2",
                "-device", "nvme,id=nvme,bus=disks,serial=azure",
            ]);
        }

        var target = OsTarget(machine.Options.DataDisksFirst);
        var unit = machine.Options.DataDisksFirst && machine.DataDisks.Count > 0 ? 1 : 0;
        var place = onNvme ? "nvme-ns,drive=os,bus=nvme,nsid=1"
            : second ? $"scsi-hd,drive=os,bus=scsi.0,scsi-id={target},lun=0"
            : $"ide-hd,drive=os,bus=ide.0,unit={unit}";
        arguments.AddRange(["-device", $"{place},bootindex=0"]);
        if (machine.Dvd is { } dvd)
        {
            arguments.AddRange(
            [
                "-drive", $"if=none,id=dvd,file={Escape(dvd)},format=raw,readonly=on,media=cdrom",
                "-device",
                (second ? $"scsi-cd,bus=scsi.0,scsi-id={target},lun=2" : "ide-cd,bus=ide.1,unit=0") + $",drive=dvd,id={DvdDevice}",
            ]);
        }
        else if (!second)
        {
            arguments.AddRange(["-device", $"ide-cd,bus=ide.1,unit=0,id={DvdDevice}"]);
        }

        for (var i = 0; i < machine.DataDisks.Count; i++)
        {
            arguments.AddRange(
            [
                "-drive", $"if=none,id=data{i},file={Escape(machine.DataDisks[i])},format=raw,cache=unsafe",
                "-device", onNvme ? $"nvme-ns,drive=data{i},bus=nvme,nsid={i + 2}"
                    : !second && i < unit ? $"ide-hd,drive=data{i},bus=ide.0,unit=0"
                    : $"scsi-hd,drive=data{i},bus=scsi.0,scsi-id={1 - target},lun={i}",
            ]);
        }

        return arguments;
    }

    /// <summary>A value inside an option list: QEMU wants its commas doubled.</summary>
    public static string Escape(string value) => value.Replace(",", ",,", StringComparison.Ordinal);
}
