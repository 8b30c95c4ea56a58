using System.ComponentModel;
using System.Globalization;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using ArchAzure.IO;
using Renci.SshNet.Common;

namespace ArchAzure.SimulatedAzure;

/// <summary>What a boot test is to do.</summary>
/// <param name="VhdPath">The fixed VHD; it is only read.</param>
/// <param name="Generation">1 or 2.</param>
public sealed record BootTestOptions(string VhdPath, int Generation)
{
    /// <summary>The limit for the whole test. Without KVM Ready takes about a minute on a quick machine.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>A folder for the serial log and the pictures; it is made if need be.</summary>
    public required string LogDirectory { get; init; }

    /// <summary>The size the OS disk is to appear with, in MiB, to see the root file system grow; null for the VHD's own.</summary>
    public int? DiskSizeMiB { get; init; }

    /// <summary>The machine's name.</summary>
    public string HostName { get; init; } = "archazure-test";

    /// <summary>The first user.</summary>
    public string UserName { get; init; } = "azureuser";

    /// <summary>The first user's password, or null for a login with the key only.</summary>
    public string? Password { get; init; }

    /// <summary>True when the image must refuse passwords over ssh.</summary>
    public bool DisableSshPasswordAuthentication { get; init; } = true;

    /// <summary>The custom data, or null.</summary>
    public ReadOnlyMemory<byte>? CustomData { get; init; }

    /// <summary>How long after <see cref="DvdDelayFrom"/> the DVD is put in; null: it is there from the start.</summary>
    public TimeSpan? DvdDelay { get; init; }

    /// <summary>The line on the serial console from which <see cref="DvdDelay"/> counts; null: from when the machine was given its address.</summary>
    public Regex? DvdDelayFrom { get; init; }

    /// <summary>Sizes of further, empty disks in MiB.</summary>
    public IReadOnlyList<int> DataDisksMiB { get; init; } = [];

    /// <summary>True to put the data disks before the OS disk, so that /dev/sda is not the OS disk.</summary>
    public bool DataDisksFirst { get; init; }

    /// <summary>Extension handlers; each must report success.</summary>
    public IReadOnlyList<ExtensionHandler> Extensions { get; init; } = [];

    /// <summary>The virtual network's addresses and behaviour.</summary>
    public VirtualNetworkOptions Network { get; init; } = new();

    /// <summary>Memory in MiB.</summary>
    public int MemoryMiB { get; init; } = 1024;

    /// <summary>Processors.</summary>
    public int Processors { get; init; } = 2;

    /// <summary>The port on 127.0.0.1 that leads to the machine's sshd; 0 for a free one.</summary>
    public int SshPort { get; init; }

    /// <summary>Further work on the machine once it is Ready and logged in to, or null. What it throws fails the test.</summary>
    public Func<BootSession, CancellationToken, Task>? WhileUp { get; init; }
}

