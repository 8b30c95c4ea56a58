using ArchAzure.Settings;
using ArchAzure.Target;
using CsCheck;

namespace ArchAzure.UnitTests.Settings;

public sealed class BuildSettingsTests
{
    [Fact]
    public void Defaults_are_those_of_the_table()
    {
        var settings = BuildSettings.Default;
        Assert.Equal("latest", settings.ArchVersion);
        Assert.Equal("x86_64", settings.Architecture);
        Assert.Equal("https://geo.mirror.pkgbuild.com/$repo/os/$arch", settings.Mirror);
        Assert.Equal(new Uri("https://geo.mirror.pkgbuild.com/iso/"), settings.ReleaseUrl);
        Assert.Null(settings.ReleaseKey);
        Assert.True(settings.ReuseDockerImage);
        Assert.Equal(30720, settings.DiskSizeMiB);
        Assert.Equal(2048, settings.BootStart);
        Assert.Equal("ext4", settings.RootFileSystem);
        Assert.Equal("en_US.UTF-8", settings.Locale);
        Assert.Equal("UTC", settings.TimeZone);
        Assert.Equal("us", settings.Keymap);
        Assert.Equal("linux", settings.Kernel);
        Assert.Empty(settings.Packages);
        Assert.Empty(settings.Layers);
        Assert.Equal("waagent", settings.Agent);
        Assert.Equal("https://github.com/Azure/WALinuxAgent", settings.WaAgentSource);
        Assert.Equal(40, settings.WaAgentCommit.Length);
        Assert.All(SettingDefinition.All, d => Assert.True(d.Check(d.DefaultValue).Value == d.DefaultValue, d.Key));
    }

    [Fact]
    public void A_snapshot_takes_the_place_of_mirror_and_release_server()
    {
        var now = BuildSettings.Default.With("MIRROR", "https://mirror.example.org/$repo/os/$arch");
        Assert.Equal(now.Mirror, now.PackageMirror);
        var then = now.With("SNAPSHOT", "2026.11.05");
        Assert.Equal("https://archive.archlinux.org/repos/2026/11/05/$repo/os/$arch", then.PackageMirror);
        Assert.Equal(new Uri("https://archive.archlinux.org/iso/"), then.ReleaseUrl);
        Assert.Equal(now.Mirror, then.Mirror);
        Assert.Equal(
            "http://127.0.0.1:1/a/repos/2026/11/05/$repo/os/$arch", then.With("ARCHIVE_URL", "http://127.0.0.1:1/a").PackageMirror);
    }

    [Theory]
    [InlineData("REPRODUCIBLE=true", "needs SNAPSHOT")]
    [InlineData("REPRODUCIBLE=true;SNAPSHOT=2026.11.15;ROOT_FILE_SYSTEM=btrfs", "ROOT_FILE_SYSTEM=ext4")]
    [InlineData("SNAPSHOT=2026.11.15;ARCH_VERSION=2026.12.01", "newer than the packages of that day")]
    public void What_does_not_go_with_a_snapshot_is_told(string lines, string named)
    {
        var error = Assert.Throws<ArchAzureException>(() => BuildSettings.Parse(lines.Replace(';', '\n'), "s").ThrowIfInConflict());
        Assert.Equal("SettingsConflict", error.ErrorId);
        Assert.Contains(named, error.Message);
    }

    [Theory]
    [InlineData("ARCH_VERSION", "2026.11.01", "2026.11.01")]
    [InlineData("RELEASE_URL", "http://127.0.0.1:8080/iso", "http://127.0.0.1:8080/iso/")]
    [InlineData("SNAPSHOT", "2026.11.15", "2026.11.15")]
    [InlineData("SNAPSHOT", "", "")]
    [InlineData("ARCHIVE_URL", "http://127.0.0.1:8080/archive", "http://127.0.0.1:8080/archive/")]
    [InlineData("REPRODUCIBLE", "1", "true")]
    [InlineData("SEED", "web-2.b_c", "web-2.b_c")]
    [InlineData("REUSE_DOCKER_IMAGE", "Yes", "true")]
    [InlineData("REUSE_DOCKER_IMAGE", "0", "false")]
    [InlineData("DISK_SIZE", "002048", "2048")]
    [InlineData("DISK_SIZE", "4194304", "4194304")]
    [InlineData("BOOT_START", "65536", "65536")]
    [InlineData("TARGET_LANG", "ca_ES.UTF-8@valencia", "ca_ES.UTF-8@valencia")]
    [InlineData("TARGET_LANG", "C.UTF-8", "C.UTF-8")]
    [InlineData("TIME_ZONE", "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires")]
    [InlineData("TIME_ZONE", "Etc/GMT+12", "Etc/GMT+12")]
    [InlineData("KEYMAP", "de-latin1-nodeadkeys", "de-latin1-nodeadkeys")]
    [InlineData("PACKAGES", "  vim   gtk2+extra @x ", "vim gtk2+extra @x")]
    [InlineData("WAAGENT_SOURCE", "git://example.org/fork/agent.git", "git://example.org/fork/agent.git")]
    [InlineData("WAAGENT_COMMIT", "A976115FD7254F4F9F54CC33528F0817B07B7976", "a976115fd7254f4f9f54cc33528f0817b07b7976")]
    public void Takes(string key, string value, string effective) => Assert.Equal(effective, BuildSettings.Default.With(key, value)[key]);

