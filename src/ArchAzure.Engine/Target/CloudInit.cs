namespace ArchAzure.Target;

/// <summary>
/// cloud-init, with the Azure Linux agent for extensions: https://docs.cloud-init.io/en/latest/reference/datasources/azure.html.
/// </summary>
internal sealed class CloudInit : ProvisioningAgent
{
    public override string Name => "cloud-init";

    public override IReadOnlyList<string> Layers => ["waagent", "cloud-init"];

    public override IReadOnlyList<string> Programs => ["/usr/bin/cloud-init", "/usr/local/bin/cloud-init"];

    // cloud-init 24.3 renamed its services; the target is older than that and starts both.
    public override IReadOnlyList<string> Units =>
        ["cloud-init-main.service", "cloud-init-local.service", "cloud-init.service", "cloud-init.target"];

    public override string DisabledBy => "/etc/cloud/cloud-init.disabled";

    public override IReadOnlyList<string> MachineState =>
        ["/var/lib/cloud/instance", "/var/lib/cloud/instances/*", "/var/lib/cloud/data/*"];

    public override string Deprovision => "cloud-init clean";
}
