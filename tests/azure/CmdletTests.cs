using System.Globalization;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>The image of build.sh by the cmdlet, as the README prints it.</summary>
public sealed class CmdletTests(ITestOutputHelper output) : AzureTest(output)
{
    [Fact]
    public async Task The_image_meets_the_rules_and_boots_in_both_generations()
    {
        var logs = Logs();
        var result = await HostProcess.RunAsync(string.Create(CultureInfo.InvariantCulture, $$"""
            $vhd = {{HostProcess.Quote(TestImage.Vhd)}}
            "rules: $(Test-AzureVhd $vhd -Quiet)"
            Test-AzureVhd $vhd -Boot -Generation 1,2 -Timeout {{(int)Limit.TotalSeconds}} -KeepLog {{HostProcess.Quote(logs)}} -OutVariable reports
            foreach ($report in $reports) {
                "generation $($report.Generation): $($report.Passed), $($report.Timeline.Where({ $_.Name -in 'Ready', 'Ssh' }).Name -join ' and ')"
            }
            """));
        Reporter.Information(result.All);

        Assert.True(result.ExitCode == 0, result.All);
        string[] lines = result.Output.Split('\n');
        Assert.Contains("rules: True", lines);
        foreach (var generation in new[] { 1, 2 })
        {
            Assert.Contains($"generation {generation}: True, Ready and Ssh", lines);
            Assert.Contains("login:", await File.ReadAllTextAsync(Path.Combine(logs, $"gen{generation}.serial.log")), StringComparison.Ordinal);
            Assert.Equal("PNG"u8.ToArray(), (await File.ReadAllBytesAsync(Path.Combine(logs, $"gen{generation}.screen.png")))[1..4]);
        }
    }
}
