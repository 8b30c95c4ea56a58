using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>The provisioning agents of an image.</summary>
internal static class Agents
{
    public const string Configuration = "/etc/waagent.conf";

    private static readonly string[] WaAgentPaths = ["/usr/bin/waagent", "/usr/sbin/waagent", "/usr/local/bin/waagent", "/usr/local/sbin/waagent"];

    private static readonly string[] CloudInitPaths = ["/usr/bin/cloud-init", "/usr/local/bin/cloud-init"];

    // cloud-init 24.3 renamed its services; the target is older than that and starts both.
    private static readonly string[] CloudInitUnits = ["cloud-init-main.service", "cloud-init-local.service", "cloud-init.service", "cloud-init.target"];

    public static string? WaAgent(IImageFileSystem root) => Array.Find(WaAgentPaths, root.FileExists);

    public static string? CloudInit(IImageFileSystem root) => Array.Find(CloudInitPaths, root.FileExists);

    public static string? WaAgentEnabledBy(IImageFileSystem root) => SystemdUnits.EnabledBy(root, "waagent.service", "walinuxagent.service");

    public static string? CloudInitEnabledBy(IImageFileSystem root) =>
        root.FileExists("/etc/cloud/cloud-init.disabled") ? null : SystemdUnits.EnabledBy(root, CloudInitUnits);

    /// <summary>waagent.conf's settings; of one given twice the last counts.</summary>
    public static IReadOnlyDictionary<string, string> ReadConfiguration(IImageFileSystem root)
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
