using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using ArchAzure.SimulatedAzure;
using Xunit;

namespace ArchAzure.UnitTests.SimulatedAzure;

public sealed class QemuTests
{
    private static readonly UefiFirmware s_firmware = new("/fw/code.fd", "/fw/vars.fd");

    [Fact]
    public void Generation1HasBiosAndIde()
    {
        var arguments = QemuCommandLine.Build(Machine(1) with { Dvd = "/run/dvd.iso", DataDisks = ["/run/d0", "/run/d1"] });

        Assert.Equal("pc", After(arguments, "-machine"));
        Assert.Contains("ide-hd,drive=os,bus=ide.0,unit=0,bootindex=0", arguments);
        Assert.Contains("ide-cd,bus=ide.1,unit=0,drive=dvd,id=dvd0", arguments);
        Assert.Contains("if=none,id=dvd,file=/run/dvd.iso,format=raw,readonly=on,media=cdrom", arguments);
        Assert.Contains("scsi-hd,drive=data1,bus=scsi.0,scsi-id=1,lun=1", arguments);
        Assert.DoesNotContain(arguments, a => a.Contains("pflash", StringComparison.Ordinal));
    }

    [Fact]
    public void Generation2HasUefiAndScsi()
    {
        var arguments = QemuCommandLine.Build(Machine(2) with { Dvd = "/run/dvd.iso", Firmware = s_firmware });

        Assert.Equal("q35", After(arguments, "-machine"));
        Assert.Contains("if=pflash,unit=0,format=raw,readonly=on,file=/fw/code.fd", arguments);
        Assert.Contains("if=pflash,unit=1,format=raw,cache=unsafe,file=/fw/vars.fd", arguments);
        Assert.Contains("scsi-hd,drive=os,bus=scsi.0,scsi-id=0,lun=0,bootindex=0", arguments);
        Assert.Contains("scsi-cd,bus=scsi.0,scsi-id=0,lun=2,drive=dvd,id=dvd0", arguments);
        Assert.DoesNotContain(arguments, a => a.StartsWith("ide-", StringComparison.Ordinal));
    }

    [Fact]
    public void DataDisksCanComeBeforeTheOsDiskWhichStaysTheOneToBoot()
    {
        var first = QemuCommandLine.Build(Machine(1) with { DataDisks = ["/run/d0", "/run/d1"], DataDisksFirst = true });
        Assert.Contains("ide-hd,drive=data0,bus=ide.0,unit=0", first);
        Assert.Contains("ide-hd,drive=os,bus=ide.0,unit=1,bootindex=0", first);
        Assert.Contains("scsi-hd,drive=data1,bus=scsi.0,scsi-id=0,lun=1", first);

        var second = QemuCommandLine.Build(Machine(2) with { Dvd = "/run/dvd.iso", Firmware = s_firmware, DataDisks = ["/run/d0", "/run/d1"], DataDisksFirst = true });
        Assert.Contains("scsi-hd,drive=data0,bus=scsi.0,scsi-id=0,lun=0", second);
        Assert.Contains("scsi-hd,drive=data1,bus=scsi.0,scsi-id=0,lun=1", second);
        Assert.Contains("scsi-hd,drive=os,bus=scsi.0,scsi-id=1,lun=0,bootindex=0", second);
        Assert.Contains("scsi-cd,bus=scsi.0,scsi-id=1,lun=2,drive=dvd,id=dvd0", second);
    }

