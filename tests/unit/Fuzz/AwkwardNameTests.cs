using System.Text;
using ArchAzure.Bootstrap;
using ArchAzure.Containers;
using ArchAzure.Settings;
using ArchAzure.SimulatedAzure;
using ArchAzure.Target;
using CsCheck;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Fuzz;

/// <summary>
/// Values with spaces, quotes, <c>$(...)</c>, options, line breaks and other scripts: refused with a clear error, or carried as they are.
/// What becomes an argument of its own is never taken for an option.
/// </summary>
public sealed class AwkwardNameTests(ITestOutputHelper output)
{
    private static readonly char[] s_shell =
    [
        ' ', '\t', '\n', '\r', '\'', '"', '`', '$', '\\', ';', '|', '&', '>', '<', '(', ')', '*', '?', '[', '{', '~', '!', '#', '%',
    ];

    [Fact]
    public void Packages_are_names_or_refused() =>
        Gen.Select(Awkward.Text, Awkward.Text, Gen.Int[0, 2]).Run(
            output,
            values =>
            {
                var (first, second, way) = values;
                var settings = way switch
                {
                    0 => BuildSettings.Default.With("PACKAGES", [first, second]),
                    1 => BuildSettings.Default.With("PACKAGES", $"{first} {second}"),
                    _ => BuildSettings.Parse($"PACKAGES={Quoted($"{first} {second}")}", "s"),
                };
                Assert.Equal($"{first} {second}".Split(' ', StringSplitOptions.RemoveEmptyEntries), settings.Packages);
                Assert.All(settings.Packages, AssertPlainArgument);
            },
            count: 6000);

    [Fact]
    public void What_goes_into_commands_and_configuration_is_plain_or_refused() =>
        Gen.Select(
            OneOf(
                "TARGET_LANG", "TIME_ZONE", "KEYMAP", "KERNEL", "AGENT", "ROOT_FILE_SYSTEM", "ARCH_VERSION", "ARCHITECTURE",
                "WAAGENT_COMMIT", "DISK_SIZE", "BOOT_START", "RESOURCE_DISK_SWAP", "REUSE_DOCKER_IMAGE"),
            Awkward.Text, Gen.Int[0, 40], Gen.Bool).Run(
            output,
            values =>
            {
                var (key, text, place, inGood) = values;
                var good = BuildSettings.Default[key];
                var taken = BuildSettings.Default.With(key, inGood ? good.Insert(Math.Min(place, good.Length), text) : text)[key];
                AssertPlainArgument(taken);
                Assert.DoesNotContain("..", taken.Split('/'));
                Assert.False(taken.StartsWith('/'));
            },
            count: 12000);

    [Fact]
    public void Addresses_are_one_word_or_refused() =>
        Gen.Select(OneOf("MIRROR", "RELEASE_URL"), Awkward.Text, Gen.Int[0, 50], Gen.Bool).Run(
            output,
            values =>
            {
                var (key, text, place, parameter) = values;
                var good = BuildSettings.Default[key];
                var value = good.Insert(Math.Min(place, good.Length), text);
                var taken = (parameter ? BuildSettings.Default.With(key, value) : BuildSettings.Parse($"{key}={Quoted(value)}", "s"))[key];
                Assert.Equal(value, key == "RELEASE_URL" ? taken[..value.Length] : taken);
                Assert.StartsWith("http", taken, StringComparison.OrdinalIgnoreCase);
                Assert.DoesNotContain(
                    taken, c => char.IsWhiteSpace(c) || char.IsControl(c) || c is '"' or '\'' or '\\' or '<' or '>' or '#' or '?');

                // What stands in pacman's configuration has its two variables and no other.
                Assert.True(
                    key != "MIRROR"
                        || !taken.Replace("$repo", "", StringComparison.Ordinal)
                            .Replace("$arch", "", StringComparison.Ordinal)
                            .Contains('$', StringComparison.Ordinal),
                    taken);
                Assert.Equal($"Server = {taken}\n", BuilderRecipe.MirrorList(taken));
            },
            count: 6000);

