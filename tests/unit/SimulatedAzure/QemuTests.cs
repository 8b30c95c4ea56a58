using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using ArchAzure.SimulatedAzure;
using Xunit;

namespace ArchAzure.UnitTests.SimulatedAzure;

public sealed class QemuTests
{
    [Theory]
    [InlineData(true, "kvm", "host")]
    [InlineData(false, "tcg,thread=multi", "max")]
    public void TheProcessorIsTheHostsWhereItCan(bool kvm, string accelerator, string processor)
    {
        var arguments = QemuCommandLine.Build(Machine(1) with { UseKvm = kvm });
        Assert.Equal(accelerator, After(arguments, "-accel"));
        Assert.Equal(processor, After(arguments, "-cpu"));
    }

    [Fact]
    public void TheNetworkIsOursAndNothingElse()
    {
        var arguments = QemuCommandLine.Build(Machine(1));
        Assert.Equal("stream,id=net,server=off,addr.type=unix,addr.path=/run/net", After(arguments, "-netdev"));
        Assert.Contains("virtio-net-pci,netdev=net,mac=00:0d:3a:11:22:33,romfile=", arguments);
        Assert.Contains(
            arguments,
            a => a.StartsWith("type=3,", StringComparison.Ordinal)
                && a.Contains("7783-7084-3265-9085-8269-3286-77", StringComparison.Ordinal));
    }

    [Fact]
    public void NVMeHasTheOsDiskAndTheDataDisksByTheirLuns()
    {
        var machine = Machine(2);
        var arguments = QemuCommandLine.Build(machine with
        {
            Options = machine.Options with { DiskController = DiskController.NVMe },
            Firmware = new UefiFirmware("/code", "/variables"),
            DataDisks = ["/data0", "/data1"],
        });
        Assert.Contains("nvme-ns,drive=os,bus=nvme,nsid=1,bootindex=0", arguments);
        Assert.Contains("nvme-ns,drive=data0,bus=nvme,nsid=2", arguments);
        Assert.Contains("nvme-ns,drive=data1,bus=nvme,nsid=3", arguments);
        Assert.DoesNotContain(arguments, argument => argument.StartsWith("scsi-hd", StringComparison.Ordinal));
    }

