using ArchAzure.FileSystems;
using ArchAzure.Readiness;
using ArchAzure.UnitTests.FileSystems;
using Xunit;

namespace ArchAzure.UnitTests.Readiness;

public sealed class NetworkFileTests
{
    private static readonly NetworkInterface s_adapter = new("eth0", "hv_netvsc");

    [Theory]
    [InlineData("Driver=hv_netvsc", true)]
    [InlineData("Driver=virtio_net hv_*", true)]
    [InlineData("Driver=!mana mlx5_core", true)]
    [InlineData("Driver=!hv_netvsc", false)]
    [InlineData("Name=eth0", true)]
    [InlineData("Name=en* eth?", true)]
    [InlineData("Name=en*", false)]
    [InlineData("Type=ether", true)]
    [InlineData("Type=wlan", false)]
    [InlineData("Name=eth0\nDriver=mana", false)]
    [InlineData("Kind=veth", false)]
    [InlineData("Kind=!*", true)]
    [InlineData("Name=nothing\nName=\nName=eth0", true)]
    [InlineData("", true)]
    [InlineData("MACAddress=00:0d:3a:00:00:01", null)]
    [InlineData("MACAddress=00:0d:3a:00:00:01\nName=wlan*", false)]
    [InlineData("Name=eth[0-9]", null)]
    [InlineData("Virtualization=microsoft", true)]
    [InlineData("Virtualization=container", false)]
    public void Match_is_as_networkd_has_it(string match, bool? applies)
    {
        var files = NetworkFile.ReadAll(
            new MemoryFileSystem(new() { ["/etc/systemd/network/a.network"] = $"[Match]\n{match}\n[Network]\nDHCP=yes\n" }));

        Assert.Equal(applies, Assert.Single(files).AppliesTo(s_adapter));
    }

    [Fact]
    public void Files_come_by_name_and_hide_those_of_less_important_directories()
    {
        var files = NetworkFile.ReadAll(new MemoryFileSystem(new()
        {
            ["/usr/lib/systemd/network/10-a.network"] = "[Match]\nName=x\n",
            ["/etc/systemd/network/20-b.network"] = "[Network]\nDHCP=no\n",
            ["/usr/lib/systemd/network/20-b.network"] = "[Network]\nDHCP=yes\n",
            ["/usr/lib/systemd/network/30-c.network"] = "[Network]\nDHCP=yes\n",
            ["/etc/systemd/network/30-c.network"] = "",
            ["/etc/systemd/network/20-b.network.d/more.conf"] = "[Network]\nDHCP=ipv4\n",
            ["/etc/systemd/network/20-b.link"] = "[Match]\n",
        }));

        Assert.Equal(["/usr/lib/systemd/network/10-a.network", "/etc/systemd/network/20-b.network"], files.Select(file => file.Path));
        Assert.Equal("ipv4", files[1].Value("Network", "DHCP"));
    }
}