    [Theory]
    [InlineData("ARCH_VERSION", "2026.13.01", "2026.11.01")]
    [InlineData("ARCHITECTURE", "aarch64", "Write x86_64")]
    [InlineData("SNAPSHOT", "latest", "YYYY.MM.DD")]
    [InlineData("SNAPSHOT", "2026.11.31", "YYYY.MM.DD")]
    [InlineData("SNAPSHOT", "2013.08.30", "from 2013.08.31 on")]
    [InlineData("ARCHIVE_URL", "ftp://x/", "https://")]
    [InlineData("SEED", "two words", "one word")]
    [InlineData("SEED", "-x", "one word")]
    [InlineData("MIRROR", "https://x/core/os/x86_64", "no $repo")]
    [InlineData("MIRROR", "https://x/$repo/$pkg", "other '$'")]
    [InlineData("MIRROR", "ftp://x/$repo/$arch", "https://")]
    [InlineData("MIRROR", "https://x/$repo/os/$arch # SigLevel", "web address")]
    [InlineData("RELEASE_URL", "file:///iso/", "https://")]
    [InlineData("RELEASE_URL", "https://x/iso/?a=b", "without '?'")]
    [InlineData("REUSE_DOCKER_IMAGE", "maybe", "true or false")]
    [InlineData("DISK_SIZE", "2047", "2048 or more")]
    [InlineData("DISK_SIZE", "30", "write 30720")]
    [InlineData("DISK_SIZE", "4194305", "4 TiB")]
    [InlineData("DISK_SIZE", "-30720", "whole number")]
    [InlineData("DISK_SIZE", "30720.5", "whole number")]
    [InlineData("DISK_SIZE", "99999999999999999999", "whole number")]
    [InlineData("BOOT_START", "2049", "multiple of 2048")]
    [InlineData("BOOT_START", "0", "multiple of 2048")]
    [InlineData("BOOT_START", "67584", "65536")]
    [InlineData("ROOT_FILE_SYSTEM", "xfs", "ext4 or btrfs")]
    [InlineData("TARGET_LANG", "en_US", "UTF-8")]
    [InlineData("TARGET_LANG", "en_US.UTF-8\n", "line break")]
    [InlineData("TIME_ZONE", "../../etc/passwd", "Europe/Berlin")]
    [InlineData("TIME_ZONE", "Europe//Berlin", "Europe/Berlin")]
    [InlineData("TIME_ZONE", "/Europe/Berlin", "Europe/Berlin")]
    [InlineData("KEYMAP", "../us", "keymap")]
    [InlineData("KEYMAP", "-us", "keymap")]
    [InlineData("KERNEL", "linux-zen", "linux or linux-lts")]
    [InlineData("KERNEL", "", "no value")]
    [InlineData("PACKAGES", "vim --overwrite", "'--overwrite' is not a package name")]
    [InlineData("PACKAGES", "$(reboot)", "not a package name")]
    [InlineData("LAYERS", "/a::/b", "empty path")]
    [InlineData("AGENT", "none", "waagent or cloud-init")]
    [InlineData("RESOURCE_DISK_SWAP", "-1", "0 for no swap")]
    [InlineData("RESOURCE_DISK_SWAP", "1048577", "up to 1048576")]
    [InlineData("RESOURCE_DISK_SWAP", "2000", "multiple of 64")]
    [InlineData("RESOURCE_DISK_SWAP", "yes", "Write for example 2048")]
    [InlineData("WAAGENT_SOURCE", "--upload-pack=reboot", "an option or a command")]
    [InlineData("WAAGENT_SOURCE", "ext::sh -c reboot", "an option or a command")]
    [InlineData("WAAGENT_SOURCE", "git@example.org:fork/agent.git", "the builder has none. Write the repository's https:// address")]
    [InlineData("WAAGENT_SOURCE", "ssh://git@example.org/fork/agent.git", "the builder has none. Write the repository's https:// address")]
    [InlineData("WAAGENT_SOURCE", "ssh://-oProxyCommand=reboot/agent.git", "read as an option")]
    [InlineData("WAAGENT_SOURCE", "ssh://git@-oProxyCommand=reboot/agent.git", "read as an option")]
    [InlineData("WAAGENT_SOURCE", "ssh://-l@host/agent.git", "read as an option")]
    [InlineData("WAAGENT_SOURCE", "ssh://%2doProxyCommand=reboot/agent.git", "read as an option")]
    [InlineData("WAAGENT_SOURCE", "git@-oProxyCommand=reboot:agent.git", "read as an option")]
    [InlineData("WAAGENT_SOURCE", "https://-x/agent.git", "read as an option")]
    [InlineData("WAAGENT_SOURCE", "data://x", "git repository")]
    [InlineData("WAAGENT_COMMIT", "master", "all 40 digits")]
    public void Refuses(string key, string value, string remedy)
    {
        var error = Assert.Throws<ArchAzureException>(() => BuildSettings.Default.With(key, value));
        Assert.Equal("InvalidSettingValue", error.ErrorId);
        Assert.Equal(key, error.Target);
        Assert.Contains(remedy, error.Message);
    }