    [Fact]
    public void WithoutFirmwareGeneration2NamesThePackages()
    {
        var error = Assert.Throws<ArchAzureException>(() => QemuCommandLine.Build(Machine(2)));
        Assert.Equal("FirmwareNotFound", error.ErrorId);
        Assert.Contains("ovmf", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WithoutQemuTheErrorNamesThePackages()
    {
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => new HostQemuLauncher(_ => null).FindToolsAsync(CancellationToken.None));
        Assert.Equal("QemuNotFound", error.ErrorId);
        Assert.Contains("qemu-system-x86", error.Message, StringComparison.Ordinal);
        Assert.Contains("edk2-ovmf", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AnOldQemuIsRefused()
    {
        var directory = Directory.CreateTempSubdirectory();
        try
        {
            var fake = Path.Combine(directory.FullName, "qemu");
            File.WriteAllText(fake, "#!/bin/sh\necho 'QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg)'\n");
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(fake, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }

            var error = await Assert.ThrowsAsync<ArchAzureException>(
                () => new HostQemuLauncher(_ => fake).FindToolsAsync(CancellationToken.None));
            Assert.Equal("QemuTooOld", error.ErrorId);
            Assert.Contains("6.2", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Theory]
    [InlineData("flags\t\t: fpu vme vmx ssse3", true, true)]
    [InlineData("flags\t\t: fpu vme svm ssse3", true, true)]
    [InlineData("flags\t\t: fpu vme svm_lock hypervisor", true, false)]
    [InlineData("Features\t: fp asimd evtstrm", true, false)]
    [InlineData("flags\t\t: fpu vme vmx ssse3", false, false)]
    public void KvmIsUsedWhereTheProcessorVirtualizes(string line, bool device, bool usable)
    {
        var directory = Directory.CreateTempSubdirectory();
        try
        {
            var processors = Path.Combine(directory.FullName, "cpuinfo");
            File.WriteAllText(processors, $"processor\t: 0\n{line}\n");
            Assert.Equal(usable, QemuTools.IsKvmUsable(device ? processors : Path.Combine(directory.FullName, "kvm"), processors));
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task ProcessesEndWithUs()
    {
        using var launcher = new HostQemuLauncher();
        await using var host = await launcher.PrepareAsync("/unused.vhd", CancellationToken.None);
        await using var process = host.Start("/bin/sh", ["-c", "echo broken >&2; exec sleep 60"]);
        Assert.False(process.Exited.IsCompleted);
        process.Kill();
        Assert.NotEqual(0, await process.Exited.WaitAsync(TimeSpan.FromSeconds(10)));
        await using var failing = host.Start("/bin/sh", ["-c", "echo broken >&2; exit 3"]);
        Assert.Equal(3, await failing.Exited.WaitAsync(TimeSpan.FromSeconds(10)));
        Assert.Equal("broken", failing.ErrorOutput.Trim());
    }

    [Fact]
    public async Task MonitorAnswersAreMatchedAndEventsTold()
    {
        using var monitor = new FakeMonitor();
        var connecting = QmpClient.ConnectAsync(monitor.Client, CancellationToken.None);
        await monitor.SayAsync("""{"QMP": {"version": {}, "capabilities": []}}""");
        await monitor.AnswerAsync("qmp_capabilities", "{}");
        await using var client = await connecting;

        var first = client.ExecuteAsync("query-status", null, CancellationToken.None);
        var second = client.ExecuteAsync("screendump", new() { ["filename"] = "a\"b" }, CancellationToken.None);
        var (id1, _) = await monitor.HearAsync("query-status");
        var (id2, arguments) = await monitor.HearAsync("screendump");
        Assert.Equal("a\"b", arguments.GetProperty("filename").GetString());
        List<string> events = [];
        client.EventReceived += events.Add;
        await monitor.SayAsync("""{"event": "SHUTDOWN", "data": {}}""");
        await monitor.SayAsync("not json");
        await monitor.SayAsync($$$"""{"error": {"class": "GenericError", "desc": "no screen"}, "id": "{{{id2}}}"}""");
        await monitor.SayAsync($$$"""{"return": {"running": true}, "id": "{{{id1}}}"}""");

        Assert.True((await first).GetProperty("running").GetBoolean());
        Assert.Contains("no screen", (await Assert.ThrowsAsync<ArchAzureException>(() => second)).Message, StringComparison.Ordinal);
        Assert.Equal(["SHUTDOWN"], events);
    }

    [Fact]
    public async Task WhoWaitsForAMonitorThatEndsIsTold()
    {
        using var monitor = new FakeMonitor();
        var connecting = QmpClient.ConnectAsync(monitor.Client, CancellationToken.None);
        await monitor.SayAsync("""{"QMP": {}}""");
        await monitor.AnswerAsync("qmp_capabilities", "{}");
        await using var client = await connecting;
        var waiting = client.ExecuteAsync("quit", null, CancellationToken.None);
        await monitor.HearAsync("quit");
        await monitor.EndAsync();
        Assert.Equal("QmpFailed", (await Assert.ThrowsAsync<ArchAzureException>(() => waiting)).ErrorId);
    }

    private static QemuMachine Machine(int generation) => new(
        new VirtualMachineOptions("/disk.vhd", generation) { SerialLogPath = "/serial.log" }, "/run/os.qcow2", "/run/qmp", "/run/net",
        "/run/serial");

    private static string After(IReadOnlyList<string> arguments, string option) => arguments[arguments.ToList().IndexOf(option) + 1];

    /// <summary>The other end of a monitor's connection.</summary>
    private sealed class FakeMonitor : IDisposable
    {
        private readonly Pipe _toClient = new();
        private readonly Pipe _fromClient = new();
        private readonly StreamReader _heard;

        public FakeMonitor()
        {
            _heard = new StreamReader(_fromClient.Reader.AsStream());
            Client = new Duplex(_toClient.Reader.AsStream(), _fromClient.Writer.AsStream());
        }

        public Stream Client { get; }

        public async Task SayAsync(string line)
        {
            await _toClient.Writer.WriteAsync(Encoding.UTF8.GetBytes(line + "\r\n"));
        }

        public async Task<(string Id, JsonElement Arguments)> HearAsync(string command)
        {
            var line = await _heard.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(10));
            var message = JsonDocument.Parse(line!).RootElement;
            Assert.Equal(command, message.GetProperty("execute").GetString());
            return (message.GetProperty("id").GetString()!, message.TryGetProperty("arguments", out var arguments) ? arguments : default);
        }

        public async Task AnswerAsync(string command, string result)
        {
            var (id, _) = await HearAsync(command);
            await SayAsync($$"""{"return": {{result}}, "id": "{{id}}"}""");
        }

        public void Dispose() => _heard.Dispose();

        public ValueTask EndAsync() => _toClient.Writer.CompleteAsync();
    }
}
