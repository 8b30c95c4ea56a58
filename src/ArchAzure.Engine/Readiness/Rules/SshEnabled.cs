using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>sshd starts: it is the only way into the machine.</summary>
internal sealed class SshEnabled : ReadinessRule
{
    public override string Wanted => "sshd installed and started at boot";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk)
    {
        var link = SystemdUnits.EnabledBy(disk.Root, "sshd.service", "ssh.service", "sshd.socket", "ssh.socket");
        var installed = disk.Root.FileExists("/usr/bin/sshd") || disk.Root.FileExists("/usr/sbin/sshd");
        return link is not null && installed
            ? Pass(link)
            : Fail(installed ? "no link starts sshd" : "no sshd in /usr/bin", "Install openssh and run systemctl enable sshd.");
    }
}
