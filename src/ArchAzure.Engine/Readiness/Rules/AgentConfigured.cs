using System.Globalization;
using ArchAzure.FileSystems;
using ArchAzure.Target;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// Who provisions is able to.
/// Swap is on the resource disk or nowhere.
/// </summary>
internal sealed class AgentConfigured : ReadinessRule
{
    private static readonly ProvisioningAgent s_waAgent = ProvisioningAgent.Find("waagent");
    private static readonly ProvisioningAgent s_cloudInit = ProvisioningAgent.Find("cloud-init");

    public override string Wanted => $"Provisioning.Agent={Agents.Names}, that agent enabled, sane ResourceDisk settings";

    public override string Source => Sources.WaAgent;

    public override Finding Check(CheckedDisk disk)
    {
        var root = disk.Root;
        if (!root.FileExists(Agents.Configuration))
        {
            return s_waAgent.ProgramIn(root) is null
                ? CheckCloudInit(root)
                : Fail($"no {Agents.Configuration}", $"Install waagent's {Agents.Configuration}.");
        }

        var settings = Agents.ReadConfiguration(root);
        var problems = new List<string>();
        var given = settings.GetValueOrDefault("Provisioning.Agent", "auto").ToLowerInvariant();

        // As the agent does: https://github.com/Azure/WALinuxAgent, azurelinuxagent/pa/provision/factory.py.
        var provisioner = given != "auto" ? given : s_cloudInit.EnabledBy(root) is null ? "waagent" : "cloud-init";
        switch (provisioner)
        {
            case "waagent":
                if (settings.GetValueOrDefault("Provisioning.Enabled", "y") != "y")
                {
                    problems.Add("Provisioning.Enabled=n");
                }

                if (s_waAgent.EnabledBy(root) is null)
                {
                    problems.Add("Provisioning.Agent=waagent, but waagent is not enabled");
                }

                break;
            case "cloud-init":
                if (CheckCloudInit(root) is { Outcome: not ReadinessOutcome.Passed } finding)
                {
                    return finding;
                }

                break;
            default:
                problems.Add($"Provisioning.Agent={provisioner}");
                break;
        }

        if (settings.GetValueOrDefault("ResourceDisk.Format", "n") == "y"
            && settings.GetValueOrDefault("ResourceDisk.MountPoint", "/mnt/resource").TrimEnd('/').Length == 0)
        {
            problems.Add("ResourceDisk.MountPoint is the root: swap would lie on the OS disk");
        }

        var remedy = $"Correct {Agents.Configuration}.";
        var swap = SwapProblems(settings).ToList();
        return problems.Count > 0 ? Fail(string.Join(", ", [.. problems, .. swap]), remedy)
            : swap.Count > 0 ? Warn($"{string.Join(", ", swap)}: there will be no swap", remedy)
            : Pass(
                $"Provisioning.Agent={given}{(given == provisioner ? "" : $" ({provisioner})")}, "
                + $"ResourceDisk.Format={settings.GetValueOrDefault("ResourceDisk.Format", "n")}");
    }

    private static IEnumerable<string> SwapProblems(IReadOnlyDictionary<string, string> settings)
    {
        if (settings.GetValueOrDefault("ResourceDisk.EnableSwap", "n") == "y")
        {
            if (settings.GetValueOrDefault("ResourceDisk.Format", "n") != "y")
            {
                yield return "ResourceDisk.EnableSwap=y needs ResourceDisk.Format=y";
            }

            if (
                !int.TryParse(
                    settings.GetValueOrDefault("ResourceDisk.SwapSizeMB", "0"),
                    NumberStyles.None,
                    CultureInfo.InvariantCulture,
                    out var size)
                || size == 0)
            {
                yield return "ResourceDisk.EnableSwap=y needs ResourceDisk.SwapSizeMB";
            }
        }
    }

    private static Finding CheckCloudInit(IFileSystemView root)
    {
        if (s_cloudInit.ProgramIn(root) is null || s_cloudInit.EnabledBy(root) is null)
        {
            return Fail(
                "cloud-init is to provision, but is not installed or not enabled",
                "Install and enable cloud-init, or set Provisioning.Agent=waagent.");
        }

        // A list in brackets on one line is what all distributions and Azure's own document write; other YAML is left to cloud-init.
        var lists = Glob.Expand(root, "/etc/cloud/cloud.cfg.d/*.cfg").Prepend("/etc/cloud/cloud.cfg")
            .SelectMany(root.ReadLines)
            .Where(line => line.StartsWith("datasource_list:", StringComparison.Ordinal))
            .ToList();
        return lists switch
        {
            [] => Unknown("cloud-init is enabled; which data sources it asks, it decides at boot"),
            [.., var last] when last.Contains("Azure", StringComparison.Ordinal) => Pass($"cloud-init, {last}"),
            [.., var last] => Fail($"cloud-init does not ask Azure: {last}", "Add Azure to datasource_list in /etc/cloud/cloud.cfg.d."),
        };
    }
}