    [Fact]
    public void Paths_are_carried_as_they_are_or_refused()
    {
        using var folder = new TempFolder();
        Gen.Select(OneOf("LAYERS", "RELEASE_KEY", "BOOTSTRAP_PATH", "WAAGENT_SOURCE"), Awkward.Text.Where(text => text.Length > 0)).Run(
            output,
            values =>
            {
                // A parameter is taken as it is, ...
                var (key, name) = values;
                Assert.Equal(name, BuildSettings.Default.With(key, name)[key]);
                Assert.DoesNotContain(name, char.IsControl);
                Assert.False(key == "WAAGENT_SOURCE" && name.StartsWith('-'));

                // ... and a file's becomes absolute, so that no path of it begins with a hyphen.
                var settings = BuildSettings.Load(folder.Write("settings.env", $"{key}={Quoted(name)}\n"));
                var paths = key == "LAYERS" ? name.Split(Path.PathSeparator) : [name];
                var isAddress = key == "WAAGENT_SOURCE"
                    && (name.Contains("://", StringComparison.Ordinal) || name.Contains('@', StringComparison.Ordinal));
                if (!isAddress)
                {
                    Assert.Equal(
                        paths.Select(path => Path.GetFullPath(path, folder.Path)), key == "LAYERS" ? settings.Layers : [settings[key]]);
                }
            },
            count: 4000);
    }

    [Fact]
    public void A_shell_reads_what_we_read()
    {
        // Every value that is accepted, however it is quoted, is what a shell assigns; and nothing is run. Not the same: a
        // carriage return at a line's end, and '~', which is refused only where a path stands.
        using var folder = new TempFolder();
        List<(string Line, string Value)> taken = [];
        var piece = Gen.OneOf(
            Awkward.Text,
            Awkward.Text.Select(text => "'" + text.Replace("'", "", StringComparison.Ordinal) + "'"),
            Awkward.Text.Select(text => "\"" + text.Replace("\"", "\\\"", StringComparison.Ordinal) + "\""),
            Gen.Const("a"));
        piece.Array[1, 4]
            .Select(string.Concat)
            .Where(
                text => !text.Contains('~', StringComparison.Ordinal)
                    && !text.EndsWith('\r')
                    && !text.Contains("\r\n", StringComparison.Ordinal))
            .Run(
            output,
            text =>
            {
                // The reader alone: what a kernel's name may be is another question.
                var line = $"KERNEL={text}";
                var read = SettingsFile.Parse(line, "s");
                if (read is [{ } setting] && taken.Count < 3000)
                {
                    taken.Add((line, setting.Value));
                }
            },
            count: 6000);
        Assert.NotEmpty(taken);

        var script = string.Concat(taken.Select(pair => $"{pair.Line}\nprintf '%s\\0' \"$KERNEL\"\n"));
        var said = Tool.Run("sh", [folder.Write("script", script)], folder.Path).Split('\0');
        Assert.Equal(taken.Select(pair => pair.Value), said[..^1]);
    }

    [Fact]
    public void A_layers_packages_and_services_are_names_or_refused()
    {
        using var folder = new TempFolder();
        var unit = Gen.Select(Awkward.Text, Gen.OneOf(Gen.Const(""), Gen.Const(".service"))).Select((text, ending) => text + ending);
        Gen.Select(Awkward.Text, unit).Run(
            output,
            values =>
            {
                folder.Write("packages", values.Item1 + "\n");
                folder.Write("services", values.Item2 + "\n");
                var layer = Layer.Load(folder.Path);
                Assert.All(layer.Packages, AssertPlainArgument);
                Assert.All([.. layer.EnabledServices, .. layer.DisabledServices], name =>
                {
                    // systemd's names may have a backslash, also as the first character: that is no option's hyphen.
                    AssertPlainArgument(name.Replace('\\', 'x'));
                    Assert.DoesNotContain('/', name);
                });
            },
            count: 2500);
    }

