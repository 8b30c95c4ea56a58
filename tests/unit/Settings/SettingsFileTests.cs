using ArchAzure.Settings;
using CsCheck;

namespace ArchAzure.UnitTests.Settings;

public sealed class SettingsFileTests
{
    [Theory]
    [InlineData("KERNEL=linux-lts", "linux-lts")]
    [InlineData("export KERNEL=linux-lts", "linux-lts")]
    [InlineData("  export\tKERNEL='linux-lts'  # the slow one", "linux-lts")]
    [InlineData("KERNEL=\"linux-lts\"\r", "linux-lts")]
    [InlineData("KERNEL=li\"nux\"'-lts'", "linux-lts")]
    [InlineData("KERNEL=linux#lts", "linux#lts")]
    [InlineData("KERNEL=", "")]
    [InlineData("KERNEL=\"\"", "")]
    [InlineData("KERNEL= # nothing", "")]
    [InlineData("\uFEFF# first\n\nKERNEL=a", "a")]
    [InlineData("KERNEL=\"a\\\"b\\\\c\\$d\\`e\\f\"", "a\"b\\c$d`e\\f")]
    [InlineData("KERNEL='$(reboot) ; `x` ${y} > z'", "$(reboot) ; `x` ${y} > z")]
    [InlineData("KERNEL=\"a; b | c > d & e\"", "a; b | c > d & e")]
    public void Reads_what_a_shell_would_assign(string text, string value)
    {
        var line = Assert.Single(SettingsFile.Parse(text, "settings.env"));
        Assert.Equal("KERNEL", line.Key);
        Assert.Equal(value, line.Value);
    }

    [Theory]
    [InlineData("KERNEL=$(reboot)", "a command to run")]
    [InlineData("KERNEL=\"$(reboot)\"", "a command to run")]
    [InlineData("KERNEL=`reboot`", "a command to run")]
    [InlineData("KERNEL=\"`reboot`\"", "a command to run")]
    [InlineData("KERNEL=${HOME}", "a variable")]
    [InlineData("KERNEL=\"x${HOME}\"", "a variable")]
    [InlineData("KERNEL=$HOME", "a variable")]
    [InlineData("KERNEL=$repo", "a variable")]
    [InlineData("MIRROR=https://x/$repo/$arch/$HOME", "a variable")]
    [InlineData("MIRROR=https://x/$repository/$arch", "a variable")]
    [InlineData("KERNEL=linux;reboot", "';'")]
    [InlineData("KERNEL=linux&&reboot", "'&'")]
    [InlineData("KERNEL=linux|reboot", "'|'")]
    [InlineData("KERNEL=linux>/etc/passwd", "'>'")]
    [InlineData("KERNEL=<(reboot)", "'<'")]
    [InlineData("KERNEL=(a)", "'('")]
    [InlineData("KERNEL=a\\ b", "backslash")]
    [InlineData("LAYERS=~/layer", "'~'")]
    public void Refuses_what_a_shell_would_run_or_expand(string text, string reason)
    {
        var error = Assert.Throws<ArchAzureException>(() => SettingsFile.Parse("# first\n" + text, "/w/settings.env"));
        Assert.Equal("SettingNotExecuted", error.ErrorId);
        Assert.StartsWith("/w/settings.env:2: ", error.Message);
        Assert.Contains(reason, error.Message);
    }

    [Theory]
    [InlineData("KERNEL = linux", "space before")]
    [InlineData("KERNEL= linux", "space after")]
    [InlineData("KERNEL=linux lts", "in quotes")]
    [InlineData("KERNEL='linux", "never closed")]
    [InlineData("KERNEL=\"linux", "never closed")]
    [InlineData("KERNEL=\"linux\\", "never closed")]
    [InlineData("reboot", "commands are not run")]
    [InlineData("=x", "commands are not run")]
    [InlineData("1KERNEL=x", "commands are not run")]
    [InlineData("export", "commands are not run")]
    [InlineData("KERNEL=a\0b", "control character")]
    [InlineData("KERNEL='a\u001b[2Jb'", "control character")]
    public void Refuses_what_is_not_an_assignment(string text, string reason)
    {
        var error = Assert.Throws<ArchAzureException>(() => SettingsFile.Parse(text, "s"));
        Assert.Equal("SettingsSyntax", error.ErrorId);
        Assert.StartsWith("s:1: ", error.Message);
        Assert.Contains(reason, error.Message);
    }

