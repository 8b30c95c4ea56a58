using System.Text;
using System.Text.RegularExpressions;
using ArchAzure.Disks;

namespace ArchAzure.BuildTests.Faults;

/// <summary>
/// All that two undisturbed builds of the same settings may differ in, and why. A file is never excused as a whole: what is
/// machine-made in it is replaced by a common text, and the rest must be equal.
/// </summary>
internal static partial class MachineMadeDifferences
{
    private static readonly PlaceRule[] s_places =
    [
        new("VHD footer", "time stamp|unique id|checksum", Always, "each VHD gets an identity and the time it was made"),
        new("ESP /.*", "entry: times", Always, "mtools stamps the time into folder entries"),
        new("ESP", "boot sector|volume id", OtherEsp, "the volume id is chosen by step 2"),
        new("(backup )?GPT header", "disk GUID|header CRC|entries CRC", OtherDisk, "GUIDs are chosen by step 2"),
        new("(backup )?GPT entry [123]", "partition GUID", OtherDisk, "GUIDs are chosen by step 2"),
        new(
            "ESP /EFI/BOOT/BOOTX64.EFI",
            "content",
            OtherRoot,
            "the core image searches for the root's UUID; the same file is compared in /boot/grub"),
        new("BIOS boot partition", "GRUB's core image", OtherRoot, "the core image searches for the root's UUID, and is compressed"),
    ];

    private static readonly ContentRule[] s_contents =
    [
        new("/etc/fstab", Identities, "the file systems' UUIDs"),
        new("/boot/grub/grub.cfg", Identities, "the root's UUID"),
        new("/boot/grub/x86_64-efi/core.efi", Identities, "the root's UUID, in the configuration built in"),
        new("/boot/grub/i386-pc/core.img", CompressedCore, "the root's UUID, in the configuration built in, compressed with the rest"),
        new("/var/lib/pacman/local/[^/]+/desc", InstallDate, "pacman notes when it installed a package"),
        new(
            @".*/__pycache__/[^/]+\.pyc",
            SourceTime,
            "python notes the time of the source it compiled, which git and the installer set again"),
        new("/etc/shadow", PasswordDay, "systemd-sysusers notes the day an account was made"),
    ];

    /// <summary>Whether a difference outside the root file system is explained.</summary>
    public static bool Explain(ImageDifference difference, ComparedImage expected, ComparedImage actual) =>
        s_places.Any(rule => Whole(rule.Place, difference.Place) && Whole(rule.What, difference.What) && rule.When(expected, actual));

    /// <summary>Whether a file's contents are the same but for what is machine-made in it.</summary>
    public static bool SameContent(string path, byte[] expected, byte[] actual, ComparedImage expectedImage, ComparedImage actualImage) =>
        s_contents.Any(rule => Whole(rule.Path, path)
            && rule.Normalize(expected, expectedImage, actualImage)
                .AsSpan()
                .SequenceEqual(rule.Normalize(actual, actualImage, expectedImage)));

    private static bool Whole(string pattern, string text) =>
        Regex.IsMatch(text, $"^(?:{pattern})$", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(1));

    private static bool Always(ComparedImage expected, ComparedImage actual) => true;

    private static bool OtherDisk(ComparedImage expected, ComparedImage actual) => expected.Disk.DiskGuid != actual.Disk.DiskGuid;

    private static bool OtherEsp(ComparedImage expected, ComparedImage actual) => expected.Disk.EspVolumeId != actual.Disk.EspVolumeId;

    private static bool OtherRoot(ComparedImage expected, ComparedImage actual) => expected.Disk.RootUuid != actual.Disk.RootUuid;

    private static byte[] Identities(byte[] content, ComparedImage own, ComparedImage other)
    {
        // Latin-1 keeps every byte as one character.
        var text = Encoding.Latin1.GetString(content);
        var replaced = text.Replace($"{own.Disk.RootUuid}", "ROOT-UUID", StringComparison.OrdinalIgnoreCase)
            .Replace(own.Disk.EspUuid, "ESP-UUID", StringComparison.OrdinalIgnoreCase);
        foreach (var partition in own.Disk.Partitions)
        {
            replaced = replaced.Replace($"{partition.PartitionGuid}", $"PARTITION-{partition.Number}", StringComparison.OrdinalIgnoreCase);
        }

        return Encoding.Latin1.GetBytes(replaced);
    }

    /// <summary>
    /// LZMA hides where the UUID is: with other identities only the part before the compressed one is compared, with the same all of
    /// it.
    /// </summary>
    private static byte[] CompressedCore(byte[] content, ComparedImage own, ComparedImage other) =>
        OtherRoot(own, other) ? content[..GrubBoot] : content;

    /// <summary>GRUB's diskboot.img: the sector that loads the rest, its block list at the end left out (it holds the length).</summary>
    private const int GrubBoot = 512 - 12;

    private static byte[] InstallDate(byte[] content, ComparedImage own, ComparedImage other) =>
        Encoding.Latin1.GetBytes(InstallDateField().Replace(Encoding.Latin1.GetString(content), "%INSTALLDATE%\nTIME\n"));

    /// <summary>PEP 552: magic, flags, then, with flags 0, the time and the size of the source.</summary>
    private static byte[] SourceTime(byte[] content, ComparedImage own, ComparedImage other) =>
        content.Length >= 16 && BitConverter.ToUInt32(content, 4) == 0 ? [.. content[..8], .. content[12..]] : content;

    private static byte[] PasswordDay(byte[] content, ComparedImage own, ComparedImage other) =>
        Encoding.Latin1.GetBytes(ShadowDay().Replace(Encoding.Latin1.GetString(content), match => $"{match.Groups[1].Value}DAY:"));

    [GeneratedRegex(@"%INSTALLDATE%\n\d+\n", RegexOptions.None, 1000)]
    private static partial Regex InstallDateField();

    [GeneratedRegex(@"^([^:\n]*:[^:\n]*:)\d+:", RegexOptions.Multiline, 1000)]
    private static partial Regex ShadowDay();

    /// <summary>A place outside the root, as <see cref="DiskMap"/> names it.</summary>
    private sealed record PlaceRule(string Place, string What, Func<ComparedImage, ComparedImage, bool> When, string Why);

    /// <summary>A file of the root, and what makes two of them alike.</summary>
    private sealed record ContentRule(string Path, Func<byte[], ComparedImage, ComparedImage, byte[]> Normalize, string Why);
}
