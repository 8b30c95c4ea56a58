using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>The agents hold no state of an earlier machine: with it they take the new machine for the old one and do not provision it.</summary>
internal sealed class AgentUnprovisioned : ReadinessRule
{
    public override string Wanted => "no state of an earlier machine in /var/lib/waagent, /var/lib/cloud";

    public override string Source => Sources.WaAgent;

    public override Finding Check(ReadinessImage image)
    {
        string[] patterns =
        [
            "/var/lib/waagent/provisioned", "/var/lib/waagent/ovf-env.xml", "/var/lib/waagent/*.prv", "/var/lib/waagent/*.crt", "/var/lib/waagent/*.xml",
            "/var/lib/cloud/instance", "/var/lib/cloud/instances/*", "/var/lib/cloud/data/*",
        ];
        return PassIfNone(
            [.. patterns.SelectMany(pattern => ImageGlob.Expand(image.Root, pattern)).Distinct(StringComparer.Ordinal)],
            "none",
            "Deprovision: waagent -deprovision, cloud-init clean.");
    }
}
