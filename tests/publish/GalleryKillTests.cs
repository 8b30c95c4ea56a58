using System.Diagnostics;

namespace ArchAzure.PublishTests;

/// <summary>Processes that publish into a gallery and are killed.</summary>
public sealed class GalleryKillTests(Azurite azurite) : IClassFixture<Azurite>
{
    private const string Image = "arch/arch-gen2/1.0.0";
    private const string Definition = "galleries/arch/images/arch-gen2";
    private const string Version = $"{Definition}/versions/1.0.0";

    [Fact]
    public async Task Killed_in_the_upload_and_in_the_replication_it_ends_right()
    {
        const int Kills = 6;
        using var vhd = new TestVhd(256, 5, [.. Enumerable.Range(0, 3000).Select(i => ((long)i << 16, 4096)), (200 << 20, 20 << 20)]);
        await using var azure = await SimulatedResourceManager.StartAsync(azurite);
        var random = new Random(20261201);
        for (var kill = 0; kill < Kills; kill++)
        {
            await KillInUploadAsync(azure, random.Next(100), vhd.Path, "--skip-test");
        }

        await KillInReplicationAsync(azure, vhd.Path, "--skip-test");
        await azurite.RequireEqualAsync(await EndAsync(azure, vhd.Path, "--skip-test"), vhd.Path);
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task A_built_image_meets_the_rules_and_killed_twice_ends_right()
    {
        var vhd = Directory.GetFiles(TestSetup.ImageWorkDirectory, "*.vhd").Single();
        await using var azure = await SimulatedResourceManager.StartAsync(azurite);
        await KillInUploadAsync(azure, 30, vhd);
        await KillInReplicationAsync(azure, vhd);
        var blob = await EndAsync(azure, vhd);

        // What the rules have shown is in the definition.
        var features = azure.Find(Definition)!["properties"]!["features"]!.AsArray();
        Assert.Equal(
            ["DiskControllerTypes=SCSI", "IsAcceleratedNetworkSupported=True", "IsHibernateSupported=False"],
            features.Select(feature => $"{feature!["name"]}={feature["value"]}").Order(StringComparer.Ordinal));
        using var folder = new TempFolder();
        await azurite.DownloadRangesAsync(blob, folder["blob"]);
        await Tool.RunAsync("qemu-img", "compare", "-f", "raw", "-F", "raw", folder["blob"], vhd);
    }

    private async Task KillInUploadAsync(SimulatedResourceManager azure, int writes, params string[] arguments)
    {
        var reached = new TaskCompletionSource();
        azurite.Proxy.OnWritten = _ =>
        {
            if (Interlocked.Decrement(ref writes) <= 0)
            {
                reached.TrySetResult();
            }
        };
        await KillAsync(azure, reached.Task, arguments);
        azurite.Proxy.OnWritten = null;
    }

    private static async Task KillInReplicationAsync(SimulatedResourceManager azure, params string[] arguments)
    {
        azure.ReplicationStep = 0;
        await KillAsync(
            azure,
            Task.Run(async () =>
            {
                while (azure.Find(Version) is null)
                {
                    await Task.Delay(5);
                }
            }),
            arguments);
        azure.ReplicationStep = 50;
    }

    /// <summary>Lets it end, and returns the address of what was uploaded.</summary>
    private static async Task<Uri> EndAsync(SimulatedResourceManager azure, params string[] arguments)
    {
        var blob = azure.Blobs.Single().Value;
        var result = await Tool.TryAsync("dotnet", Command(azure, arguments));
        Assert.True(result.ExitCode == 0, result.All);
        azure.RequireNoSecret(result.All);
        Assert.Equal("Succeeded", azure.Property(Version, "provisioningState"));

        // One disk, one version, and nothing of it is left but the version.
        Assert.Single(azure.Requests, request => request.StartsWith("PUT disks/", StringComparison.Ordinal));
        Assert.Single(azure.Requests, request => request.StartsWith($"PUT {Version}", StringComparison.Ordinal));
        Assert.DoesNotContain(azure.Resources.Keys, id => id.Contains("/disks/", StringComparison.Ordinal));
        return blob;
    }

    private static string[] Command(SimulatedResourceManager azure, string[] arguments) =>
        [typeof(Program).Assembly.Location, azure.Address.AbsoluteUri, azure.CertificateHash, Image, .. arguments];

    /// <summary>Starts it, and kills it as soon as something has happened.</summary>
    private static async Task KillAsync(SimulatedResourceManager azure, Task reached, string[] arguments)
    {
        using var process = Tool.Start("dotnet", Command(azure, arguments));
        await Task.WhenAny(reached, process.WaitForExitAsync());
        if (process.HasExited)
        {
            Assert.Fail($"It has ended before it was killed: {await process.StandardOutput.ReadToEndAsync()}");
        }

        process.Kill(entireProcessTree: true);
        await process.WaitForExitAsync();
    }
}