    [Theory]
    [InlineData("DISK_SIZE", "30G", "write 30720 for 30G")]
    [InlineData("DISK_SIZE", "30GiB", "write 30720 for 30GiB")]
    [InlineData("DISK_SIZE", "30720MiB", "write 30720 for 30720MiB")]
    [InlineData("DISK_SIZE", "1.5T", "write 1572864 for 1.5T")]
    [InlineData("DISK_SIZE", "100 MB", "from 2048 to 4194304")]
    [InlineData("DISK_SIZE", "9T", "from 2048 to 4194304")]
    [InlineData("RESOURCE_DISK_SWAP", "2G", "write 2048 for 2G")]
    [InlineData("RESOURCE_DISK_SWAP", "2T", "up to 1048576")]
    [InlineData("BOOT_START", "1MiB", "write 2048 for 1MiB")]
    [InlineData("BOOT_START", "2048s", "write 2048 for 2048s")]
    [InlineData("BOOT_START", "1G", "multiple of 2048")]
    public void Tells_the_number_for_a_wrong_unit(string key, string value, string remedy)
    {
        var error = Assert.Throws<ArchAzureException>(() => BuildSettings.Parse($"{key}='{value}'", "s"));
        Assert.Equal("SettingWrongUnit", error.ErrorId);
        Assert.StartsWith($"s:1: {key}: ", error.Message);
        Assert.Contains(remedy, error.Message);
    }

    [Fact]
    public void An_override_names_the_parameter_and_leaves_the_original_alone()
    {
        var changed = BuildSettings.Default.With("DISK_SIZE", "4096");
        Assert.Equal(4096, changed.DiskSizeMiB);
        Assert.Equal(30720, BuildSettings.Default.DiskSizeMiB);
        Assert.StartsWith("-SizeMiB: ", Assert.Throws<ArchAzureException>(() => changed.With("DISK_SIZE", "1")).Message);
        Assert.StartsWith("-Other: ", Assert.Throws<ArchAzureException>(() => changed.With("DISK_SIZE", "1", "Other")).Message);
        Assert.Equal("UnknownSetting", Assert.Throws<ArchAzureException>(() => changed.With("DISK", "1")).ErrorId);
    }

    [Fact]
    public void Lists_come_from_parameters_element_by_element()
    {
        var settings = BuildSettings.Default.With("PACKAGES", ["vim", "htop"]).With("LAYERS", ["/my layers/a", "/b"]);
        Assert.Equal(["vim", "htop"], settings.Packages);
        Assert.Equal(["/my layers/a", "/b"], settings.Layers);
        Assert.Contains("-Package: 'vim htop'", Assert.Throws<ArchAzureException>(() => settings.With("PACKAGES", ["vim htop"])).Message);
        Assert.Contains("-Layer: '/a:/b'", Assert.Throws<ArchAzureException>(() => settings.With("LAYERS", ["/a:/b"])).Message);
    }

