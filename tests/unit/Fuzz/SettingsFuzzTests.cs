using System.Text;
using ArchAzure.Settings;
using CsCheck;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Fuzz;

public sealed class SettingsFuzzTests(ITestOutputHelper output)
{
    private const string Sample = "# mine\nexport DISK_SIZE=4096\nMIRROR='https://m.example/$repo/os/$arch'\nPACKAGES=\"vim htop\" # "
        + "tools\nLAYERS='one:/two three'\n"
        + "WAAGENT_SOURCE=git://h/p\nTIME_ZONE=Europe/Berlin\nREUSE_DHCLIENT=no\nRESOURCE_DISK_SWAP=64\r\nRELEASE_KEY='a "
        + "b.asc'\nBOOTSTRAP_PATH=a.tar.zst\nRELEASE_URL=http://u:p@h:8080/x\n";

    private static readonly string[] s_words =
        [
            .. SettingDefinition.All.Select(d => "\n" + d.Key + "="), "export ", "\"", "'", "\\", "$repo", "$arch", "${x}", "\n", " ",
            "\t", "#", "~", ":", ";", "http://", "--",
        ];

    [Fact]
    public void A_settings_file_is_read_or_refused() =>
        Mutations.OfText([Sample, SettingsFile.DefaultText()], s_words).Run(
            output,
            text =>
            {
                var settings = BuildSettings.Parse(text, "s");
                Use(settings);

                // What was taken is the same when written out again.
                Assert.Equal(settings.Values, BuildSettings.Parse(Written(settings), "s").Values);
            },
            count: 6000);

    [Fact]
    public void A_settings_file_of_any_bytes_is_read_or_refused()
    {
        using var folder = new TempFolder();
        Mutations.Of([Encoding.UTF8.GetBytes(Sample)], s_words).Run(
            output,
            bytes =>
            {
                var settings = BuildSettings.Load(folder.Write("settings.env", bytes));
                Use(settings);
                Assert.All(settings.Layers, path => Assert.True(Path.IsPathFullyQualified(path)));
                Assert.True(settings.ReleaseKey is null || Path.IsPathFullyQualified(settings.ReleaseKey));
                Assert.True(settings.BootstrapPath is null || Path.IsPathFullyQualified(settings.BootstrapPath));
            },
            count: 800);
    }

    /// <summary>Every member gives its value, whatever was accepted.</summary>
    private static void Use(BuildSettings settings)
    {
        Assert.True(settings.ReleaseUrl.IsAbsoluteUri);
        Assert.InRange(settings.DiskSizeMiB, 2048, 4194304);
        Assert.InRange(settings.BootStart, 2048, 65536);
        Assert.InRange(settings.ResourceDiskSwapMiB, 0, 1048576);
        Assert.All(settings.Packages, name => Assert.Matches(@"^[a-z0-9@_+][a-z0-9@._+-]*\z", name));
        Assert.NotNull(ArchAzure.Containers.BuilderSpec.NetworkFor(settings.Mirror));
        Assert.DoesNotContain("\n", ArchAzure.Bootstrap.BuilderRecipe.MirrorList(settings.Mirror).TrimEnd('\n'), StringComparison.Ordinal);
        foreach (var (_, value) in settings.Values)
        {
            Assert.DoesNotContain(value, char.IsControl);
            Assert.NotNull(BuildSettings.Masked(value));
        }
    }

    // As a careful person would: single quotes, and a single quote itself between double ones.
    private static string Written(BuildSettings settings) =>
        string.Concat(settings.Values.Select(v => $"{v.Key}='{v.Value.Replace("'", "'\"'\"'", StringComparison.Ordinal)}'\n"));
}
