using ArchAzure.SimulatedAzure;
using CsCheck;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Fuzz;

public sealed class ProvisioningFuzzTests(ITestOutputHelper output)
{
    [Fact]
    public void What_the_guest_shows_is_read_whatever_it_is() =>
        Mutations.OfText(
            ["\n@@host\nweb1\n\n@@user\nazureuser\n\n@@groups\na b\n\n@@rootsize\n123\n\n@@mounts\n/ /dev/sda3 ext4\n/boot /dev/sda2 vfat\n"
                + ""],
            "@@", "@@host\n", "\n", "\r").Run(
            output,
            text => Assert.NotNull(GuestFacts.Parse(text).Groups),
            count: 10000);

    [Fact]
    public void The_serial_console_takes_anything() =>
        Mutations.OfText(
            ["[    0.000000] Linux version 6.1\r\n\u001b[0;32mRun /init as init process\u001b[0m\r\nsystemd[1]: systemd 260 running in "
                + "system mode\r\nweb1 login: "],
            "\u001b[", "\u001b", "Kernel panic - not syncing", "\n", " login: ", new string('x', 5000)).Run(
            output,
            text =>
            {
                var console = new SerialConsole();
                for (var at = 0; at < text.Length; at += 97)
                {
                    console.Take(text.Substring(at, Math.Min(97, text.Length - at)));
                }

                Assert.All(console.LastLines(400), line => Assert.True(line.Length <= 4096));
            },
            count: 2000,
            memory: 64 << 20);
}