    [Fact]
    public void Relative_paths_start_at_the_file()
    {
        using var folder = new TempFolder();
        var path = folder.Write(
            "settings.env",
            "RELEASE_KEY=keys/mine.asc\nBOOTSTRAP_PATH=../a.tar.zst\nLAYERS='mine:../other one:/abs'\nWAAGENT_SOURCE=agent.tar.gz\n");
        var settings = BuildSettings.Load(path);
        Assert.Equal(path, settings.SourcePath);
        Assert.Equal(folder["keys/mine.asc"], settings.ReleaseKey);
        Assert.Equal(Path.GetFullPath(folder["../a.tar.zst"]), settings.BootstrapPath);
        Assert.Equal([folder["mine"], Path.GetFullPath(folder["../other one"]), "/abs"], settings.Layers);
        Assert.Equal(folder["agent.tar.gz"], settings.WaAgentSource);
        Assert.Equal("git://h/p", BuildSettings.Load(folder.Write("b", "WAAGENT_SOURCE=git://h/p")).WaAgentSource);
    }

    [Theory]
    [InlineData("https://example.org/a", true)]
    [InlineData("git://example.org/team/agent.git", true)]
    [InlineData("agent.tar.gz", false)]
    [InlineData("/a@b/c:d", false)]
    [InlineData("./a@b:c", false)]
    public void An_address_of_the_agent_is_one_everywhere(string source, bool isAddress)
    {
        var taken = BuildSettings.Default.With("WAAGENT_SOURCE", source)["WAAGENT_SOURCE"];
        Assert.Equal(isAddress ? source : "absolute", SettingDefinition.Find("WAAGENT_SOURCE")!.WithPaths(taken, _ => "absolute"));
        if (isAddress)
        {
            Assert.Equal(source, AgentSource.Parse(taken, "1").Location);
        }
        else
        {
            Assert.Equal("AgentSourceNotFound", Assert.Throws<ArchAzureException>(() => AgentSource.Parse(taken, "1")).ErrorId);
        }
    }

    [Fact]
    public void A_file_that_is_copied_means_the_same_elsewhere()
    {
        using var folder = new TempFolder();
        var given = folder.Write(
            "given/my.env",
            "# mine\r\nexport RELEASE_KEY='it\"s/a key.asc'\nLAYERS=\"mine:../other's\" # two\nKEYMAP=de\nWAAGENT_SOURCE=git://h/p\n");
        var copy = folder.Write("work/settings.env", SettingsFile.ReadRelocated(given));
        Assert.Equal(BuildSettings.Load(given).Values, BuildSettings.Load(copy).Values);
        Assert.Contains("# mine\r\n", File.ReadAllText(copy), StringComparison.Ordinal);
        Assert.Contains("\nKEYMAP=de\nWAAGENT_SOURCE=git://h/p\n", File.ReadAllText(copy), StringComparison.Ordinal);
    }

    [Fact]
    public void Scripts_see_only_what_runs_their_step_again()
    {
        foreach (var step in Enumerable.Range(1, 5))
        {
            var visible = SettingDefinition.Living.Where(
                definition => BuildSettings.Default.ScriptValues(step).Any(value => value.Key == definition.ScriptName));
            var inputs = Enumerable.Range(1, step).SelectMany(BuildSettings.Default.InputsOf).Select(line => line.Split('=')[0]);
            Assert.Subset(inputs.ToHashSet(), visible.Select(definition => definition.Key).ToHashSet());
        }

        Assert.DoesNotContain(BuildSettings.Default.ScriptValues(3), value => value.Key == "ARCHAZURE_RESOURCE_DISK_SWAP");
        Assert.Contains(KeyValuePair.Create("ARCHAZURE_RESOURCE_DISK_SWAP", "0"), BuildSettings.Default.ScriptValues(4));
        Assert.Contains(KeyValuePair.Create("ARCHAZURE_KEYMAP", "de"), BuildSettings.Default.With("KEYMAP", "de").ScriptValues(3));
    }

    [Fact]
    public void A_mirror_of_this_machine_does_not_go_into_the_image() =>
        Assert.Contains(
            KeyValuePair.Create("ARCHAZURE_MIRROR", BuildSettings.Default.Mirror),
            BuildSettings.Default.With("MIRROR", "http://127.0.0.1:8000/$repo/os/$arch").ScriptValues(3));

