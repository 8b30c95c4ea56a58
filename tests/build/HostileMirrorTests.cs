using System.Formats.Tar;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using ArchAzure.StandIn;

namespace ArchAzure.BuildTests;

/// <summary>
/// A mirror that means harm: its database, which nobody signs, says what it likes of one package. pacman's check of the package's own
/// signature is what stands in the way, and the product never lowers it.
/// </summary>
[Collection(Pipeline.Name)]
public sealed partial class HostileMirrorTests(Pipeline pipeline)
{
    private const string Victim = "sudo";

    [Fact]
    public async Task Signature_stripped() =>
        await RefusedAsync("sudo-", async (mirror, package) =>
        {
            File.Delete(package + ".sig");
            await AlterAsync(mirror, entry => Signature().Replace(entry, ""));
        });

    [Fact]
    public async Task Signature_by_a_key_that_nobody_trusts() =>
        await RefusedAsync("required key missing from keyring", async (mirror, package) =>
        {
            using var folder = new TempFolder();
            await using var key = await OtherKey.CreateAsync(folder);
            File.Delete(package + ".sig");
            await key.SignAsync(package);
            var signature = Convert.ToBase64String(await File.ReadAllBytesAsync(package + ".sig"));
            await AlterAsync(mirror, entry => Signature().Replace(entry, $"%PGPSIG%\n{signature}\n\n"));
        });

    [Fact]
    public async Task Another_package_with_a_good_signature_of_its_own() =>
        await RefusedAsync("sudo-", async (mirror, package) =>
        {
            // Signed by the packager, and its sum is in the database: only that it is not what it is called.
            var other = Directory.GetFiles(Path.GetDirectoryName(package)!, "dosfstools-*.pkg.tar.zst").Single();
            File.Delete(package);
            File.Delete(package + ".sig");
            File.Copy(other, package);
            File.Copy(other + ".sig", package + ".sig");
            var content = await File.ReadAllBytesAsync(package);
            var signature = Convert.ToBase64String(await File.ReadAllBytesAsync(package + ".sig"));
            await AlterAsync(mirror, entry =>
            {
                entry = Signature().Replace(entry, $"%PGPSIG%\n{signature}\n\n");
                entry = Regex.Replace(
                    entry,
                    "%SHA256SUM%\n.*\n",
                    $"%SHA256SUM%\n{Convert.ToHexStringLower(SHA256.HashData(content))}\n",
                    RegexOptions.None,
                    TimeSpan.FromSeconds(1));
                return Regex.Replace(entry, "%CSIZE%\n.*\n", $"%CSIZE%\n{content.Length}\n", RegexOptions.None, TimeSpan.FromSeconds(1));
            });
        });

    /// <summary>Has step 3 build from a mirror altered so: the package is refused, and nothing is left.</summary>
    private async Task RefusedAsync(string named, Func<string, string, Task> alter)
    {
        using var folder = new TempFolder();
        var core = Directory.CreateDirectory(folder["core/os/x86_64"]).FullName;
        foreach (var file in Directory.GetFiles(Path.Combine(TestSetup.StandIn, "core/os/x86_64")))
        {
            File.CreateSymbolicLink(Path.Combine(core, Path.GetFileName(file)), file);
        }

        File.CreateSymbolicLink(folder["extra"], Path.Combine(TestSetup.StandIn, "extra"));
        await alter(core, Directory.GetFiles(core, $"{Victim}-*.pkg.tar.zst").Single());

        await using var server = await MirrorServer.StartAsync(folder.Path);
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        build.AddSettings($"MIRROR={server.BaseUrl}/$repo/os/$arch");
        await build.FailsAsync(3, "PackageNotTrusted", [named, "MIRROR", "Use another mirror"]);
        Assert.Equal(2, build.State.LastGoodStep);
        Assert.False(File.Exists(build.Directory.Snapshot(3)));
    }

    /// <summary>Rewrites the victim's entry in the database.</summary>
    private static async Task AlterAsync(string folder, Func<string, string> alter)
    {
        var database = Path.Combine(folder, "core.db");
        var altered = 0;
        await using (var from = new TarReader(new GZipStream(File.OpenRead(database), CompressionMode.Decompress)))
        await using (var to = new TarWriter(new GZipStream(File.Create(database + ".new"), CompressionLevel.Fastest)))
        {
            while (await from.GetNextEntryAsync(copyData: true) is { } entry)
            {
                if (entry.Name.StartsWith($"{Victim}-", StringComparison.Ordinal) && entry.DataStream is { } data)
                {
                    using var reader = new StreamReader(data);
                    var (before, after) = (await reader.ReadToEndAsync(), "");
                    after = alter(before);
                    Assert.NotEqual(before, after);
                    entry = new PaxTarEntry(TarEntryType.RegularFile, entry.Name)
                    {
                        Mode = entry.Mode, DataStream = new MemoryStream(Encoding.UTF8.GetBytes(after)),
                    };
                    altered++;
                }

                await to.WriteEntryAsync(entry);
            }
        }

        Assert.Equal(1, altered);
        File.Move(database + ".new", database, overwrite: true);
    }

    [GeneratedRegex("%PGPSIG%\n.*\n\n", RegexOptions.None, 1000)]
    private static partial Regex Signature();
}
