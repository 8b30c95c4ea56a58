using System.Text;
using System.Text.Json.Nodes;
using ArchAzure.Bootstrap;
using ArchAzure.Builds;
using ArchAzure.IO;
using ArchAzure.Target;
using ArchAzure.UnitTests.Bootstrap;
using ArchAzure.UnitTests.FileSystems;
using CsCheck;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Fuzz;

/// <summary>What lies in a work directory: build.json, SHA256SUMS, pacman's database, the release key and the signature.</summary>
public sealed class RecordFuzzTests(ITestOutputHelper output)
{
    private static readonly string[] s_builds = ["schema-1.json", "schema-2.json"];

    private static string Sample(string name) => File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Builds", "samples", name));

    [Fact]
    public void A_build_file_of_any_bytes_is_read_or_refused() =>
        ReadBuilds(
            Mutations.Of(
                s_builds.Select(name => Encoding.UTF8.GetBytes(Sample(name))).ToArray(),
                "\"schema\": 1,",
                "\"state\": \"Stale\"",
                "null",
                "[]",
                "{}",
                "\"\\ud800\"",
                "\"\\u0000\"",
                "1e400",
                ",",
                ":"),
            count: 1500);

    [Fact]
    public void A_build_file_of_right_shape_and_wrong_values_is_read_or_refused()
    {
        string[] values =
        [
            "null", "0", "-1", "6", "2147483648", "1e400", "1.5", "true", "\"\"", "\"x\"", "\"\\u0000\"", "\"\\u001b[2J\"", "\"../..\"",
            "[]", "{}", "[null]", "{\"a\":null}", "\"Stale\"", "99",
        ];
        ReadBuilds(
            Gen.Select(Gen.Int[0, s_builds.Length - 1], Gen.Select(Gen.UInt, Gen.Int[0, values.Length], Gen.Bool).Array[1, 3])
                .Select((sample, changes) =>
            {
                JsonNode root = JsonNode.Parse(Sample(s_builds[sample]))!;
                foreach (var (place, value, remove) in changes)
                {
                    Replace(root, place, value == values.Length || remove ? null : values[value]);
                }

                return Encoding.UTF8.GetBytes(root.ToJsonString());
            }),
            count: 2500);
    }

    [Fact]
    public void Checksums_stand_beside_anything()
    {
        using var folder = new TemporaryDirectory();
        var path = Path.Combine(folder.Path, "SHA256SUMS");
        var old = $"{new string('a', 64)}  ArchLinux.vhd\n\\{new string('b', 64)}  a\\nb\n{new string('c', 64)} *binary\n# note\n";
        Gen.Select(Mutations.OfText([old], "\\", "\n", "  ", new string('d', 64)), Awkward.Text).Run(
            output,
            values =>
            {
                var (text, name) = values;
                File.WriteAllText(path, text);
                var others = File.ReadAllLines(path);
                var hash = new string('e', 64);
                var file = $"{folder.Path}/{name.Replace('/', '_')}";
                ChecksumFile.Sha256.Add(file, hash);
                Assert.True(ChecksumFile.Sha256.Holds(file, hash));
                Assert.True(ChecksumFile.Sha256.Holds(file));
                Assert.Single(File.ReadAllLines(path).Except(others, StringComparer.Ordinal));
                ChecksumFile.Sha256.Remove(file);
                Assert.False(ChecksumFile.Sha256.Holds(file));
                Assert.Subset(
                    others.ToHashSet(StringComparer.Ordinal),
                    (File.Exists(path) ? File.ReadAllLines(path) : []).ToHashSet(StringComparer.Ordinal));
            },
            count: 600);
    }

