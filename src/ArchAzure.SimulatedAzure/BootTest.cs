using System.ComponentModel;
using System.Globalization;
using System.Net.Sockets;
using ArchAzure.IO;
using Renci.SshNet.Common;

namespace ArchAzure.SimulatedAzure;

/// <summary>What a boot test is to do.</summary>
/// <param name="VhdPath">The fixed VHD; it is only read.</param>
/// <param name="Generation">1 or 2.</param>
internal record BootTestOptions(string VhdPath, int Generation)
{
    /// <summary>The OS disk's controller; see <see cref="VirtualMachineOptions.DiskController"/>.</summary>
    public DiskController DiskController { get; init; } = DiskControllers.Of(Generation);

    /// <summary>The limit for the whole test. Without KVM Ready takes about a minute on a quick machine.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>A folder for the serial log and the pictures; it is made if need be.</summary>
    public required string LogDirectory { get; init; }

    /// <summary>The size the OS disk is to appear with, in MiB, to see the root file system grow; null for the VHD's own.</summary>
    public int? DiskSizeMiB { get; init; }
}

/// <summary>A machine in the making, and then up.</summary>
/// <param name="Machine">The virtual machine.</param>
/// <param name="Network">Its network.</param>
/// <param name="Platform">What it told the platform, and the goal state.</param>
/// <param name="Ssh">A session of the first user, once it is logged in.</param>
/// <param name="SshPort">The port on 127.0.0.1 that leads to its sshd.</param>
/// <param name="Key">The key of the first user.</param>
internal record BootSession(
    VirtualMachine Machine, VirtualNetwork Network, SimulatedPlatform Platform, SshProbe Ssh, int SshPort, SshKeyPair Key);

/// <summary>
/// Boots an image against the simulated Azure: provisioning DVD, wire server, metadata, network; and judges by what the machine says
/// and by a login. The tests of this project derive from it: other machines, and more work on them.
/// </summary>
internal class BootTest(IQemuLauncher launcher, BootTestOptions options, IReporter reporter)
{
    private const string Activity = "Test-AzureVhd";
    private const int SerialLinesInError = 15;
    private static readonly TimeSpan s_lastWords = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_screenLimit = TimeSpan.FromSeconds(10);

    private readonly object _gate = new();
    private readonly List<(string Name, DateTimeOffset Time)> _reached = [];
    private string _waitedFor = "QEMU to start";

    /// <summary>The machine's and its first user's names; the key is a fresh one of each run.</summary>
    protected virtual OvfEnvironment Environment => new("archazure-test", "azureuser");

    protected virtual VirtualNetworkOptions Network => new();

    /// <summary>The image and its machine, as messages name them.</summary>
    protected string Name => $"{Path.GetFileName(options.VhdPath)} on generation {options.Generation}"
        + (options.DiskController == DiskController.NVMe ? " (NVMe)" : "");

