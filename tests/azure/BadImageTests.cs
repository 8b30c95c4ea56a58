using ArchAzure.SimulatedAzure;
using ArchAzure.Vhd;
using Xunit.Abstractions;

namespace ArchAzure.AzureTests;

/// <summary>Images that go nowhere, and a machine without an emulator.</summary>
public sealed class BadImageTests(ITestOutputHelper output) : AzureTest(output)
{
    [Fact]
    public async Task A_guest_that_hangs_ends_at_the_limit_with_its_last_words()
    {
        using var folder = new TempFolder();
        var options = new BootTestOptions(HangingVhd(folder), 1) { LogDirectory = Logs(), Timeout = TimeSpan.FromSeconds(20) };
        var report = await BootAsync(options);
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
        var vhd = HangingVhd(folder);
        var path = Environment.GetEnvironmentVariable("PATH");
        Environment.SetEnvironmentVariable("PATH", folder.Path);
        try
        {
            var error = await Assert.ThrowsAsync<ArchAzureException>(() => BootAsync(new BootTestOptions(vhd, 1) { LogDirectory = Logs() }));
            Assert.Equal("QemuNotFound", error.ErrorId);
            Assert.Contains("apt-get install", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            Environment.SetEnvironmentVariable("PATH", path);
        }
    }

    [Fact]
    public async Task A_port_that_is_taken()
    {
        using var folder = new TempFolder();
        using var taken = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        taken.Start();
        var port = ((System.Net.IPEndPoint)taken.LocalEndpoint).Port;
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => BootAsync(new BootTestOptions(HangingVhd(folder), 1) { LogDirectory = Logs(), SshPort = port }));
        Assert.Equal("PortTaken", error.ErrorId);
        Assert.Contains($"{port}", error.Message, StringComparison.Ordinal);
    }

    /// <summary>A boot sector that says a line on the first serial port and stops.</summary>
    private static string HangingVhd(TempFolder folder)
    {
        // mov si, text; mov dx, 0; next: lodsb; test al, al; jz stop; mov ah, 1; int 14h (BIOS: send a character); jmp next; stop: cli; hlt
        byte[] code = [0xBE, 0x13, 0x7C, 0xBA, 0x00, 0x00, 0xAC, 0x84, 0xC0, 0x74, 0x06, 0xB4, 0x01, 0xCD, 0x14, 0xEB, 0xF5, 0xFA, 0xF4];
        var disk = new byte[1 << 20];
        code.CopyTo(disk, 0);
        "archazure hangs\r\n\0"u8.CopyTo(disk.AsSpan(code.Length));
        disk[510] = 0x55;
        disk[511] = 0xAA;
        var path = folder["hangs.vhd"];
        using var file = File.Create(path);
        file.Write(disk);
        file.Write(VhdFooter.ForFixedDisk(disk.Length, Guid.NewGuid(), DateTimeOffset.UtcNow).ToBytes());
        return path;
    }
}
