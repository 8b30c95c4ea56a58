using ArchAzure.StandIn;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>The machine starts again after its packages were updated.</summary>
public sealed class UpdateTests(ITestOutputHelper output) : AzureTest(output)
{
    [Theory]
    [Trait("Speed", "long")]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_newer_kernel_and_GRUB(int generation)
    {
        await using var mirror = await MirrorServer.StartAsync(TestSetup.StandIn);
        var report = await BootAsync(new MachineTestOptions(TestImage.Vhd, generation)
        {
            LogDirectory = Logs($"Generation{generation}"),
            Timeout = Limit,
            MirrorPort = new Uri(mirror.BaseUrl).Port,
            WhileUp = WorkAsync,
        });
        Assert.True(report.Passed, report.Error);

        async Task WorkAsync(MachineSession session, CancellationToken cancellationToken)
        {
            const string versions = "pacman --query linux grub";
            const string initramfs = "stat --format=%Y /boot/initramfs-linux.img";
            const string image = "grep ^IMAGE_ /etc/os-release";
            await RootAsync(session, "systemctl start pacman-keyring.service", cancellationToken);
            await RootAsync(
                session,
                $"echo 'Server = http://{MachineTestOptions.MirrorAddress}/updates/$repo/os/$arch' > /etc/pacman.d/mirrorlist",
                cancellationToken);
            var (before, made) = (
                await RootAsync(session, versions, cancellationToken), await RootAsync(session, initramfs, cancellationToken));
            Assert.Matches("^linux .*-1\ngrub .*-1\n$", before);
            await RootAsync(session, "pacman --sync --refresh --sysupgrade --noconfirm --noprogressbar", cancellationToken);
            await RootAsync(session, "grub-mkconfig --output=/boot/grub/grub.cfg", cancellationToken);
            Assert.Matches("^linux .*-2\ngrub .*-2\n$", await RootAsync(session, versions, cancellationToken));
            Assert.NotEqual(made, await RootAsync(session, initramfs, cancellationToken));
            await RootAsync(session, image, cancellationToken);

            await session.RemoveDvdAsync(cancellationToken);
            await session.RebootAsync(cancellationToken);
            Assert.Equal("", await RootAsync(session, "systemctl list-units --failed --no-legend --plain", cancellationToken));
        }
    }
}
