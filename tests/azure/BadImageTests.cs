using ArchAzure.SimulatedAzure;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>Images that go nowhere, and a machine without an emulator.</summary>
public sealed class BadImageTests(ITestOutputHelper output) : AzureTest(output)
{
    [Fact]
    public async Task A_guest_that_hangs_ends_at_the_limit_with_its_last_words()
    {
        using var folder = new TempFolder();
        var options = new BootTestOptions(HangingVhd.Create(folder), 1) { LogDirectory = Logs(), Timeout = TimeSpan.FromSeconds(20) };
        using var launcher = new HostQemuLauncher();
        var report = await BootAsync(options, launcher);
        Assert.False(report.Passed);
        Assert.Equal("GuestTimeout", report.ErrorId);
        Assert.Contains("within 20 s", report.Error, StringComparison.Ordinal);
        Assert.Contains("report Ready", report.Error, StringComparison.Ordinal);
        Assert.Contains("archazure hangs", report.Error, StringComparison.Ordinal);
        Assert.Contains("archazure hangs", await File.ReadAllTextAsync(report.SerialLogPath), StringComparison.Ordinal);
        Assert.Equal("\u0089PNG"u8[1..].ToArray(), (await File.ReadAllBytesAsync(report.ScreenPath!))[..4]);
    }

    [Fact]
    public async Task No_emulator()
    {
        using var folder = new TempFolder();
        var vhd = HangingVhd.Create(folder);
        var dotnet = (await Tool.RunAsync("sh", "-c", "command -v dotnet")).Trim();
        File.CreateSymbolicLink(folder["dotnet"], dotnet);
        var result = await HostProcess.RunAsync($"Test-AzureVhd {HostProcess.Quote(vhd)} -Boot -Qemu Host", "env", $"PATH={folder.Path}");
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains("apt-get install", result.All.ReplaceLineEndings(" "), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_port_that_is_taken()
    {
        using var folder = new TempFolder();
        using var taken = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        taken.Start();
        var port = ((System.Net.IPEndPoint)taken.LocalEndpoint).Port;
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => BootAsync(new BootTestOptions(HangingVhd.Create(folder), 1) { LogDirectory = Logs(), SshPort = port }));
        Assert.Equal("PortTaken", error.ErrorId);
        Assert.Contains($"{port}", error.Message, StringComparison.Ordinal);
    }
}
