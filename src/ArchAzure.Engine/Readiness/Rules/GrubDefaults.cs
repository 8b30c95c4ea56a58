using System.Text.RegularExpressions;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// What grub-mkconfig will write later, in the machine, has the same command line: else the first kernel update undoes it.
/// </summary>
internal sealed partial class GrubDefaults : ReadinessRule
{
    private const string DefaultsFile = "/etc/default/grub";

    public override string Wanted => $"the same in {DefaultsFile}: {KernelArguments.Wanted}";

    public override string Source => Sources.AzureLinuxImage + "; GNU GRUB manual, \"Simple configuration handling\"";

    public override bool AppliesTo(CheckedDisk disk) => disk.TryBoot is not { Loader: BootLoader.Entries or BootLoader.UnifiedKernel };

    public override Finding Check(CheckedDisk disk)
    {
        if (!disk.Root.FileExists(DefaultsFile))
        {
            return Fail($"no {DefaultsFile}", $"Write GRUB_CMDLINE_LINUX into {DefaultsFile}.");
        }

        // Distributions of cloud images keep theirs in grub.d, read after the file itself.
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var file in Glob.Expand(disk.Root, $"{DefaultsFile}.d/*.cfg").Prepend(DefaultsFile))
        {
            foreach (var line in disk.Root.ReadLines(file).Select(line => line.Trim()))
            {
                if (line.Split('=', 2) is [var key, var value] && !key.StartsWith('#'))
                {
                    values[key] = value.StartsWith('\'') ? value.Trim('\'') : Expanded(value.Trim('"'));
                }
            }
        }

        var both = $"{values.GetValueOrDefault("GRUB_CMDLINE_LINUX")} {values.GetValueOrDefault("GRUB_CMDLINE_LINUX_DEFAULT")}";
        var problems = KernelArguments.Problems(both.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        return problems.Count == 0
            ? Pass(both.Trim())
            : Fail(
                $"{string.Join(", ", problems)} ({DefaultsFile}: {both.Trim()})",
                $"Correct GRUB_CMDLINE_LINUX and GRUB_CMDLINE_LINUX_DEFAULT in {DefaultsFile}.");

        // The file is a shell's; what others add to a value names it.
        string Expanded(string value) => Variable().Replace(value, match => values.GetValueOrDefault(match.Groups[1].Value, ""));
    }

    [GeneratedRegex(@"\$\{?(\w+)\}?", RegexOptions.None, 5000)]
    private static partial Regex Variable();
}