/// <summary>A machine that is up, for further work on it.</summary>
/// <param name="Machine">The virtual machine.</param>
/// <param name="Network">Its network.</param>
/// <param name="Platform">What it told the platform, and the goal state.</param>
/// <param name="Ssh">A session of the first user.</param>
/// <param name="SshPort">The port on 127.0.0.1 that leads to its sshd.</param>
/// <param name="Key">The key of the first user.</param>
/// <param name="Password">The first user's password, or null.</param>
public sealed record BootSession(
    VirtualMachine Machine, VirtualNetwork Network, SimulatedPlatform Platform, SshProbe Ssh, int SshPort, SshKeyPair Key, string? Password)
{
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(2);

    /// <summary>Runs a command as root; the agent lets a user who has a password use sudo with it only.</summary>
    /// <param name="command">The command line, for a shell.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    public Task<SshResult> SudoAsync(string command, CancellationToken cancellationToken)
    {
        var quoted = "'" + command.Replace("'", "'\\''", StringComparison.Ordinal) + "'";
        return Password is null
            ? Ssh.RunAsync($"sudo -n sh -c {quoted}", cancellationToken)
            : Ssh.RunAsync($"sudo -S -p '' sh -c {quoted}", cancellationToken, Password + "\n");
    }

    /// <summary>Reboots the guest, logs in again and waits until its agent's status says Ready.</summary>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="ArchAzureException">The guest refused to reboot.</exception>
    public async Task RebootAsync(CancellationToken cancellationToken)
    {
        const string bootId = "cat /proc/sys/kernel/random/boot_id";
        var before = (await Ssh.RunAsync(bootId, cancellationToken)).Output;
        await RebootAfterAsync("", cancellationToken);

        // sshd still takes logins while the guest goes down: only another boot id shows that it has come back.
        string after;
        do
        {
            await Task.Delay(s_pause, cancellationToken);
            await Ssh.ConnectAsync(cancellationToken);
            after = await Ssh.TryRunAsync(bootId, cancellationToken) ?? before;
        }
        while (after == before);

        var seen = Platform.AgentStatuses.Count;
        await Platform.WaitForAsync(platform => platform.AgentStatuses.Skip(seen).Any(status => status.Status == "Ready"), cancellationToken);
    }

    /// <summary>
    /// Deprovisions the guest and has it provisioned as a new machine at its next boot: another deployment, another DVD. The
    /// firmware's machine id stays, which QEMU cannot change in a running machine.
    /// </summary>
    /// <param name="deprovision">The guest's command for it, e.g. <c>waagent -deprovision+user -force</c>.</param>
    /// <param name="environment">What the new DVD says; its keys are replaced by a fresh one.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>The new machine's session once it is Ready and logged in to; the caller disposes of its <see cref="Ssh"/>.</returns>
    /// <exception cref="ArchAzureException">The command failed, or the new machine reported that it was not provisioned.</exception>
    public async Task<BootSession> ReprovisionAsync(string deprovision, OvfEnvironment environment, CancellationToken cancellationToken)
    {
        var key = SshKeyPair.Create("archazure-boot-test");
        environment = environment with { SshPublicKeys = [key.PublicKey] };
        await Machine.RemoveDvdAsync(cancellationToken);
        await Machine.InsertDvdAsync(ProvisioningDvd.Create(environment, DateTimeOffset.UtcNow), cancellationToken);

        // In one command: the user who runs it is gone after its first half.
        await RebootAfterAsync(deprovision + " && ", cancellationToken);
        Platform.Redeploy(environment);
        var seen = Platform.HealthReports.Count;
        HealthReport? last = null;
        await Platform.WaitForAsync(
            platform => (last = platform.HealthReports.Skip(seen).LastOrDefault(report => report.State == "Ready" || report.SubStatus == "ProvisioningFailed")) is not null, cancellationToken);
        if (last!.State != "Ready")
        {
            throw new ArchAzureException("GuestNotReady", ErrorKind.InvalidData, $"The new machine reported {last.State} ({last.SubStatus}): {last.Description}", Machine);
        }

        var ssh = SshProbe.WithKey(SshPort, environment.UserName, key);
        try
        {
            await ssh.ConnectAsync(cancellationToken);
        }
        catch
        {
            ssh.Dispose();
            throw;
        }

        return this with { Ssh = ssh, Key = key, Password = environment.UserPassword };
    }

    private async Task RebootAfterAsync(string command, CancellationToken cancellationToken)
    {
        SshResult result;
        try
        {
            result = await SudoAsync(command + "systemctl --no-block reboot", cancellationToken);
        }
        catch (Exception e) when (e is SshException or SocketException or IOException)
        {
            // The guest goes down faster than it could tell how its command ended.
            return;
        }

        if (result.ExitCode > 0)
        {
            throw new ArchAzureException("RebootFailed", ErrorKind.CommandFailed,
                $"The guest did not reboot (exit code {result.ExitCode}): {result.Output.Trim()} {result.Error.Trim()}", Machine);
        }
    }
}

/// <summary>A point on the way, in the order of time.</summary>
/// <param name="Name">What was reached: <c>Start</c>, <c>Kernel</c>, <c>Initramfs</c>, <c>Systemd</c>, <c>Network</c>, <c>LoginPrompt</c>, <c>Agent</c>, <c>Provisioning</c>, <c>Ready</c>, <c>Ssh</c>, <c>Extensions</c>.</param>
/// <param name="Elapsed">Since the machine's start.</param>
public sealed record BootMilestone(string Name, TimeSpan Elapsed);

/// <summary>What a boot test found.</summary>
public sealed record BootReport
{
    /// <summary>The VHD.</summary>
    public required string VhdPath { get; init; }

