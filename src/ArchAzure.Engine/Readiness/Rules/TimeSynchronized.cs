namespace ArchAzure.Readiness.Rules;

/// <summary>Something keeps the clock right. Azure starts machines without it, but certificates and signatures need the time.</summary>
internal sealed class TimeSynchronized : ReadinessRule
{
    public override string Wanted => "a service that keeps the time: chrony, systemd-timesyncd or ntpd";

    public override string Source => "https://learn.microsoft.com/azure/virtual-machines/linux/time-sync";

    public override Finding Check(CheckedDisk disk) =>
        SystemdUnits.EnabledBy(
            disk.Root, "chronyd.service", "chrony.service", "systemd-timesyncd.service", "ntpd.service", "ntp.service", "ntpsec.service")
            is { } link
            ? Pass(link)
            : Warn("none is enabled", "Install chrony with the host's clock (/dev/ptp_hyperv) as its source, and enable it.");
}