    [Fact]
    public void WithoutADvdGeneration1KeepsTheDriveForALateOne()
    {
        Assert.Contains("ide-cd,bus=ide.1,unit=0,id=dvd0", QemuCommandLine.Build(Machine(1)));
        Assert.DoesNotContain(QemuCommandLine.Build(Machine(2) with { Firmware = s_firmware }), a => a.Contains("scsi-cd", StringComparison.Ordinal));
    }

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
        Assert.Contains(arguments, a => a.StartsWith("type=3,", StringComparison.Ordinal) && a.Contains("7783-7084-3265-9085-8269-3286-77", StringComparison.Ordinal));
    }

    [Fact]
    public void CommasInPathsDoNotBecomeOptions() =>
        Assert.Contains("if=none,id=os,file=/a,,b=c/os.qcow2,format=qcow2,cache=unsafe,discard=unmap", QemuCommandLine.Build(Machine(1) with { Disk = "/a,b=c/os.qcow2" }));

    [Fact]
    public void RefusesWhatCannotBe()
    {
        Assert.Equal("InvalidGeneration", Assert.Throws<ArchAzureException>(() => QemuCommandLine.Build(Machine(3))).ErrorId);
        var error = Assert.Throws<ArchAzureException>(() => QemuCommandLine.Build(Machine(2)));
        Assert.Equal("FirmwareNotFound", error.ErrorId);
        Assert.Contains("ovmf", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WithoutQemuTheErrorNamesThePackages()
    {
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => new HostQemuLauncher(_ => null).FindToolsAsync(CancellationToken.None));
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

            var error = await Assert.ThrowsAsync<ArchAzureException>(() => new HostQemuLauncher(_ => fake).FindToolsAsync(CancellationToken.None));
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
    public async Task MonitorAnswersAreMatchedAndEventsKept()
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
        await monitor.SayAsync("""{"event": "SHUTDOWN", "data": {}}""");
        await monitor.SayAsync("not json");
        await monitor.SayAsync($$$"""{"error": {"class": "GenericError", "desc": "no screen"}, "id": "{{{id2}}}"}""");
        await monitor.SayAsync($$$"""{"return": {"running": true}, "id": "{{{id1}}}"}""");

        Assert.True((await first).GetProperty("running").GetBoolean());
        Assert.Contains("no screen", (await Assert.ThrowsAsync<ArchAzureException>(() => second)).Message, StringComparison.Ordinal);
        Assert.Equal(["SHUTDOWN"], client.Events);
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

    [Theory]
    [InlineData("""{"id": "2"}""", "no answer of QMP")]
    [InlineData("""{"error": {}, "id": "2"}""", "{}")]
    [InlineData("""{"error": 5, "id": "2"}""", "5")]
    public async Task AnAnswerThatIsNoneIsNamed(string answer, string named)
    {
        using var monitor = new FakeMonitor();
        var connecting = QmpClient.ConnectAsync(monitor.Client, CancellationToken.None);
        await monitor.SayAsync("""{"QMP": {}}""");
        await monitor.AnswerAsync("qmp_capabilities", "{}");
        await using var client = await connecting;
        var waiting = client.ExecuteAsync("quit", null, CancellationToken.None);
        await monitor.HearAsync("quit");

        // What belongs to no command ends nothing.
        await monitor.SayAsync("""{"id": 2}""");
        await monitor.SayAsync("""{"event": 2}""");
        await monitor.SayAsync("""{"event": "\ud800"}""");
        await monitor.SayAsync(answer);
        Assert.Contains(named, (await Assert.ThrowsAsync<ArchAzureException>(() => waiting.WaitAsync(TimeSpan.FromSeconds(10)))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AnotherGreetingIsNoMonitor()
    {
        using var monitor = new FakeMonitor();
        var connecting = QmpClient.ConnectAsync(monitor.Client, CancellationToken.None);
        await monitor.SayAsync("SSH-2.0-OpenSSH_9.2");
        Assert.Contains("SSH-2.0", (await Assert.ThrowsAsync<ArchAzureException>(() => connecting)).Message, StringComparison.Ordinal);
    }

    private static QemuMachine Machine(int generation) => new(generation, "/run/os.qcow2", "/run/qmp", "/run/net", "/run/serial");

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

/// <summary>Two one-way streams as one.</summary>
internal sealed class Duplex(Stream input, Stream output) : Stream
{
    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override void Flush() => output.Flush();

    public override Task FlushAsync(CancellationToken cancellationToken) => output.FlushAsync(cancellationToken);

    public override int Read(byte[] buffer, int offset, int count) => input.Read(buffer, offset, count);

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => input.ReadAsync(buffer, cancellationToken);

    public override void Write(byte[] buffer, int offset, int count) => output.Write(buffer, offset, count);

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => output.WriteAsync(buffer, cancellationToken);

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            input.Dispose();
            output.Dispose();
        }

        base.Dispose(disposing);
    }
}