    [Fact]
    public void A_layers_files_keep_their_names()
    {
        using var folder = new TempFolder();
        var name = Awkward.Text.Where(
            text =>
                text is not ("" or "." or "..")
                    && !text.Contains('/', StringComparison.Ordinal)
                    && !text.Contains('\0', StringComparison.Ordinal));
        Gen.Select(name, name.HashSet[1, 12], name).Run(
            output,
            values =>
            {
                var (directory, files, target) = values;
                var (laid, unpacked) = (Directory.CreateDirectory(folder["layer"]), Directory.CreateDirectory(folder["unpacked"]));
                try
                {
                    var inside = Directory.CreateDirectory(Path.Combine(laid.FullName, "files", directory)).FullName;
                    foreach (var file in files)
                    {
                        File.WriteAllText(Path.Combine(inside, file), file);
                    }

                    File.CreateSymbolicLink(Path.Combine(inside, "the link"), target);
                    var layer = Layer.Load(laid.FullName);
                    Assert.Equal(layer.Fingerprint(), layer.Fingerprint());
                    using (var tar = File.Create(folder["layer.tar"]))
                    {
                        layer.WriteFilesAsync(tar, early: false, new Dictionary<string, string>(), default).GetAwaiter().GetResult();
                    }

                    // The tar that reads it in the builder; System.Formats.Tar refuses names with a line break.
                    Tool.Run(
                        "tar",
                        ["--extract", "--file", folder["layer.tar"], "--directory", unpacked.FullName],
                        environment: new() { ["LC_ALL"] = "C.UTF-8" });
                    var found = Path.Combine(unpacked.FullName, directory);
                    Assert.Equal([directory], unpacked.EnumerateFileSystemInfos().Select(entry => entry.Name));
                    Assert.Equal(
                        files.Append("the link").Order(StringComparer.Ordinal),
                        Directory.EnumerateFileSystemEntries(found).Select(Path.GetFileName).Order(StringComparer.Ordinal));
                    Assert.All(files, file => Assert.Equal(file, File.ReadAllText(Path.Combine(found, file))));
                    Assert.Equal(target, new FileInfo(Path.Combine(found, "the link")).LinkTarget);
                }
                finally
                {
                    laid.Delete(recursive: true);
                    unpacked.Delete(recursive: true);
                }
            },
            count: 100);
    }

    [Fact]
    public void Qemu_and_docker_get_paths_as_they_are() =>
        Awkward.Text.Run(
            output,
            text =>
            {
                var path = "/work/" + text;
                var arguments = QemuCommandLine.Build(
                    new QemuMachine(
                        new VirtualMachineOptions("/", 2) { SerialLogPath = "/" }, path + "1", path + "2", path + "3", path + "4")
                {
                    Firmware = new UefiFirmware(path + "5", path + "6"), Dvd = path + "7", DataDisks = [path + "8"],
                });
                Assert.Equal(
                    Enumerable.Range(1, 8).Select(i => path + i),
                    arguments.SelectMany(Options)
                        .Where(option => option.Key is "file" or "path" or "addr.path")
                        .Select(option => option.Value)
                        .Order(StringComparer.Ordinal));

                var mount = Assert.Single(LifelineContainer.Mounts([new BindMount(path, "/disk")]));
                Assert.Equal((path, "/disk"), (mount.Source, mount.Target));
            },
            count: 3000);

    [Fact]
    public void Passwords_are_masked_whatever_is_around_them() =>
        Gen.Select(Awkward.Text, Awkward.Text).Run(
            output,
            values =>
                Assert.DoesNotContain(
                    "s3cret", BuildSettings.Masked($"{values.Item1} https://me:s3cret@host/{values.Item2}"), StringComparison.Ordinal),
            count: 3000);

    private static Gen<string> OneOf(params string[] keys) => Gen.Int[0, keys.Length - 1].Select(i => keys[i]);

    /// <summary>A word that neither a shell nor a program takes for anything but a name.</summary>
    private static void AssertPlainArgument(string argument)
    {
        Assert.NotEqual("", argument);
        Assert.False(argument.StartsWith('-'), argument);
        Assert.DoesNotContain(argument, c => !char.IsAscii(c) || char.IsControl(c) || s_shell.Contains(c));
    }

    // As a careful person would: single quotes, and a single quote itself between double ones.
    private static string Quoted(string value) => $"'{value.Replace("'", "'\"'\"'", StringComparison.Ordinal)}'";

    // As QEMU takes an option list apart: at commas that are not doubled.
    private static IEnumerable<KeyValuePair<string, string>> Options(string argument)
    {
        var part = new StringBuilder();
        for (var i = 0; i <= argument.Length; i++)
        {
            if (i == argument.Length || (argument[i] == ',' && (i + 1 == argument.Length || argument[i + 1] != ',')))
            {
                var pair = part.ToString().Split('=', 2);
                part.Clear();
                yield return KeyValuePair.Create(pair[0], pair.Length > 1 ? pair[1] : "");
                continue;
            }

            part.Append(argument[i]);
            i += argument[i] == ',' ? 1 : 0;
        }
    }
}
