using System.Formats.Tar;
using System.Text.RegularExpressions;
using ArchAzure.Target;

namespace ArchAzure.UnitTests.Target;

/// <summary>The templates of the module's own layers.</summary>
public sealed partial class TemplateTests
{
    private static readonly Dictionary<string, string> s_values = new(StringComparer.Ordinal)
    {
        ["ARCHAZURE_IMAGE_VERSION"] = "2026.11.01",
        ["ARCHAZURE_ROOT_UUID"] = "0f1e2d3c-4b5a-4697-8877-665544332211",
        ["ARCHAZURE_ESP_UUID"] = "12AB-34CD",
        ["ARCHAZURE_ROOT_FILE_SYSTEM"] = "ext4",
        ["ARCHAZURE_ROOT_FSCK_PASS"] = "1",
        ["ARCHAZURE_KERNEL"] = "linux-lts",
    };

    [Fact]
    public async Task The_command_line_grub_mkconfig_would_write_later_is_the_same()
    {
        var file = await File.ReadAllLinesAsync(Path.Combine(Layers, "azure/files/etc/default/grub"));
        var line = file.Single(text => text.StartsWith("GRUB_CMDLINE_LINUX=", StringComparison.Ordinal));
        var linux = LinuxLine().Match(await FilledAsync("azure", "boot/grub/grub.cfg"));

        Assert.Equal($"GRUB_CMDLINE_LINUX=\"{linux.Groups[1].Value}\"", line);
        Assert.Contains("GRUB_CMDLINE_LINUX_DEFAULT=\"\"", file);
    }

    [Fact]
    public async Task Fstab_and_grub_name_the_root_by_its_uuid()
    {
        var fstab = (await FilledAsync("base", "etc/fstab"))
            .Split('\n')
            .Where(line => line.Length > 0 && line[0] != '#')
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .ToList();

        Assert.Equal([$"UUID={s_values["ARCHAZURE_ROOT_UUID"]}", "/", "ext4"], fstab[0][..3]);
        Assert.Equal([$"UUID={s_values["ARCHAZURE_ESP_UUID"]}", "/efi", "vfat"], fstab[1][..3]);
        Assert.All(fstab, fields => Assert.Equal(6, fields.Length));
        var grub = await FilledAsync("azure", "boot/grub/grub.cfg");
        Assert.Contains($"root=UUID={s_values["ARCHAZURE_ROOT_UUID"]} rw ", grub, StringComparison.Ordinal);
        Assert.Contains("/boot/initramfs-linux-lts.img", grub, StringComparison.Ordinal);
        Assert.EndsWith(
            "\nIMAGE_VERSION=2026.11.01\n", await FilledAsync("base", "usr/lib/archazure/image-release"), StringComparison.Ordinal);
    }

    private static async Task<string> FilledAsync(string layer, string name)
    {
        using var stream = new MemoryStream();
        await Layer.Load(Path.Combine(Layers, layer)).WriteFilesAsync(stream, early: false, s_values, default);
        stream.Position = 0;
        using var tar = new TarReader(stream);
        while (tar.GetNextEntry() is { } entry)
        {
            if (entry.Name == name)
            {
                using var reader = new StreamReader(entry.DataStream!);
                return await reader.ReadToEndAsync();
            }
        }

        throw new FileNotFoundException(name);
    }

    [GeneratedRegex(@"^    linux \S+ root=\S+ rw (.*)$", RegexOptions.Multiline, 1000)]
    private static partial Regex LinuxLine();

    private static string Layers
    {
        get
        {
            var folder = AppContext.BaseDirectory;
            while (!Directory.Exists(Path.Combine(folder, "module/layers")))
            {
                folder = Path.GetDirectoryName(folder) ?? throw new DirectoryNotFoundException("module/layers");
            }

            return Path.Combine(folder, "module/layers");
        }
    }
}
