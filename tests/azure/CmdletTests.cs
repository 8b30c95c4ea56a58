using System.Globalization;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>The image of build.sh by the cmdlet, as the README prints it.</summary>
public sealed class CmdletTests(ITestOutputHelper output) : AzureTest(output)
{
    // The tests of what is provisioned boot both generations each time.
    [Fact]
    [Trait("Speed", "long")]
    public async Task The_image_meets_the_rules_and_boots_in_both_generations()
    {
        var logs = Logs();
        using var turn = await MachineTurn.TakeAsync();

        // The mirror that QEMU in a container comes from runs only then.
        (await TestImage.LauncherAsync(Reporter)).Dispose();
        var before = await StampAsync(TestImage.Vhd);
        var result = await Pwsh.RunAsync(string.Create(CultureInfo.InvariantCulture, $$"""
            $vhd = {{Pwsh.Quote(TestImage.Vhd)}}
            "rules: $(Test-AzureVhd $vhd -Quiet)"
            Test-AzureVhd $vhd -Boot -Generation 1,2 -Timeout {{(int)Limit.TotalSeconds}} -KeepLog {{Pwsh.Quote(logs)}} -OutVariable reports
            foreach ($report in $reports) {
                $reached = $report.Timeline.Where({ $_.Name -in 'Ready', 'Ssh' }).Name -join ' and '
                "generation $($report.Generation): $($report.Passed), $reached"
            }
            """));
        Reporter.Information(result.All);

        Assert.True(result.ExitCode == 0, result.All);
        string[] lines = result.Output.Split('\n');
        Assert.Contains("rules: True", lines);
        foreach (var generation in new[] { 1, 2 })
        {
            Assert.Contains($"generation {generation}: True, Ready and Ssh", lines);
            var serial = await File.ReadAllTextAsync(Path.Combine(logs, $"gen{generation}.serial.log"));
            Assert.Contains("login:", serial, StringComparison.Ordinal);
            Assert.DoesNotContain(
                serial.Split('\n'),
                line => line.Contains("FAILED", StringComparison.Ordinal) || line.Contains("DEPEND", StringComparison.Ordinal));
            Assert.Equal("PNG"u8.ToArray(), (await File.ReadAllBytesAsync(Path.Combine(logs, $"gen{generation}.screen.png")))[1..4]);
        }

        // The image itself is only read.
        Assert.Equal(before, await StampAsync(TestImage.Vhd));
    }
}