    /// <summary>1 or 2.</summary>
    public required int Generation { get; init; }

    /// <summary>True only when the guest's own agent reported Ready, the login with the key worked and every extension reported success.</summary>
    public required bool Passed { get; init; }

    /// <summary>Why it did not pass, in whole sentences; null when it did.</summary>
    public required string? Error { get; init; }

    /// <summary>A stable PascalCase id of the reason: <c>GuestDied</c>, <c>GuestTimeout</c>, <c>GuestNotReady</c>, <c>LoginFailed</c>, <c>ExtensionFailed</c>, <c>QemuEnded</c>, <c>SessionFailed</c>; null when it passed.</summary>
    public required string? ErrorId { get; init; }

    /// <summary>Whether the processor was the host's (KVM) or emulated.</summary>
    public required bool UsedKvm { get; init; }

    /// <summary>What was reached when.</summary>
    public required IReadOnlyList<BootMilestone> Timeline { get; init; }

    /// <summary>What the machine said of its health.</summary>
    public required IReadOnlyList<HealthReport> HealthReports { get; init; }

    /// <summary>What the agent said of itself in its status blobs.</summary>
    public required IReadOnlyList<AgentStatus> AgentStatuses { get; init; }

    /// <summary>The last status of each extension handler.</summary>
    public required IReadOnlyList<ExtensionStatus> Extensions { get; init; }

    /// <summary>All telemetry.</summary>
    public required IReadOnlyList<TelemetryEvent> Telemetry { get; init; }

    /// <summary>All requests of the machine.</summary>
    public required IReadOnlyList<PlatformRequest> Requests { get; init; }

    /// <summary>The requests that Azure would not have taken.</summary>
    public IReadOnlyList<PlatformRequest> Violations => Requests.Where(request => request.Violation is not null).ToArray();

    /// <summary>The ssh host key's fingerprint as the machine told the platform, or null.</summary>
    public required string? ReportedHostKey { get; init; }

    /// <summary>The fingerprint of the host key that sshd showed, or null.</summary>
    public required string? SeenHostKey { get; init; }

    /// <summary>What the guest shows, or null where nobody got in.</summary>
    public required GuestFacts? Guest { get; init; }

    /// <summary>The last lines of the serial console.</summary>
    public required IReadOnlyList<string> LastSerialLines { get; init; }

    /// <summary>The whole serial log.</summary>
    public required string SerialLogPath { get; init; }

    /// <summary>A PNG of the screen at the end, or null where none could be taken.</summary>
    public required string? ScreenPath { get; init; }
}

/// <summary>
/// Boots an image against the simulated Azure: provisioning DVD, wire server, metadata, network; and judges by what the
/// machine says and by a login.
/// </summary>
public sealed class BootTest
{
    private const string Activity = "Test-AzureVhd";
    private const int SerialLinesInError = 15;
    private static readonly TimeSpan s_lastWords = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_screenLimit = TimeSpan.FromSeconds(10);

    private readonly IQemuLauncher _launcher;
    private readonly TimeProvider _clock;

    /// <summary>Creates a test.</summary>
    /// <param name="launcher">Where QEMU runs; the host unless given.</param>
    /// <param name="clock">The clock of the timeline.</param>
    public BootTest(IQemuLauncher? launcher = null, TimeProvider? clock = null)
    {
        _launcher = launcher ?? new HostQemuLauncher();
        _clock = clock ?? TimeProvider.System;
    }

