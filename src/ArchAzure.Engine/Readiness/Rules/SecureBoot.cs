using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// Under Secure Boot the firmware starts signed loaders only, and Trusted Launch, with Secure Boot, is what Azure gives new machines of
/// generation 2 by default.
/// </summary>
internal sealed class SecureBoot : ReadinessRule
{
    public override string Wanted => "a boot loader that is signed";

    public override string Source => "https://learn.microsoft.com/azure/virtual-machines/trusted-launch";

    public override bool AppliesTo(ReadinessOptions options) => options.Generation is not 1;

    // Else there is nothing to sign.
    public override bool AppliesTo(CheckedDisk disk) => new UefiBoot().Check(disk).Outcome == ReadinessOutcome.Passed;

    public override Finding Check(CheckedDisk disk)
    {
        using var stream = disk.EfiSystem.OpenRead(UefiBoot.Loader);
        return PortableExecutable.TryRead(stream) is { IsSigned: true }
            ? Pass($"{UefiBoot.Loader} is signed; by whom is not looked at")
            : Warn(
                $"{UefiBoot.Loader} is not signed",
                "Deploy with the security type Standard (az vm create --security-type Standard), or with Secure Boot off.");
    }
}
