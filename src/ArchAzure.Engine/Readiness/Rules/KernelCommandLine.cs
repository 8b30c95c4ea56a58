namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The command line that the boot loader will give the kernel sends its messages to the serial console and waits for slow disks.
/// </summary>
internal sealed class KernelCommandLine : ReadinessRule
{
    public override string Wanted => KernelArguments.Wanted;

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk)
    {
        var problems = KernelArguments.Problems(disk.Boot.Arguments);
        var line = string.Join(' ', disk.Boot.Arguments);
        return problems.Count == 0
            ? Pass(line)
            : Fail(
                $"{string.Join(", ", problems)} ({disk.Boot.ConfigurationPath}: {line})",
                $"Correct the command line in {disk.Boot.ConfigurationPath}.");
    }
}
