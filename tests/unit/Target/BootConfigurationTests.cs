using ArchAzure.Disks;
using ArchAzure.Target;

namespace ArchAzure.UnitTests.Target;

public sealed class BootConfigurationTests
{
    [Fact]
    public void The_command_line_grub_mkconfig_would_write_later_is_the_same()
    {
        var file = File.ReadAllLines(Path.Combine(Layers, "azure/files/etc/default/grub"));
        var line = file.Single(text => text.StartsWith("GRUB_CMDLINE_LINUX=", StringComparison.Ordinal));

        Assert.Equal($"GRUB_CMDLINE_LINUX=\"{BootConfiguration.KernelCommandLine}\"", line);
        Assert.Contains("GRUB_CMDLINE_LINUX_DEFAULT=\"\"", file);
    }

    [Theory]
    [InlineData("ext4")]
    [InlineData("btrfs")]
    public void Fstab_and_grub_name_the_root_by_its_uuid(string fileSystem)
    {
        var disk = PartitionPlan.Create(2048, 2048, fileSystem, Guid.NewGuid);
        var fstab = BootConfiguration.Fstab(disk).Split('\n').Where(line => line.Length > 0 && line[0] != '#').Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).ToList();

        Assert.Equal([$"UUID={disk.RootUuid}", "/", fileSystem], fstab[0][..3]);
        Assert.Equal([$"UUID={disk.EspUuid}", "/efi", "vfat"], fstab[1][..3]);
        Assert.All(fstab, fields => Assert.Equal(6, fields.Length));
        Assert.Contains($"root=UUID={disk.RootUuid} rw {BootConfiguration.KernelCommandLine}", BootConfiguration.GrubConfiguration(disk, "linux-lts"), StringComparison.Ordinal);
        Assert.Contains("/boot/initramfs-linux-lts.img", BootConfiguration.GrubConfiguration(disk, "linux-lts"), StringComparison.Ordinal);
        Assert.Contains(disk.RootUuid.ToString(), BootConfiguration.EarlyGrubConfiguration(disk), StringComparison.Ordinal);
    }

    private static string Layers
    {
        get
        {
            var folder = AppContext.BaseDirectory;
            while (!Directory.Exists(Path.Combine(folder, "module/layers")))
            {
                folder = Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("module/layers");
            }

            return Path.Combine(folder, "module/layers");
        }
    }
}
