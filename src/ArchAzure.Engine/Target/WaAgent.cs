namespace ArchAzure.Target;

/// <summary>The Azure Linux agent: https://github.com/Azure/WALinuxAgent.</summary>
internal sealed class WaAgent : ProvisioningAgent
{
    public override string Name => "waagent";

    public override IReadOnlyList<string> Layers => ["waagent"];

    public override IReadOnlyList<string> Programs =>
        ["/usr/bin/waagent", "/usr/sbin/waagent", "/usr/local/bin/waagent", "/usr/local/sbin/waagent"];

    public override IReadOnlyList<string> Units => ["waagent.service", "walinuxagent.service"];

    public override IReadOnlyList<string> MachineState =>
    [
        "/var/lib/waagent/provisioned", "/var/lib/waagent/ovf-env.xml", "/var/lib/waagent/*.prv", "/var/lib/waagent/*.crt",
        "/var/lib/waagent/*.xml",
    ];

    public override string Deprovision => "waagent -deprovision";
}
