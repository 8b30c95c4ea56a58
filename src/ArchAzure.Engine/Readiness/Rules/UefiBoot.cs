using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>Generation 2 starts: a program for x86-64 at the removable path, since a new virtual machine has no boot entries.</summary>
internal sealed class UefiBoot : ReadinessRule
{
    private const string Loader = "/EFI/BOOT/BOOTX64.EFI";

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
        var problem = ProblemOf(stream);
        return problem is null ? Pass($"{Loader}, {stream.Length / 1024} KiB") : Fail($"{Loader} {problem}", Remedy);
    }

    private static string? ProblemOf(Stream stream)
    {
        const int PeOffsetField = 0x3C;
        const int HeadLength = 4096;
        const ushort MachineX64 = 0x8664;
        const ushort Pe32Plus = 0x20B;
        const ushort EfiApplication = 10;
        const int OptionalHeader = 24;
        var head = new byte[HeadLength];
        var length = stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        if (length < 64 || head.U16(0) != 0x5A4D)
        {
            return "is no program (PE)";
        }

        // All known loaders have their headers in the first kilobyte.
        var pe = head.U32(PeOffsetField);
        if (pe > length - OptionalHeader - 72 || head.U32((int)pe) != 0x0000_4550)
        {
            return "is no program (PE)";
        }

        return head.U16((int)pe + 4) != MachineX64 ? $"is for another processor (machine 0x{head.U16((int)pe + 4):x})"
            : head.U16((int)pe + OptionalHeader) != Pe32Plus ? "is no PE32+"
            : head.U16((int)pe + OptionalHeader + 68) != EfiApplication ? "is no UEFI application"
            : null;
    }
}
