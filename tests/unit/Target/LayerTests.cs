using System.Formats.Tar;
using ArchAzure.Target;

namespace ArchAzure.UnitTests.Target;

public sealed class LayerTests : IDisposable
{
    private static readonly Dictionary<string, string> s_values = new(StringComparer.Ordinal) { ["ARCHAZURE_KERNEL"] = "linux-lts" };

    private readonly TempFolder _folder = new();

    public LayerTests()
    {
        Directory.CreateDirectory(_folder["files/etc/sudoers.d"]);
        Directory.CreateDirectory(_folder["files/etc/mkinitcpio.conf.d"]);
        Directory.CreateDirectory(_folder["files/usr/bin"]);
        _folder.Write("files/etc/plain.conf", "a=1\n");
        _folder.Write("files/etc/sudoers.d/mine", "%x ALL=(ALL) ALL\n");
        _folder.Write("files/etc/mkinitcpio.conf.d/mine.conf", "MODULES=()\n");
        _folder.Write("files/usr/bin/tool", "#!/bin/bash\n");
        File.CreateSymbolicLink(_folder["files/etc/link"], "../usr/bin/tool");
        _folder.Write("packages", "# tools\nhtop\n\nvim # editor\n");
        _folder.Write("services", "a.service\n-b.timer\n");
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Lists_are_read_without_comments()
    {
        var layer = Layer.Load(_folder.Path);

        Assert.Equal(["htop", "vim"], layer.Packages);
        Assert.Equal(["a.service"], layer.EnabledServices);
        Assert.Equal(["b.timer"], layer.DisabledServices);
        Assert.Null(layer.ConfigureScript);
        Assert.True(layer.HasFiles(early: true));
    }

    [Fact]
    public async Task Files_go_in_as_roots_with_their_modes_and_links_stay_links()
    {
        var entries = await EntriesAsync(early: false);

        Assert.All(entries.Values, entry => Assert.Equal((0, 0), (entry.Uid, entry.Gid)));
        Assert.Equal("644", Octal(entries["etc/plain.conf"]));
        Assert.Equal("755", Octal(entries["usr/bin/tool"]));
        Assert.Equal("440", Octal(entries["etc/sudoers.d/mine"]));
        Assert.Equal("755", Octal(entries["usr/bin"]));
        Assert.Equal("../usr/bin/tool", entries["etc/link"].LinkName);
        Assert.DoesNotContain("etc/mkinitcpio.conf.d/mine.conf", entries.Keys);
    }

    [Fact]
    public async Task A_backslash_is_a_part_of_the_name()
    {
        _folder.Write("files/etc/mnt-my\\x2ddata.mount", "[Mount]\n");
        File.CreateSymbolicLink(_folder["files/etc/link\\x2d"], "mnt-my\\x2ddata.mount");

        var entries = await EntriesAsync(early: false);

        Assert.Contains("etc/mnt-my\\x2ddata.mount", entries.Keys);
        Assert.Equal("mnt-my\\x2ddata.mount", entries["etc/link\\x2d"].LinkName);
    }

    [Fact]
    public async Task Early_files_are_those_of_mkinitcpio() =>
        Assert.Equal(["etc/mkinitcpio.conf.d/mine.conf"], (await EntriesAsync(early: true)).Keys);

    [Fact]
    public async Task Templates_go_in_with_values_for_their_names()
    {
        Directory.CreateDirectory(_folder["templates/etc"]);
        _folder.Write("templates/etc/kernel", "${ARCHAZURE_KERNEL} $ARCHAZURE_KERNEL ${HOME} $(id)\n");
        _folder.Write("files/etc/plain.conf", "${ARCHAZURE_KERNEL}\n");

        var entries = await EntriesAsync(early: false);

        Assert.Equal("linux-lts $ARCHAZURE_KERNEL ${HOME} $(id)\n", Text(entries["etc/kernel"]));
        Assert.Equal("${ARCHAZURE_KERNEL}\n", Text(entries["etc/plain.conf"]));

        _folder.Write("templates/etc/kernel", "${ARCHAZURE_KERNAL}\n");
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => EntriesAsync(early: false));
        Assert.Equal("LayerInvalid", error.ErrorId);
        Assert.All(
            ["${ARCHAZURE_KERNAL}", _folder["templates/etc/kernel"]],
            part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void The_fingerprint_changes_with_everything_in_the_layer()
    {
        HashSet<string> seen = [Layer.Load(_folder.Path).Fingerprint()];
        Assert.False(seen.Add(Layer.Load(_folder.Path).Fingerprint()), "it is not stable");

        Changed(() => _folder.Write("files/etc/plain.conf", "a=2\n"));
        Changed(() => File.Move(_folder["files/etc/plain.conf"], _folder["files/etc/other.conf"]));
        Changed(() => File.SetUnixFileMode(_folder["files/etc/other.conf"], UnixFileMode.UserRead | UnixFileMode.UserExecute));
        Changed(() => _folder.Write("packages", "htop\n"));
        Changed(() => _folder.Write("services", "b.timer\n"));
        Changed(() => _folder.Write("configure", "true\n"));

        void Changed(Action change)
        {
            change();
            Assert.True(seen.Add(Layer.Load(_folder.Path).Fingerprint()));
        }
    }

    [Theory]
    [InlineData("packages", "two words\n", "two words")]
    [InlineData("packages", "$(reboot)\n", "$(reboot)")]
    [InlineData("packages", "-Rns\n", "-Rns")]
    [InlineData("services", "no-suffix\n", "no-suffix")]
    [InlineData("services", "a;b.service\n", "a;b.service")]
    [InlineData("services", "--now.service\n", "--now.service")]
    [InlineData("services", "-\n", "-")]
    public void Bad_names_are_refused_and_named(string file, string content, string named)
    {
        _folder.Write(file, content);

        var error = Assert.Throws<ArchAzureException>(() => Layer.Load(_folder.Path));

        Assert.Equal("LayerInvalid", error.ErrorId);
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
        Assert.Contains(_folder.Path, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_that_is_no_layer_is_refused()
    {
        Assert.Equal("LayerNotFound", Assert.Throws<ArchAzureException>(() => Layer.Load(_folder["missing"])).ErrorId);
        Assert.Equal("LayerInvalid", Assert.Throws<ArchAzureException>(() => Layer.Load(_folder["files/usr"])).ErrorId);
    }

    private static string Text(TarEntry entry)
    {
        using var reader = new StreamReader(entry.DataStream!);
        return reader.ReadToEnd();
    }

    private static string Octal(TarEntry entry) => Convert.ToString((int)entry.Mode, 8);

    private async Task<SortedDictionary<string, TarEntry>> EntriesAsync(bool early)
    {
        var stream = new MemoryStream();
        await Layer.Load(_folder.Path).WriteFilesAsync(stream, early, s_values, default);
        stream.Position = 0;
        using var reader = new TarReader(stream);
        SortedDictionary<string, TarEntry> entries = new(StringComparer.Ordinal);
        while (reader.GetNextEntry(copyData: true) is { } entry)
        {
            entries[entry.Name] = entry;
        }

        return entries;
    }
}
