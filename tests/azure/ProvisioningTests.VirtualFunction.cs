using System.Text.Json.Nodes;
using ArchAzure.SimulatedAzure;

namespace ArchAzure.AzureTests;

/// <summary>
/// Accelerated networking, as far as QEMU has it: a second network interface with the first one's hardware address comes while the
/// machine runs. A bond makes it a slave, as hv_netvsc does with a virtual function.
/// </summary>
public abstract partial class ProvisioningTests
{
    private const string Function = "eth1";
    private const string Rules = "/etc/udev/rules.d/68-azure-virtual-function.rules";

    /// <summary>
    /// The slave gets no address. Once it is no slave, there is no other way into the network, and it gets one.
    /// </summary>
    private async Task LeavesASlaveAloneAsync(MachineSession session, CancellationToken cancellationToken)
    {
        // On Hyper-V the bus tells a virtual function. The kernel makes it a slave before udev hears of it.
        await RootAsync(
            session,
            $$"""
            set -eu
            sed --in-place=.away s/hv_pci/virtio-pci/ {{Rules}}
            ip link add bond0 type bond mode active-backup
            mkdir -p /run/udev/rules.d
            echo 'ACTION=="add", SUBSYSTEM=="net", KERNEL=="{{Function}}", PROGRAM="/usr/bin/ip link set dev {{Function}} master bond0"' \
                > /run/udev/rules.d/60-slave.rules
            udevadm control --reload
            """,
            cancellationToken);
        await PlugAsync();
        Assert.Equal("unmanaged,", await StateAsync());

        await UnplugAsync();
        await RootAsync(session, "rm /run/udev/rules.d/60-slave.rules; ip link del bond0; udevadm control --reload", cancellationToken);
        await PlugAsync();
        Assert.Matches("^configured, 10\\.0\\.2\\.15/", await StateAsync());
        await UnplugAsync();
        await RootAsync(session, $"mv {Rules}.away {Rules}; udevadm control --reload", cancellationToken);

        // What networkd made of it, and its address.
        async Task<string> StateAsync()
        {
            var state = await RootAsync(
                session,
                $$"""
                until networkctl --no-legend list {{Function}} | grep -qE 'unmanaged|configured'; do sleep 0.5; done
                echo $(networkctl --no-legend list {{Function}} | grep -oE 'unmanaged|configured'), \
                    $(ip -4 -o address show dev {{Function}} | grep -oE '[0-9.]+/')
                """,
                cancellationToken);
            return state.TrimEnd('\n');
        }

        async Task PlugAsync()
        {
            await ExecuteAsync("netdev_add", new() { ["type"] = "user", ["id"] = Function, ["restrict"] = true });
            await ExecuteAsync("device_add", new()
            {
                ["driver"] = "virtio-net-pci", ["id"] = Function, ["netdev"] = Function, ["romfile"] = "",
                ["mac"] = QemuCommandLine.Mac,
            });
            await WaitAsync(
                $"until udevadm info --query=property /sys/class/net/{Function} | grep -q ^USEC_INITIALIZED; do sleep 0.5; done");
        }

        async Task UnplugAsync()
        {
            await ExecuteAsync("device_del", new() { ["id"] = Function });
            await WaitAsync($"while [ -e /sys/class/net/{Function} ]; do sleep 0.5; done");
            await ExecuteAsync("netdev_del", new() { ["id"] = Function });
        }

        Task ExecuteAsync(string command, JsonObject arguments) =>
            session.Machine.Monitor.ExecuteAsync(command, arguments, cancellationToken);

        Task WaitAsync(string loop) => RootAsync(session, $"timeout 120 sh -c '{loop}'", cancellationToken);
    }
}