    [Fact]
    public void A_package_database_is_read_or_refused() =>
        Mutations.OfText(
            ["%NAME%\nzlib\n\n%VERSION%\n1:1.3.1-2\n\n%DESC%\nCompression "
                + "library\n\n%URL%\nhttps://www.zlib.net/\n\n%ARCH%\nx86_64\n\n%LICENSE%\nZlib\nBSD-3-Clause\n\n"
                + "%NAME%\nacl\n\n%VERSION%\n2.3.2-1\n\n"],
            "%NAME%\n", "%VERSION%\n", "%LICENSE%\n", "%", "%%", "\n\n", "http://[", "file:///").Run(
            output,
            text =>
            {
                var packages = InstalledPackage.Parse(text);
                var list = JsonNode.Parse(PackageList.Write("2026.11.01", packages, new AgentProduct("waagent", text, null, text)))!;
                Assert.Equal(
                    packages.Select(package => package.Name),
                    list["components"]!.AsArray().SkipLast(1).Select(component => (string)component!["name"]!));
            },
            count: 4000);

    [Fact]
    public void A_release_key_is_taken_or_refused()
    {
        using var folder = new TempFolder();
        using var gpg = new GnuPG();
        gpg.Key("Fuzz <fuzz@example.org>");
        var armoured = gpg.Export("fuzz@example.org");
        var binary = Convert.FromBase64String(string.Concat(armoured.Split("\n\n")[1].Split("\n=")[0].Split("-----")[0].Split('\n')));
        var file = folder.Write("file", "content");
        var signature = File.ReadAllBytes(gpg.Sign(file, "fuzz@example.org"));
        var key = ReleaseKey.LoadFile(folder.Write("key.asc", armoured));

        Mutations.Of([Encoding.ASCII.GetBytes(armoured), binary], "-----BEGIN PGP PUBLIC KEY BLOCK-----", "\n=", "\n\n").Run(
            output,
            bytes => Assert.Equal(40, ReleaseKey.LoadFile(folder.Write("key", bytes)).Fingerprint.Length),
            count: 400);
        Mutations.Of([signature]).Run(
            output,
            bytes =>
            {
                File.WriteAllText(file, "content");
                var path = folder.Write("file.sig", bytes);
                var verified = new ReleaseVerifier { SetAside = false }.VerifyAsync(file, null, path, key, new RecordingReporter(), default)
                    .GetAwaiter()
                    .GetResult();
                Assert.Equal(key.Fingerprint, verified.Fingerprint);
            },
            count: 400);
    }

    private void ReadBuilds(Gen<byte[]> files, int count)
    {
        using var folder = new TemporaryDirectory();
        var directory = new WorkDirectory(folder.Path);
        files.Run(
            output,
            bytes =>
            {
                File.WriteAllBytes(directory.BuildFile, bytes);
                var build = BuildStore.Load(directory);
                Assert.InRange(build.LastGoodStep, 0, 5);
                Assert.NotEmpty(build.Status);
                Assert.True(build.VhdPath is null || Path.IsPathFullyQualified(build.VhdPath));
                Assert.NotNull(build.WithStaleAfter(2).Steps);
                Assert.True(build.Disk is null || build.Disk.EspUuid.Length == 9);

                // And again as it is saved.
                BuildStore.Save(directory, build);
                var saved = File.ReadAllText(directory.BuildFile);
                BuildStore.Save(directory, BuildStore.Load(directory));
                Assert.Equal(saved, File.ReadAllText(directory.BuildFile));
                Assert.NotNull(new StepRequest().SettingsOf(directory, build));
            },
            count);
    }

    private static void Replace(JsonNode root, uint place, string? value)
    {
        List<JsonNode> nodes = [];
        Walk(root);
        var parent = nodes[(int)(place % (uint)nodes.Count)];
        var child = (int)(place / 1000 % 100);
        switch (parent)
        {
            case JsonObject { Count: > 0 } o:
                var name = o.ElementAt(child % o.Count).Key;
                o.Remove(name);
                if (value is not null)
                {
                    o[name] = Parse(value);
                }

                break;
            case JsonArray { Count: > 0 } a:
                if (value is null)
                {
                    a.RemoveAt(child % a.Count);
                }
                else
                {
                    a[child % a.Count] = Parse(value);
                }

                break;
        }

        void Walk(JsonNode? node)
        {
            if (node is JsonObject or JsonArray)
            {
                nodes.Add(node);
                foreach (var inner in node is JsonObject o ? o.Select(member => member.Value) : node.AsArray())
                {
                    Walk(inner);
                }
            }
        }

        static JsonNode? Parse(string text) => JsonNode.Parse(text);
    }
}
