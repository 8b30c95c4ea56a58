using System.Text;
using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.IO;
using ArchAzure.SimulatedAzure;
using Docker.DotNet;

namespace ArchAzure.Machines;

/// <summary>Runs the QEMU of an image made from a build's builder image, in a container for each machine.</summary>
internal sealed class ContainerQemuLauncher : IQemuLauncher
{
    private static readonly IReadOnlyDictionary<string, string> s_noEnvironment = new Dictionary<string, string>(StringComparer.Ordinal);

    private readonly DockerEngine _docker;
    private readonly Guid _buildId;
    private readonly string _image;
    private QemuTools? _tools;

    private ContainerQemuLauncher(DockerEngine docker, Guid buildId, string image)
    {
        _docker = docker;
        _buildId = buildId;
        _image = image;
    }

    /// <summary>Creates a launcher; its image is made where it is missing.</summary>
    /// <exception cref="ArchAzureException">
    /// No Docker engine, no builder image, no mirror; or the engine's containers cannot share unix sockets with this process.
    /// </exception>
    public static async Task<ContainerQemuLauncher> CreateAsync(ArchBuild build, IReporter reporter, CancellationToken cancellationToken)
    {
        if (build.Bootstrap is null)
        {
            throw new ArchAzureException("StepMissing", ErrorKind.NotFound,
                $"The build in '{build.WorkDirectory}' has no builder image to make QEMU from. Run New-ArchBootstrap -WorkDirectory "
                + $"'{build.WorkDirectory}' first.",
                build.WorkDirectory);
        }

        var docker = await DockerEngine.ConnectAsync(reporter, cancellationToken);
        try
        {
            if (!docker.SharesKernel)
            {
                throw new ArchAzureException("QemuContainerNotPossible", ErrorKind.ResourceUnavailable,
                    $"QEMU in a container talks with this process over unix sockets, and those do not reach the containers of "
                    + $"{docker.Info.OperatingSystem} at {docker.Endpoint}, which run in another (virtual) machine. "
                    + "Install QEMU on this machine and use -Qemu Host, or run the test on Linux with an engine of its own.",
                    docker.Endpoint);
            }

            var image = await QemuDockerImage.EnsureAsync(docker, build, reporter, cancellationToken);
            return new ContainerQemuLauncher(docker, build.Id, image);
        }
        catch
        {
            docker.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public async Task<QemuTools> FindToolsAsync(CancellationToken cancellationToken)
    {
        if (_tools is null)
        {
            var labels = await _docker.ImageLabelsAsync(_image, cancellationToken);
            var code = labels is not null && labels.TryGetValue(QemuDockerImage.FirmwareLabel, out var path) ? path : "";
            var kvm = QemuTools.IsKvmUsable() && (!_docker.IsRootless || MachineSpec.IsKvmForAll());
            _tools = new QemuTools(
                QemuDockerImage.Emulator, QemuDockerImage.ImageTool, kvm,
                UefiFirmware.KnownPlaces.FirstOrDefault(firmware => firmware.Code == code));
        }

        return _tools;
    }

    /// <inheritdoc/>
    public async Task<IQemuHost> PrepareAsync(string vhdPath, CancellationToken cancellationToken)
    {
        // One that was killed between a container's making and its start leaves it.
        await _docker.RemoveEndedMachinesAsync(_buildId, cancellationToken);
        var tools = await FindToolsAsync(cancellationToken);
        var folder = QemuRunDirectory.Create();
        var spec = new MachineSpec
        {
            Image = _image,
            BuildId = _buildId,
            Vhd = vhdPath,
            RunDirectory = folder.Directory.FullName,
            Owner = _docker.IsRootless ? (0, 0) : Posix.EffectiveOwner!.Value,
            Groups = _docker.IsRootless ? [] : Posix.Groups,
            Kvm = tools.KvmUsable,
        };
        var name = $"archazure-machine-{_buildId.ToString("N")[..8]}-{Guid.NewGuid().ToString("N")[..8]}";
        try
        {
            return new Surroundings(
                await LifelineContainer.StartAsync(_docker, name, spec.Parameters(), cancellationToken), folder, vhdPath);
        }
        catch (Exception e)
        {
            folder.Dispose();
            throw e is DockerApiException ? StartFailed(spec, e) : e;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _docker.Dispose();

    private static ArchAzureException StartFailed(MachineSpec spec, Exception e) =>
        new(
            "QemuContainerNotStarted",
            ErrorKind.ConnectionError,
            $"The Docker engine could not start a container of '{spec.Image}' for the virtual machine: {e.Message} "
            + $"It must see '{spec.Vhd}' and '{spec.RunDirectory}' (TMPDIR names another place for the latter). See 'docker info' and the "
            + $"engine's log, or use a QEMU of the host: -Qemu Host.",
            spec.Image,
            e);

    /// <summary>A machine's container; its programs are started beside the process that holds it.</summary>
    private sealed class Surroundings(LifelineContainer container, TemporaryFolder folder, string vhdPath) : IQemuHost
    {
        public DirectoryInfo RunDirectory => folder.Directory;

        public string MapPath(string path) =>
            path == vhdPath ? MachineSpec.VhdPath : $"{MachineSpec.RunPath}/{Path.GetRelativePath(folder.Directory.FullName, path)}";

        public async Task<(int ExitCode, string Output)> RunAsync(
            string program, IReadOnlyList<string> arguments, CancellationToken cancellationToken)
        {
            var output = new QemuOutput();
            try
            {
                var status = await container.ExecAsync(
                    [program, .. arguments], program, s_noEnvironment, null, (bytes, _) => output.Add(Encoding.UTF8.GetString(bytes.Span)),
                    cancellationToken);
                return ((int)(status ?? -1), output.ToString());
            }
            catch (Exception e) when (LifelineContainer.IsEngineFailure(e))
            {
                throw new ArchAzureException(
                    "QemuFailed", ErrorKind.ConnectionError,
                    $"{program} could not be run in the container {container.Name}: {e.Message} Was it removed, or the Docker engine "
                    + $"stopped?",
                    container.Name, e);
            }
        }

        public IQemuProcess Start(string program, IReadOnlyList<string> arguments) =>
            new ContainerProcess(container, [program, .. arguments]);

        public async ValueTask DisposeAsync()
        {
            await container.RemoveAsync();
            folder.Dispose();
        }
    }

    private sealed class ContainerProcess : IQemuProcess
    {
        /// <summary>What a process ended by SIGKILL reports: 128 and the signal's number.</summary>
        private const int KilledStatus = 137;

        private readonly LifelineContainer _container;
        private readonly QemuOutput _errors = new();

        public ContainerProcess(LifelineContainer container, IReadOnlyList<string> command)
        {
            _container = container;
            Exited = RunAsync(command);
        }

        public Task<int> Exited { get; }

        public string ErrorOutput => _errors.ToString();

        public void Kill() => _container.Cut();

        public async ValueTask DisposeAsync()
        {
            Kill();
            await Exited;
        }

        private async Task<int> RunAsync(IReadOnlyList<string> command)
        {
            try
            {
                var status = await _container.ExecAsync(
                    command, command[0], s_noEnvironment, null, (bytes, _) => _errors.Add(Encoding.UTF8.GetString(bytes.Span)),
                    CancellationToken.None);
                return (int)(status ?? KilledStatus);
            }
            catch (Exception e) when (LifelineContainer.IsEngineFailure(e) || e is ArchAzureException)
            {
                // Its container is gone, by us or by someone else; or the engine stalls, and nobody knows.
                _errors.Add(e.Message);
                return KilledStatus;
            }
        }
    }
}