    /// <summary>Boots the image and waits for the outcome.</summary>
    /// <param name="options">What to do.</param>
    /// <param name="reporter">Told of progress.</param>
    /// <param name="cancellationToken">Ends the machine and the test.</param>
    /// <returns>The report, also of a machine that failed.</returns>
    /// <exception cref="ArchAzureException">The test itself cannot run: no QEMU, no firmware, no such file, port taken, no room for the log.</exception>
    public async Task<BootReport> RunAsync(BootTestOptions options, IReporter reporter, CancellationToken cancellationToken)
    {
        try
        {
            return await BootAsync(options, reporter, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SocketException or Win32Exception or SshException)
        {
            throw new ArchAzureException("BootTestFailed", ErrorKind.CommandFailed,
                $"The boot test of {options.VhdPath} on generation {options.Generation} broke off: {e.Message.TrimEnd('.')}. It says nothing about the image. Repair the cause on this machine and test again; "
                + $"the logs so far are in {options.LogDirectory}.", options.VhdPath, e);
        }
    }

    private async Task<BootReport> BootAsync(BootTestOptions options, IReporter reporter, CancellationToken cancellationToken)
    {
        if (!File.Exists(options.VhdPath))
        {
            throw new ArchAzureException("VhdNotFound", ErrorKind.NotFound, $"There is no file {options.VhdPath}. Name an image to boot.", options.VhdPath);
        }

        var tools = await _launcher.FindToolsAsync(cancellationToken);
        NewFile.CreateFolder(options.LogDirectory);
        string Log(string extension) => Path.Combine(options.LogDirectory, $"gen{options.Generation}.{extension}");

        var key = SshKeyPair.Create("archazure-boot-test");
        var environment = new OvfEnvironment(options.HostName, options.UserName)
        {
            UserPassword = options.Password,
            DisableSshPasswordAuthentication = options.DisableSshPasswordAuthentication,
            SshPublicKeys = [key.PublicKey],
            CustomData = options.CustomData,
        };
        var platformOptions = new SimulatedPlatformOptions(environment) { Extensions = options.Extensions, Address = options.Network.GuestAddress };
        using var platform = new SimulatedPlatform(platformOptions, _clock);
        await using var network = new VirtualNetwork(options.Network);
        platform.Attach(network);
        var sshPort = network.ForwardFromLoopback(22, options.SshPort);

        var dvd = ProvisioningDvd.Create(environment, _clock.GetUtcNow());
        try
        {
            var run = new Run(options, reporter, platform, _clock);
            network.AddressAssigned += (_, _) => run.ReachNetwork();

            run.Reach("Start");
            await using var machine = await VirtualMachine.StartAsync(
                new VirtualMachineOptions(options.VhdPath, options.Generation)
                {
                    DiskSizeMiB = options.DiskSizeMiB,
                    Dvd = options.DvdDelay is null ? dvd : default(ReadOnlyMemory<byte>?),
                    DataDisksMiB = options.DataDisksMiB,
                    DataDisksFirst = options.DataDisksFirst,
                    MemoryMiB = options.MemoryMiB,
                    Processors = options.Processors,
                    MacAddress = platformOptions.MacAddress,
                    VmId = platformOptions.VmId,
                    SerialLogPath = Log("serial.log"),
                },
                network, _launcher, reporter, cancellationToken);

            using var probe = SshProbe.WithKey(sshPort, options.UserName, key);
            var session = new BootSession(machine, network, platform, probe, sshPort, key, options.Password);
            var outcome = await WatchAsync(run, session, options, dvd, cancellationToken);
            var screen = await SaveScreenAsync(machine, Log("screen.png"));
            var lines = machine.Console.LastLines(60);
            run.AddStages(machine.Console.Stages);
            if (outcome.Error is { } error)
            {
                if (outcome.ErrorId == "GuestDied" && tools.MayPanicSoundKernels && lines.Any(line => line.Contains("int3", StringComparison.Ordinal)))
                {
                    error += $" QEMU {tools.Version} itself may have caused it, since it emulates the processor and is older than 8.1: test again, with -Qemu Builder or a newer QEMU.";
                }

                error += $" Reached: {string.Join(", ", run.Timeline.Select(m => string.Create(CultureInfo.InvariantCulture, $"{m.Name} after {m.Elapsed.TotalSeconds:0} s")))}."
                    + $" Serial log: {Log("serial.log")}" + (screen is null ? "" : $"; picture of the screen: {screen}") + "."
                    + $" Its last lines:{string.Concat(lines.TakeLast(SerialLinesInError).Select(line => "\n  " + line))}";
                outcome = outcome with { Error = error };
            }

            return new BootReport
            {
                VhdPath = options.VhdPath,
                Generation = options.Generation,
                Passed = outcome.Error is null,
                Error = outcome.Error,
                ErrorId = outcome.ErrorId,
                UsedKvm = tools.KvmUsable,
                Timeline = run.Timeline,
                HealthReports = platform.HealthReports,
                AgentStatuses = platform.AgentStatuses,
                Extensions = platform.ExtensionStatuses,
                Telemetry = platform.Telemetry,
                Requests = platform.Requests,
                ReportedHostKey = platform.HostKeyFingerprints.Count > 0 ? platform.HostKeyFingerprints[^1] : null,
                SeenHostKey = probe.HostKeyFingerprint,
                Guest = outcome.Guest,
                LastSerialLines = lines,
                SerialLogPath = Log("serial.log"),
                ScreenPath = screen,
            };
        }
        finally
        {
            reporter.Progress(new ProgressUpdate(Activity, "done", Completed: true));
        }
    }

    private static async Task<Outcome> WatchAsync(Run run, BootSession session, BootTestOptions options, byte[] dvd, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(options.Timeout);
        var work = WorkAsync(run, session, options, dvd, limit.Token);

        // From Ready on a NotReady is no verdict any more: an agent says so while it restarts.
        var failed = FailureAsync(session.Platform, limit.Token);
        var first = await Task.WhenAny(work, failed, session.Machine.Console.Dead, session.Machine.Exited);
        Outcome outcome;
        if (first == work)
        {
            try
            {
                outcome = await work;
            }
            catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
            {
                outcome = TimedOut(run, options, e);
            }
        }
        else if (first == failed && !failed.IsCanceled)
        {
            var report = await failed;
            outcome = new Outcome("GuestNotReady", $"{run.Name}: the agent reported {report.State} ({report.SubStatus}): {report.Description}");
        }
        else if (first == session.Machine.Console.Dead)
        {
            // The reason is often in what comes right after the mark.
            await Task.WhenAny(Task.Delay(s_lastWords, cancellationToken), session.Machine.Exited);
            outcome = new Outcome("GuestDied", $"{run.Name} goes nowhere any more: {await session.Machine.Console.Dead}.");
        }
        else if (first == session.Machine.Exited)
        {
            outcome = new Outcome("QemuEnded", $"{run.Name} ended during the test; QEMU's exit code is {await session.Machine.Exited}. {session.Machine.ErrorOutput.Trim()}");
        }
        else
        {
            outcome = TimedOut(run, options, null);
        }

        await limit.CancelAsync();
        await Task.WhenAll(Settled(work), Settled(failed));
        cancellationToken.ThrowIfCancellationRequested();
        return outcome;
    }

    private static async Task<Outcome> WorkAsync(Run run, BootSession session, BootTestOptions options, byte[] dvd, CancellationToken cancellationToken)
    {
        run.Waiting("the guest's agent to report Ready");
        if (options.DvdDelay is { } delay)
        {
            await (options.DvdDelayFrom is { } line ? session.Machine.Console.Shown(line) : run.NetworkReached).WaitAsync(cancellationToken);
            await Task.Delay(delay, cancellationToken);
            await session.Machine.InsertDvdAsync(dvd, cancellationToken);
            run.Reach("DvdInserted");
        }

        await session.Platform.WaitForReadyAsync(cancellationToken);
        run.Waiting("a login with the key");
        await session.Ssh.ConnectAsync(cancellationToken);
        run.Reach("Ssh");
        run.Waiting("what the guest shows to the user");
        var facts = GuestFacts.Parse((await session.Ssh.ReadAsync(GuestFacts.Script, cancellationToken)).Output);
        if (options.Extensions.Count > 0)
        {
            run.Waiting("the extensions' status");
            await session.Platform.WaitForAsync(platform => options.Extensions.All(e => Find(platform, e) is { } s && (IsFinal(s) || IsFailure(s))), cancellationToken);
            run.Reach("Extensions");
            foreach (var extension in options.Extensions)
            {
                var status = Find(session.Platform, extension)!;
                if (IsFailure(status) || status.Status == "error")
                {
                    return new Outcome("ExtensionFailed",
                        $"{run.Name}: the extension {status.Name} {status.Version} is {status.HandlerStatus}, its settings {status.Status ?? "without a status"} (code {status.Code}): {status.Message}", facts);
                }
            }
        }

        if (options.WhileUp is { } further)
        {
            run.Waiting("the further work on the machine");
            try
            {
                await further(session, cancellationToken);
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                return new Outcome("SessionFailed", $"{run.Name} was Ready and let us in, but then: {e.Message}", facts);
            }
        }

        return new Outcome(null, null, facts);

        static ExtensionStatus? Find(SimulatedPlatform platform, ExtensionHandler extension) => platform.ExtensionStatuses.FirstOrDefault(status =>
            string.Equals(status.Name, extension.Name, StringComparison.OrdinalIgnoreCase) && (status.SequenceNumber ?? extension.SequenceNumber) >= extension.SequenceNumber);

        static bool IsFinal(ExtensionStatus status) => status.Status is "success" or "error" or "warning";

        static bool IsFailure(ExtensionStatus status) => status.HandlerStatus is "NotReady" or "Unresponsive" && status.Code is not (null or 0);
    }

    private static async Task<HealthReport> FailureAsync(SimulatedPlatform platform, CancellationToken cancellationToken)
    {
        HealthReport? failure = null;
        await platform.WaitForAsync(
            p => (failure = p.HealthReports.TakeWhile(r => r.State != "Ready").FirstOrDefault(r => r.SubStatus == "ProvisioningFailed")) is not null, cancellationToken);
        return failure!;
    }

    private static Outcome TimedOut(Run run, BootTestOptions options, Exception? last) => new("GuestTimeout",
        string.Create(CultureInfo.InvariantCulture, $"{run.Name} did not get there within {options.Timeout.TotalSeconds:0} s; the test waited for {run.WaitedFor}.")
        + (last?.InnerException is { } inner ? $" The last attempt said: {inner.Message}" : ""));

    private static async Task<string?> SaveScreenAsync(VirtualMachine machine, string path)
    {
        using var limit = new CancellationTokenSource(s_screenLimit);
        try
        {
            await machine.SaveScreenAsync(path, limit.Token);
            return path;
        }
        catch (Exception e) when (e is ArchAzureException or OperationCanceledException or IOException)
        {
            // The machine has ended, and its screen with it.
            return null;
        }
    }

    private static Task Settled(Task task) =>
        task.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

    private sealed record Outcome(string? ErrorId, string? Error, GuestFacts? Guest = null);

    private sealed class Run
    {
        private readonly object _gate = new();
        private readonly List<(string Name, DateTimeOffset Time)> _reached = [];
        private readonly TaskCompletionSource _network = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly BootTestOptions _options;
        private readonly IReporter _reporter;
        private readonly TimeProvider _clock;

        public Run(BootTestOptions options, IReporter reporter, SimulatedPlatform platform, TimeProvider clock)
        {
            _options = options;
            _reporter = reporter;
            _clock = clock;
            platform.RequestAnswered += (_, e) =>
            {
                if (e.Item.Service == "WireServer")
                {
                    Reach("Agent");
                }

                if (e.Item.Violation is { } violation)
                {
                    reporter.Warning($"{Name}: {e.Item.Service} answered {e.Item.Status} to {e.Item.Method} {e.Item.Target}: {violation}");
                }
            };
            platform.HealthReported += (_, e) => Reach(e.Item.State == "Ready" ? "Ready" : e.Item.SubStatus ?? e.Item.State);
        }

        public string Name => $"{Path.GetFileName(_options.VhdPath)} on generation {_options.Generation}";

        public string WaitedFor { get; private set; } = "QEMU to start";

        public Task NetworkReached => _network.Task;

        public IReadOnlyList<BootMilestone> Timeline
        {
            get
            {
                lock (_gate)
                {
                    var ordered = _reached.OrderBy(r => r.Time).ToArray();
                    return ordered.Select(r => new BootMilestone(r.Name, r.Time - ordered[0].Time)).ToArray();
                }
            }
        }

        public void Reach(string name)
        {
            lock (_gate)
            {
                if (_reached.Exists(r => r.Name == name))
                {
                    return;
                }

                _reached.Add((name, _clock.GetUtcNow()));
            }

            _reporter.Verbose($"{Name}: {name}");
            _reporter.Progress(new ProgressUpdate(Activity, $"{Name}: {name}, waiting for {WaitedFor}"));
        }

        public void ReachNetwork()
        {
            Reach("Network");
            _network.TrySetResult();
        }

        public void Waiting(string what)
        {
            WaitedFor = what;
            _reporter.Progress(new ProgressUpdate(Activity, $"{Name}: waiting for {what}"));
        }

        public void AddStages(IReadOnlyDictionary<BootStage, DateTimeOffset> stages)
        {
            lock (_gate)
            {
                _reached.AddRange(stages.Select(stage => (stage.Key.ToString(), stage.Value)));
            }
        }
    }
}