    [Fact]
    public void Each_agent_of_the_table_can_be_asked_for() =>
        Assert.All(ProvisioningAgent.All, agent => Assert.Equal(agent.Name, BuildSettings.Default.With("AGENT", agent.Name).Agent));

    [Fact]
    public void The_old_dhclient_key_is_accepted_with_the_reason_it_has_no_use()
    {
        var settings = BuildSettings.Parse("export REUSE_DHCLIENT=true\nDISK_SIZE=2048", "s");
        Assert.Contains("systemd-networkd", Assert.Single(settings.Warnings));
        Assert.Equal(2048, settings.DiskSizeMiB);
        Assert.DoesNotContain(settings.Values, v => v.Key == "REUSE_DHCLIENT");
    }

    [Fact]
    public void Swap_on_the_resource_disk_is_waagents()
    {
        BuildSettings.Parse("RESOURCE_DISK_SWAP=2048", "s").ThrowIfInConflict();
        BuildSettings.Parse("AGENT=cloud-init", "s").ThrowIfInConflict();
        var error = Assert.Throws<ArchAzureException>(
            BuildSettings.Parse("AGENT=cloud-init\nRESOURCE_DISK_SWAP=2048", "s").ThrowIfInConflict);
        Assert.Equal("SettingsConflict", error.ErrorId);
        Assert.Contains("AGENT=cloud-init", error.Message);
        Assert.Contains("RESOURCE_DISK_SWAP=0", error.Message);
    }

    [Fact]
    public void Values_come_in_the_order_of_the_table() =>
        Assert.Equal(
            SettingDefinition.All.Where(d => d.Obsolete is null).Select(d => d.Key),
            BuildSettings.Parse("KEYMAP=de\nARCH_VERSION=latest", "s").Values.Select(v => v.Key));

    [Fact]
    public void Passwords_in_addresses_are_masked()
    {
        Assert.Equal("see https://***@host/x and http://h/", BuildSettings.Masked("see https://me:secret@host/x and http://h/"));
        var error = Assert.Throws<ArchAzureException>(() => BuildSettings.Default.With("WAAGENT_SOURCE", "-https://me:secret@host/x"));
        Assert.DoesNotContain("secret", error.Message);
    }

    [Theory]
    [InlineData("MIRROR", "https://me:CANARY@host/$repo/os/$arch")]
    [InlineData("MIRROR", "HTTP://CANARY@host/$repo/os/$arch")]
    [InlineData("RELEASE_URL", "http://me:CANARY@host/iso/")]
    [InlineData("RELEASE_URL", "http:///me:CANARY@host/iso/")]
    [InlineData("WAAGENT_SOURCE", "https://CANARY@host/agent.git")]
    [InlineData("WAAGENT_SOURCE", "ssh://git:CANARY@host/agent.git")]
    public void Addresses_with_a_secret_are_refused_without_showing_it(string key, string value)
    {
        var error = Assert.Throws<ArchAzureException>(() => BuildSettings.Default.With(key, value));
        Assert.Equal("SettingHoldsSecret", error.ErrorId);
        Assert.DoesNotContain("CANARY", error.ToString());
        Assert.Contains("Remove them", error.Message);
        Assert.DoesNotContain("CANARY", Assert.Throws<ArchAzureException>(() => BuildSettings.Parse($"{key}='{value}'", "s")).ToString());
    }

    [Theory]
    [InlineData("/srv/https:/me@host")]
    [InlineData("C:/agents/me@home")]
    [InlineData("https://host/~me@home/agent.git")]
    public void Other_at_signs_are_no_secret(string value) =>
        Assert.Equal(value, BuildSettings.Default.With("WAAGENT_SOURCE", value).WaAgentSource);

    [Fact]
    public void Accepted_values_never_hold_what_could_start_a_new_line_or_option()
    {
        var text = Gen.OneOf(Gen.String[0, 30], Gen.String[Gen.Char["azAZ09-_./@+:$\n\t '\"=%"], 0, 30]);
        Gen.Select(Gen.OneOf(SettingDefinition.All.ToArray()), text).Sample(
            (definition, value) => definition.Check(value).Value is not { } taken
                || (
                    !taken.Any(char.IsControl)
                        && (definition.TakesPath || !taken.StartsWith('-'))
                        && definition.Check(taken).Value == taken),
            iter: 20000, threads: 1);
    }
}
