using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>Generation 2 starts: a program for x86-64 at the removable path, since a new virtual machine has no boot entries.</summary>
internal sealed class UefiBoot : ReadinessRule
{
    /// <summary>What the firmware starts.</summary>
    public const string Loader = "/EFI/BOOT/BOOTX64.EFI";

    public override string Wanted => $"a UEFI program for x86-64 at {Loader} of the EFI system partition";

    public override string Source => Sources.UefiSpecification + ", 3.5.1.1; PE Format (learn.microsoft.com/windows/win32/debug/pe-format)";

    public override bool AppliesTo(ReadinessOptions options) => options.Generation is not 1;

    public override Finding Check(CheckedDisk disk)
    {
        const string Remedy = "Put GRUB for x86_64-efi there: grub-install --target=x86_64-efi --removable, or ConvertTo-AzureVhd.";
        if (!disk.EfiSystem.FileExists(Loader))
        {
            return Fail($"no {Loader}", Remedy);
        }

        using var stream = disk.EfiSystem.OpenRead(Loader);
        var problem = ProblemOf(PortableExecutable.TryRead(stream));
        return problem is null ? Pass($"{Loader}, {stream.Length / 1024} KiB") : Fail($"{Loader} {problem}", Remedy);
    }

    private static string? ProblemOf(PortableExecutable? program)
    {
        const int MachineX64 = 0x8664;
        const int EfiApplication = 10;
        return program is null ? "is no program (PE)"
            : program.Machine != MachineX64 ? $"is for another processor (machine 0x{program.Machine:x})"
            : !program.IsPe32Plus ? "is no PE32+"
            : program.Subsystem != EfiApplication ? "is no UEFI application"
            : null;
    }
}
