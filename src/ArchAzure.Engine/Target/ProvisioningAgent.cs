namespace ArchAzure.Target;

/// <summary>
/// A program that provisions the machine and reports Ready. The table is <see cref="All"/>; the setting AGENT names one of it.
/// </summary>
internal abstract class ProvisioningAgent
{
    public static IReadOnlyList<ProvisioningAgent> All { get; } = [new WaAgent(), new CloudInit()];

    /// <summary>The value of AGENT, and of <c>Provisioning.Agent</c> in waagent.conf.</summary>
    public abstract string Name { get; }

    /// <summary>The module's layers that bring its packages, files, services and configuration, in order.</summary>
    public abstract IReadOnlyList<string> Layers { get; }

    /// <summary>Whether the Azure Linux agent, which runs extensions, is built into the image from its source.</summary>
    public virtual bool WithWaAgent => true;

    /// <summary>Where the program may be in an image.</summary>
    public abstract IReadOnlyList<string> Programs { get; }

    /// <summary>Its units in different distributions and versions; one of them is enabled.</summary>
    public abstract IReadOnlyList<string> Units { get; }

    /// <summary>The file that keeps it from starting although it is enabled; null if there is no such file.</summary>
    public virtual string? DisabledBy => null;

    /// <summary>What it leaves of a machine that it has provisioned; patterns of paths.</summary>
    public abstract IReadOnlyList<string> MachineState { get; }

    /// <summary>How to remove that.</summary>
    public abstract string Deprovision { get; }

    public static ProvisioningAgent Find(string name) => All.First(agent => agent.Name == name);
}
