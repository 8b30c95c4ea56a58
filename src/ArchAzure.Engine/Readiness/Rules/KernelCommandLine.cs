namespace ArchAzure.Readiness.Rules;

/// <summary>The command line that the boot loader will give the kernel sends its messages to the serial console and waits for slow disks.</summary>
internal sealed class KernelCommandLine : ReadinessRule
{
    public override string Wanted => KernelArguments.Wanted;

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(ReadinessImage image)
    {
        var problems = KernelArguments.Problems(image.Boot.Arguments);
        var line = string.Join(' ', image.Boot.Arguments);
        return problems.Count == 0 ? Pass(line) : Fail($"{string.Join(", ", problems)} ({image.Boot.ConfigurationPath}: {line})", $"Correct the command line in {image.Boot.ConfigurationPath}.");
    }
}
