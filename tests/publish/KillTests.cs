
namespace ArchAzure.PublishTests;

/// <summary>The cmdlet in processes that are killed.</summary>
public sealed class KillTests(Azurite azurite) : IClassFixture<Azurite>
{
    [Fact]
    [Trait("Speed", "slow")]
    public async Task An_upload_killed_twenty_times_ends_equal_to_the_file()
    {
        const int Kills = 20;
        using var vhd = new TestVhd(
            256, 5, [.. Enumerable.Range(0, 3000).Select(i => ((long)i << 16, 4096)), (200 << 20, 20 << 20)]);
        using var folder = new TempFolder();
        var blob = azurite.NewBlob();
        var random = new Random(20261201);
        for (var kill = 0; kill < Kills; kill++)
        {
            using var process = Pwsh.Start(Script(vhd, blob), folder);

            // Before the first request, or after some.
            var written = new TaskCompletionSource();
            var left = random.Next(100);
            azurite.Proxy.OnWritten = _ =>
            {
                if (Interlocked.Decrement(ref left) <= 0)
                {
                    written.TrySetResult();
                }
            };
            if (kill % 4 == 0)
            {
                await Task.WhenAny(Task.Delay(random.Next(1500)), process.WaitForExitAsync());
            }
            else
            {
                await Task.WhenAny(written.Task, process.WaitForExitAsync());
            }

            Assert.False(process.HasExited, $"The upload ended before kill {kill + 1}.");
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync();
        }

        azurite.Proxy.OnWritten = null;
        var result = await Pwsh.RunAsync(Script(vhd, blob));
        Assert.True(result.ExitCode == 0, result.All);
        await azurite.RequireEqualAsync(blob, vhd.Path);
    }

    [Fact]
    public async Task Ctrl_C_ends_it_at_once_and_the_next_run_goes_on()
    {
        using var vhd = new TestVhd(100, 6, (0, 60 << 20));
        using var folder = new TempFolder();
        var blob = azurite.NewBlob();
        var written = new TaskCompletionSource();
        azurite.Proxy.OnWritten = _ => written.TrySetResult();
        using var process = Pwsh.Start(Script(vhd, blob), folder);
        await written.Task;
        await Tool.RunAsync("kill", "-TERM", $"{process.Id}");
        await process.WaitForExitAsync();
        Assert.Equal(143, process.ExitCode);
        azurite.Proxy.OnWritten = null;
        var result = await Pwsh.RunAsync(Script(vhd, blob));
        Assert.True(result.ExitCode == 0, result.All);
        Assert.Contains("going on with it", result.Output, StringComparison.Ordinal);
        await azurite.RequireEqualAsync(blob, vhd.Path);
    }

    private static string Script(TestVhd vhd, Uri blob) =>
        $"Publish-AzureVhd {Pwsh.Quote(vhd.Path)} -BlobUri {Pwsh.Quote(Azurite.WithSas(blob).AbsoluteUri)} -SkipTest";
}
