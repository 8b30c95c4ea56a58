namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The kernel is told its root by an identifier that the disk really has: names like /dev/sda1 change between boots and generations.
/// </summary>
internal sealed class RootArgument : ReadinessRule
{
    public override string Wanted => "root=UUID=… (or PARTUUID, LABEL) of the root partition";

    public override string Source => Sources.AzureLinuxImage + "; kernel-command-line(7)";

    public override Finding Check(CheckedDisk disk)
    {
        var argument = disk.Boot.Arguments.LastOrDefault(argument => argument.StartsWith("root=", StringComparison.Ordinal));
        if (argument is null)
        {
            return Fail($"no root= in {disk.Boot.ConfigurationPath}", "Give the kernel root=UUID=… of the root file system.");
        }

        var named = Identifiers.Resolve(disk, argument["root=".Length..]);
        return named is null || named.Number != disk.RootPartition.Number
            ? Fail(
                $"{argument} is {(named is null ? "on no partition" : $"partition {named.Number}")}, the root is partition "
                + $"{disk.RootPartition.Number}",
                $"Give the kernel root=UUID={disk.Identify(disk.RootPartition).Uuid}.")
            : Pass(argument);
    }
}