    /// <summary>Boots the image and waits for the outcome.</summary>
    /// <returns>The report, also of a machine that failed.</returns>
    /// <exception cref="ArchAzureException">
    /// The test itself cannot run: no QEMU, no firmware, no such file, no room for the log.
    /// </exception>
    public async Task<BootReport> RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await BootAsync(cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SocketException or Win32Exception or SshException)
        {
            throw new ArchAzureException("BootTestFailed", ErrorKind.CommandFailed,
                $"The boot test of {options.VhdPath} on generation {options.Generation} broke off: {e.Message.TrimEnd('.')}. "
                + "It says nothing about the image. Repair the cause on this machine and test again; "
                + $"the logs so far are in {options.LogDirectory}.", options.VhdPath, e);
        }
    }

    /// <summary>The machine to start.</summary>
    protected virtual VirtualMachineOptions Prepare(VirtualMachineOptions machine) => machine;

    /// <summary>Adds services to the network that the platform does not have.</summary>
    protected virtual void Offer(VirtualNetwork network)
    {
    }

    /// <summary>The way to a machine that is up.</summary>
    /// <returns>The outcome, where nothing else has ended the test before.</returns>
    protected virtual async Task<Outcome> WorkAsync(BootSession session, CancellationToken cancellationToken)
    {
        Waiting("the guest's agent to report Ready");
        await session.Platform.WaitForAsync(platform => platform.HealthReports.Any(report => report.State == "Ready"), cancellationToken);
        Waiting("a login with the key");
        await session.Ssh.ConnectAsync(cancellationToken);
        Reach("Ssh");
        Waiting("what the guest shows to the user");
        return new Outcome(null, null, GuestFacts.Parse((await session.Ssh.ReadAsync(GuestFacts.Script, cancellationToken)).Output));
    }

    /// <summary>Puts a milestone on the timeline.</summary>
    protected void Reach(string name)
    {
        lock (_gate)
        {
            if (_reached.Exists(reached => reached.Name == name))
            {
                return;
            }

            _reached.Add((name, DateTimeOffset.UtcNow));
        }

        reporter.Verbose($"{Name}: {name}");
        reporter.Progress(new ProgressUpdate(Activity, $"{Name}: {name}, waiting for {_waitedFor}"));
    }

    /// <summary>Tells what the test waits for from now on.</summary>
    protected void Waiting(string what)
    {
        _waitedFor = what;
        reporter.Progress(new ProgressUpdate(Activity, $"{Name}: waiting for {what}"));
    }

    private async Task<BootReport> BootAsync(CancellationToken cancellationToken)
    {
        if (!File.Exists(options.VhdPath))
        {
            throw new ArchAzureException(
                "VhdNotFound", ErrorKind.NotFound, $"There is no file {options.VhdPath}. Name an image to boot.", options.VhdPath);
        }

        var tools = await launcher.FindToolsAsync(cancellationToken);
        NewFile.CreateFolder(options.LogDirectory);
        var log = $"gen{options.Generation}{(options.DiskController == DiskController.NVMe ? "-nvme" : "")}";
        string Log(string extension) => Path.Combine(options.LogDirectory, $"{log}.{extension}");

        var key = SshKeyPair.Create("archazure-boot-test");
        var environment = Environment with { SshPublicKeys = [key.PublicKey] };
        using var platform = new SimulatedPlatform(environment);
        await using var network = new VirtualNetwork(Network);
        platform.Attach(network);
        Offer(network);
        Listen(platform, network);
        var sshPort = network.ForwardFromLoopback(22);
        try
        {
            Reach("Start");
            var plain = new VirtualMachineOptions(options.VhdPath, options.Generation)
            {
                DiskController = options.DiskController,
                DiskSizeMiB = options.DiskSizeMiB,
                Dvd = UdfVolume.Create(environment, DateTimeOffset.UtcNow),
                VmId = platform.VmId,
                SerialLogPath = Log("serial.log"),
            };
            await using var machine = await VirtualMachine.StartAsync(Prepare(plain), network, launcher, reporter, cancellationToken);
            using var probe = SshProbe.WithKey(sshPort, environment.UserName, key);
            var outcome = await WatchAsync(new BootSession(machine, network, platform, probe, sshPort, key), cancellationToken);
            var screen = await SaveScreenAsync(machine, Log("screen.png"));
            var lines = machine.Console.LastLines(60);
            var timeline = Timeline(machine.Console.Stages);
            return new BootReport
            {
                VhdPath = options.VhdPath,
                Generation = options.Generation,
                DiskController = options.DiskController,
                Passed = outcome.Error is null,
                Error = outcome.Error is null ? null : Explain(outcome, tools, timeline, Log("serial.log"), screen, lines),
                ErrorId = outcome.ErrorId,
                UsedKvm = tools.KvmUsable,
                Timeline = timeline,
                HealthReports = platform.HealthReports,
                AgentStatuses = platform.AgentStatuses,
                Telemetry = platform.Telemetry,
                Requests = platform.Requests,
                ReportedHostKey = platform.HostKeyFingerprints is [.., var last] ? last : null,
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

    private void Listen(SimulatedPlatform platform, VirtualNetwork network)
    {
        network.AddressAssigned += () => Reach("Network");
        platform.HealthReported += report => Reach(report.State == "Ready" ? "Ready" : report.SubStatus ?? report.State);
        platform.RequestAnswered += request =>
        {
            if (request.Service == "WireServer")
            {
                Reach("Agent");
            }

            if (request.Violation is { } violation)
            {
                reporter.Warning($"{Name}: {request.Service} answered {request.Status} to {request.Method} {request.Target}: {violation}");
            }
        };
    }

    private async Task<Outcome> WatchAsync(BootSession session, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(options.Timeout);
        var work = WorkAsync(session, limit.Token);

        // From Ready on a NotReady is no verdict any more: an agent says so while it restarts.
        var failed = FailureAsync(session.Platform, limit.Token);
        var machine = session.Machine;
        var first = await Task.WhenAny(work, failed, machine.Console.Dead, machine.Exited);
        Outcome outcome;
        if (first == work)
        {
            try
            {
                outcome = await work;
            }
            catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
            {
                outcome = TimedOut(e);
            }
        }
        else if (first == failed && !failed.IsCanceled)
        {
            var report = await failed;
            outcome = new Outcome("GuestNotReady", $"{Name}: the agent reported {report.State} ({report.SubStatus}): {report.Description}");
        }
        else if (first == machine.Console.Dead)
        {
            // The reason is often in what comes right after the mark.
            await Task.WhenAny(Task.Delay(s_lastWords, cancellationToken), machine.Exited);
            outcome = new Outcome("GuestDied", $"{Name} goes nowhere any more: {await machine.Console.Dead}.");
        }
        else if (first == machine.Exited)
        {
            outcome = new Outcome(
                "QemuEnded", $"{Name} ended during the test; QEMU's exit code is {await machine.Exited}. {machine.ErrorOutput.Trim()}");
        }
        else
        {
            outcome = TimedOut(null);
        }

        await limit.CancelAsync();
        await Task.WhenAll(Settled(work), Settled(failed));
        cancellationToken.ThrowIfCancellationRequested();
        return outcome;
    }

    private static async Task<HealthReport> FailureAsync(SimulatedPlatform platform, CancellationToken cancellationToken)
    {
        HealthReport? failure = null;
        await platform.WaitForAsync(
            p => (failure = p.HealthReports.TakeWhile(r => r.State != "Ready")
                .FirstOrDefault(r => r.SubStatus == "ProvisioningFailed")) is not null,
            cancellationToken);
        return failure!;
    }

    private Outcome TimedOut(Exception? last) => new("GuestTimeout",
        string.Create(
            CultureInfo.InvariantCulture,
            $"{Name} did not get there within {options.Timeout.TotalSeconds:0} s; the test waited for {_waitedFor}.")
        + (last?.InnerException is { } inner ? $" The last attempt said: {inner.Message}" : ""));

    private static string Explain(
        Outcome outcome, QemuTools tools,
        IEnumerable<BootMilestone> timeline, string serialLog, string? screen, IReadOnlyList<string> lines)
    {
        var suspicion = outcome.ErrorId == "GuestDied" && tools.MayPanicSoundKernels
            && lines.Any(line => line.Contains("int3", StringComparison.Ordinal))
            ? $" QEMU {tools.Version} itself may have caused it, since it emulates the processor and is older than 8.1: test again, "
                + "with -Qemu Builder or a newer QEMU."
            : "";
        var reached = timeline.Select(m => string.Create(CultureInfo.InvariantCulture, $"{m.Name} after {m.Elapsed.TotalSeconds:0} s"));
        return $"{outcome.Error}{suspicion} Reached: {string.Join(", ", reached)}. Serial log: {serialLog}"
            + (screen is null ? "" : $"; picture of the screen: {screen}")
            + $". Its last lines:{string.Concat(lines.TakeLast(SerialLinesInError).Select(line => "\n  " + line))}";
    }

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

    private BootMilestone[] Timeline(IReadOnlyDictionary<BootStage, DateTimeOffset> stages)
    {
        lock (_gate)
        {
            var ordered = _reached.Concat(stages.Select(stage => (Name: stage.Key.ToString(), Time: stage.Value)))
                .OrderBy(reached => reached.Time).ToArray();
            return [.. ordered.Select(reached => new BootMilestone(reached.Name, reached.Time - ordered[0].Time))];
        }
    }

    private static Task Settled(Task task) =>
        task.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

    /// <summary>How a test ended: nothing but the guest's facts where all is well.</summary>
    protected sealed record Outcome(string? ErrorId, string? Error, GuestFacts? Guest = null);
}
