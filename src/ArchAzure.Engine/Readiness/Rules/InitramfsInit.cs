using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>The kernel starts a program of the initramfs, which finds the root; where there is none, it panics.</summary>
internal sealed class InitramfsInit : ReadinessRule
{
    private const string Remedy = "See what mkinitcpio complains of (mkinitcpio -P in the target), and correct the files in "
        + "etc/mkinitcpio.conf.d.";

    public override string Wanted => "an initramfs whose /init the kernel can start";

    public override string Source => "https://docs.kernel.org/filesystems/ramfs-rootfs-initramfs.html";

    public override Finding Check(CheckedDisk disk)
    {
        var boot = disk.Boot;
        if (boot.Initramfs.Count == 0)
        {
            return Unknown($"{boot.ConfigurationPath} loads no initramfs; whether this kernel finds its root without one cannot be told");
        }

        if (boot.Initramfs.FirstOrDefault(file => file.Content is null) is { } gone)
        {
            return Fail($"{boot.ConfigurationPath} loads {gone.Path}, which is not there", Remedy);
        }

        var init = boot.Value("rdinit") ?? "/init";
        return Programs.Problem(disk.Initramfs, init) is { } problem
            ? Fail($"in the initramfs, {problem}", Remedy)
            : Pass($"{init} in {string.Join(", ", boot.Initramfs.Select(file => file.Path))}");
    }
}
