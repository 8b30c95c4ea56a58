namespace ArchAzure.Target;

/// <summary>Step 4: the provisioning agent.</summary>
/// <param name="Name"><c>waagent</c> or <c>cloud-init</c>.</param>
/// <param name="Source">Where the Azure agent came from.</param>
/// <param name="Commit">Its commit, where the source has commits.</param>
/// <param name="AgentVersion">What it calls itself.</param>
public sealed record AgentProduct(string Name, string Source, string? Commit, string AgentVersion);
