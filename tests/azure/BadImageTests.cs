using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>Images that go nowhere, and a machine without an emulator.</summary>
public sealed class BadImageTests(ITestOutputHelper output) : AzureTest(output)
{
    [Fact]
    public async Task Guests_that_hang_on_both_generations_at_once_end_at_the_limit_with_their_last_words()
    {
        using var folder = new TempFolder();
        var vhd = HangingVhd.Create(folder);
        var result = await Pwsh.RunAsync($$"""
            $vhd, $log = {{Pwsh.Quote(vhd)}}, {{Pwsh.Quote(folder["log"])}}
            $options = @{ Qemu = 'Host'; Generation = 1, 2; Timeout = 20; KeepLog = $log; ErrorAction = 'SilentlyContinue' }
            $all = @(Test-AzureVhd $vhd -Boot @options -Verbose 4>&1)
            $reports = $all.Where({ $_.GetType().Name -eq 'BootReport' })
            $start = $all.Where({ "$_" -like '*generation 2: Start' })[0]
            "second begins before the first ends: $($all.IndexOf($start) -lt $all.IndexOf($reports[0]))"
            $reports.ForEach({ "$($_.Generation) $($_.Passed) $($_.ErrorId)" })
            $reports[0].Error
            """,
            "env", "DOTNET_PROCESSOR_COUNT=4");
        Reporter.Information(result.All);
        Assert.Contains("second begins before the first ends: True", result.Output, StringComparison.Ordinal);
        Assert.Contains("\n1 False GuestTimeout\n", result.Output, StringComparison.Ordinal);
        Assert.Contains("\n2 False Guest", result.Output, StringComparison.Ordinal);
        Assert.All(
            ["within 20 s", "report Ready", HangingVhd.LastWords], text => Assert.Contains(text, result.Output, StringComparison.Ordinal));
        Assert.Contains(HangingVhd.LastWords, await File.ReadAllTextAsync(folder["log/gen1.serial.log"]), StringComparison.Ordinal);
        Assert.Equal("PNG"u8.ToArray(), (await File.ReadAllBytesAsync(folder["log/gen1.screen.png"]))[1..4]);
    }

    [Fact]
    public async Task No_emulator()
    {
        using var folder = new TempFolder();
        var vhd = HangingVhd.Create(folder);
        var dotnet = (await Tool.RunAsync("sh", "-c", "command -v dotnet")).Trim();
        File.CreateSymbolicLink(folder["dotnet"], dotnet);
        var result = await Pwsh.RunAsync($"Test-AzureVhd {Pwsh.Quote(vhd)} -Boot -Qemu Host", "env", $"PATH={folder.Path}");
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains("apt-get install", result.All.ReplaceLineEndings(" "), StringComparison.Ordinal);
    }
}
