using ArchAzure.FileSystems;
using ArchAzure.Target;

namespace ArchAzure.Readiness;

/// <summary>The provisioning agents of an image.</summary>
internal static class Agents
{
    public const string Configuration = "/etc/waagent.conf";

    /// <summary>The names of all, e.g. <c>waagent or cloud-init</c>.</summary>
    public static string Names { get; } = string.Join(" or ", ProvisioningAgent.All.Select(agent => agent.Name));

    /// <summary>The agent's program in an image, or null.</summary>
    public static string? ProgramIn(this ProvisioningAgent agent, IFileSystemView root) => agent.Programs.FirstOrDefault(root.FileExists);

    /// <summary>The link that starts the agent at boot, or null.</summary>
    public static string? EnabledBy(this ProvisioningAgent agent, IFileSystemView root) =>
        agent.DisabledBy is { } file && root.FileExists(file) ? null : SystemdUnits.EnabledBy(root, [.. agent.Units]);

    /// <summary>waagent.conf's settings; of one given twice the last counts.</summary>
    public static IReadOnlyDictionary<string, string> ReadConfiguration(IFileSystemView root)
    {
        var settings = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in root.ReadLines(Configuration))
        {
            if (line.Split('#')[0].Split('=', 2) is [var key, var value])
            {
                settings[key.Trim()] = value.Trim().Trim('"');
            }
        }

        return settings;
    }
}