    [Theory]
    [InlineData("DISKSIZE=1", "Did you mean DISK_SIZE?")]
    [InlineData("disk_size=1", "Did you mean DISK_SIZE?")]
    [InlineData("TIMEZONE=UTC", "Did you mean TIME_ZONE?")]
    [InlineData("SOMETHING_ELSE_ALTOGETHER=1", "The keys are ARCH_VERSION,")]
    public void Names_the_nearest_key(string text, string remedy)
    {
        var error = Assert.Throws<ArchAzureException>(() => SettingsFile.Parse(text, "s"));
        Assert.Equal("UnknownSetting", error.ErrorId);
        Assert.Contains(remedy, error.Message);
    }

    [Fact]
    public void Refuses_a_key_that_is_there_twice()
    {
        var error = Assert.Throws<ArchAzureException>(() => SettingsFile.Parse("KERNEL=linux\n\nexport KERNEL=linux-lts", "s"));
        Assert.Equal("DuplicateSetting", error.ErrorId);
        Assert.StartsWith("s:3: ", error.Message);
        Assert.Contains("line 1", error.Message);
    }

    [Fact]
    public void Refuses_files_that_are_no_settings()
    {
        using var folder = new TempFolder();
        Assert.Equal("SettingsFileNotFound", Assert.Throws<ArchAzureException>(() => SettingsFile.Read(folder["none"])).ErrorId);
        Assert.Equal(
            "SettingsFileUnreadable",
            Assert.Throws<ArchAzureException>(() => SettingsFile.Read(folder.Write("latin1", [0x23, 0xE4, 0x0A]))).ErrorId);
        Assert.Equal(
            "SettingsFileUnreadable",
            Assert.Throws<ArchAzureException>(() => SettingsFile.Read(folder.Write("large", new byte[2 << 20]))).ErrorId);
    }

    [Fact]
    public void The_default_file_is_the_table_and_gives_the_defaults()
    {
        var path = Path.Combine(RepositoryRoot(), "settings.env.default");
        Assert.Equal(SettingsFile.DefaultText(), File.ReadAllText(path));
        Assert.Equal(BuildSettings.Default.Values, BuildSettings.Parse(File.ReadAllText(path), path).Values);
    }

    [Fact]
    public void A_shell_reads_the_default_file_as_we_do()
    {
        var path = Path.Combine(RepositoryRoot(), "settings.env.default");
        var keys = BuildSettings.Default.Values.Select(v => v.Key);
        var script = $". '{path}'\n" + string.Concat(keys.Select(k => $"printf '%s\\n' \"${k}\"\n"));
        Assert.Equal(BuildSettings.Default.Values.Select(v => v.Value), Tool.Run("sh", ["-c", script]).TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public void No_text_does_anything_but_parse_or_give_an_error_of_ours()
    {
        var piece = Gen.OneOf(
            Gen.OneOf(
                "export ", "KERNEL", "MIRROR", "LAYERS", "=", "\"", "'", "$repo", "$(", "`", "${x}", "\\", "#", " ", "\t", "\n", "\r\n",
                ";", "~", "\0", "linux"),
            Gen.OneOf(SettingDefinition.All.Select(d => Gen.Const(d.Key + "=" + d.DefaultValue + "\n")).ToArray()),
            Gen.String[0, 8]);
        piece.Array[0, 20].Select(string.Concat).Sample(
            text =>
            {
                try
                {
                    var settings = BuildSettings.Parse(text, "s");
                    // What was taken holds: written out again in quotes it gives the same.
                    var again = string.Concat(settings.Values.Select(v => $"{v.Key}='{v.Value}'\n"));
                    return again.Contains("''", StringComparison.Ordinal)
                        || settings.Values.Any(v => v.Value.Contains('\'', StringComparison.Ordinal))
                        || settings.Values.SequenceEqual(BuildSettings.Parse(again, "s").Values);
                }
                catch (ArchAzureException)
                {
                    return true;
                }
            },
            iter: 5000, threads: 1);
    }

    private static string RepositoryRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "ArchAzure.slnx")))
        {
            folder = folder.Parent ?? throw new InvalidOperationException("ArchAzure.slnx not found above the tests.");
        }

        return folder.FullName;
    }
}
