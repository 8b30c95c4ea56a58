namespace ArchAzure.Readiness.Rules;

/// <summary>The kernel is told its root by an identifier that the disk really has: names like /dev/sda1 change between boots and generations.</summary>
internal sealed class RootArgument : ReadinessRule
{
    public override string Wanted => "root=UUID=… (or PARTUUID, LABEL) of the root partition";

    public override string Source => Sources.AzureLinuxImage + "; kernel-command-line(7)";

    public override Finding Check(ReadinessImage image)
    {
        var argument = image.Boot.Arguments.LastOrDefault(argument => argument.StartsWith("root=", StringComparison.Ordinal));
        if (argument is null)
        {
            return Fail($"no root= in {image.Boot.ConfigurationPath}", "Give the kernel root=UUID=… of the root file system.");
        }

        var named = Identifiers.Resolve(image, argument["root=".Length..]);
        return named is null || named.Number != image.RootPartition.Number
            ? Fail($"{argument} is {(named is null ? "on no partition" : $"partition {named.Number}")}, the root is partition {image.RootPartition.Number}", $"Give the kernel root=UUID={image.Identify(image.RootPartition).Uuid}.")
            : Pass(argument);
    }
}
