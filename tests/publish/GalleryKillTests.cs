using System.Diagnostics;

namespace ArchAzure.PublishTests;

/// <summary>Processes that publish into a gallery and are killed.</summary>
public sealed class GalleryKillTests(Azurite azurite) : IClassFixture<Azurite>
{
    private const string Image = "arch/arch-gen2/1.0.0";
    private const string Version = "galleries/arch/images/arch-gen2/versions/1.0.0";

    [Fact]
    public async Task Killed_in_the_upload_and_in_the_replication_it_ends_right()
    {
        const int Kills = 6;
        using var vhd = new TestVhd(256, 5, [.. Enumerable.Range(0, 3000).Select(i => ((long)i << 16, 4096)), (200 << 20, 20 << 20)]);
        await using var azure = await SimulatedResourceManager.StartAsync(azurite);
        var random = new Random(20261201);
        for (var kill = 0; kill < Kills; kill++)
        {
            var reached = new TaskCompletionSource();
            var left = random.Next(100);
            azurite.Proxy.OnWritten = _ =>
            {
                if (Interlocked.Decrement(ref left) <= 0)
                {
                    reached.TrySetResult();
                }
            };
            await KillAsync(azure, vhd, reached.Task);
        }

        azurite.Proxy.OnWritten = null;
        var blob = azure.Blobs.Single().Value;
        azure.ReplicationStep = 0;
        await KillAsync(azure, vhd, Task.Run(async () =>
        {
            while (azure.Find(Version) is null)
            {
                await Task.Delay(5);
            }
        }));

        azure.ReplicationStep = 50;
        var result = await Tool.TryAsync("dotnet", Command(azure, vhd));
        Assert.True(result.ExitCode == 0, result.All);
        azure.RequireNoSecret(result.All);
        Assert.Equal("Succeeded", azure.Property(Version, "provisioningState"));
        await azurite.RequireEqualAsync(blob, vhd.Path);

        // One disk, one version, and nothing of it is left but the version.
        Assert.Single(azure.Requests, request => request.StartsWith("PUT disks/", StringComparison.Ordinal));
        Assert.Single(azure.Requests, request => request.StartsWith($"PUT {Version}", StringComparison.Ordinal));
        Assert.DoesNotContain(azure.Resources.Keys, id => id.Contains("/disks/", StringComparison.Ordinal));
    }

    private static string[] Command(SimulatedResourceManager azure, TestVhd vhd) =>
        [typeof(Program).Assembly.Location, azure.Address.AbsoluteUri, azure.CertificateHash, vhd.Path, Image];

    /// <summary>Starts it, and kills it as soon as something has happened.</summary>
    private static async Task KillAsync(SimulatedResourceManager azure, TestVhd vhd, Task reached)
    {
        using var process = Tool.Start("dotnet", Command(azure, vhd));
        await Task.WhenAny(reached, process.WaitForExitAsync());
        Assert.False(process.HasExited, "It has ended before it was killed.");
        process.Kill(entireProcessTree: true);
        await process.WaitForExitAsync();
    }
}
