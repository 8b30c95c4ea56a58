using ArchAzure.Bootstrap;
using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.Machines;
using ArchAzure.SimulatedAzure;
using Docker.DotNet.Models;
using Xunit;

namespace ArchAzure.UnitTests.Machines;

/// <summary>Which QEMU is taken, and what the container of a machine is given.</summary>
public sealed class QemuInContainerTests : IDisposable
{
    private const string BuilderImage = "archazure/builder:2026.11.01-0123456789ab";

    private readonly TempFolder _folder = new();
    private readonly FakeLauncher _builder = new(null);
    private readonly RecordingReporter _reporter = new();
    private int _made;

    public void Dispose()
    {
        _builder.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(QemuSource.Auto)]
    [InlineData(QemuSource.Host)]
    public async Task TheHostsIsTakenWhereThereIsOne(QemuSource source)
    {
        SaveBuild();
        using var host = new FakeLauncher(null);
        Assert.Same(host, await FindAsync(source, host));
        Assert.Equal(0, _made);
    }

    [Theory]
    [InlineData("QemuNotFound")]
    [InlineData("QemuTooOld")]
    public async Task ElseTheBuilders(string errorId)
    {
        SaveBuild();
        using var host = new FakeLauncher(errorId);
        Assert.Same(_builder, await FindAsync(QemuSource.Auto, host));
        Assert.Equal(errorId, (await Assert.ThrowsAsync<ArchAzureException>(() => FindAsync(QemuSource.Host, host))).ErrorId);
    }

    [Fact]
    public async Task ElseTheBuildersIfItCanBeMadeWhereTheHostsLetsSoundKernelsPanic()
    {
        using var host = new FakeLauncher(null) { Tools = new QemuTools("/qemu", "/img", false, null) { Version = new(7, 2, 22) } };
        Assert.Same(host, await FindAsync(QemuSource.Auto, host));
        Assert.Contains("7.2.22", Assert.Single(_reporter.Warnings), StringComparison.Ordinal);
        SaveBuild();
        Assert.Same(_builder, await FindAsync(QemuSource.Auto, host));
        Assert.Same(host, await FindAsync(QemuSource.Host, host));
        Assert.Single(_reporter.Warnings);
    }

    [Theory]
    [InlineData("7.2.22", false, true)]
    [InlineData("7.2.22", true, false)]
    [InlineData("8.1.0", false, false)]
    [InlineData("11.1.2", false, false)]
    public void EmulatorsBefore81LetSoundKernelsPanic(string version, bool kvm, bool may) =>
        Assert.Equal(may, new QemuTools("/qemu", "/img", kvm, null) { Version = System.Version.Parse(version) }.MayPanicSoundKernels);

    [Fact]
    public async Task TheBuildersIsTakenWhereItIsAskedFor()
    {
        SaveBuild();
        using var host = new FakeLauncher(null);
        Assert.Same(_builder, await FindAsync(QemuSource.Builder, host));
    }

    [Fact]
    public async Task WithoutEitherTheErrorTellsOfBoth()
    {
        using var host = new FakeLauncher("QemuNotFound");
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => FindAsync(QemuSource.Auto, host));
        Assert.Equal("QemuNotFound", error.ErrorId);
        Assert.Equal(ErrorKind.NotFound, error.Kind);
        Assert.Contains("the host's QEMU", error.Message, StringComparison.Ordinal);
        Assert.Contains(_folder.Path, error.Message, StringComparison.Ordinal);
        Assert.Contains("-WorkDirectory", error.Message, StringComparison.Ordinal);

        Assert.Equal("BuildNotFound", (await Assert.ThrowsAsync<ArchAzureException>(() => FindAsync(QemuSource.Builder, host))).ErrorId);
    }

    [Fact]
    public async Task ABuildWithoutABuilderSaysWhichStepIsMissing()
    {
        SaveBuild();
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => ContainerQemuLauncher.CreateAsync(BuildStore.Load(new WorkDirectory(_folder.Path)), _reporter, CancellationToken.None));
        Assert.Equal("StepMissing", error.ErrorId);
        Assert.Contains("New-ArchBootstrap", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TheImageIsNamedAfterTheBuildersAndTheRecipe()
    {
        var image = QemuRecipe.Image(BuilderImage);
        Assert.Matches("^archazure/qemu:2026\\.11\\.01-0123456789ab-[0-9a-f]{8}$", image);
        Assert.StartsWith($"{QemuRecipe.Repository}:{QemuRecipe.TagStart(BuilderImage)}", image, StringComparison.Ordinal);
        Assert.NotEqual(image, QemuRecipe.Image("archazure/builder:2026.11.01-0123456789ac"));
    }

    [Fact]
    public void TheContainerGetsNothingBeyondItsWork()
    {
        var build = Guid.NewGuid();
        var spec = new MachineSpec
        {
            Image = "archazure/qemu:x",
            BuildId = build,
            Vhd = "/w/a.vhd",
            RunDirectory = "/tmp/run",
            Owner = (1000, 1001),
            Groups = [27, 108],
        };
        var parameters = spec.Parameters();

        Assert.Equal("1000:1001", parameters.User);
        Assert.Equal(build.ToString(), parameters.Labels![DockerEngine.BuildLabel]);
        Assert.Equal(build.ToString(), parameters.Labels![DockerEngine.MachineLabel]);
        var host = parameters.HostConfig!;
        Assert.Equal(["ALL"], host.CapDrop);
        Assert.Null(host.CapAdd);
        Assert.False(host.Privileged);
        Assert.Equal(["no-new-privileges"], host.SecurityOpt);
        Assert.Equal("none", host.NetworkMode);
        Assert.True(host.ReadonlyRootfs);
        Assert.Equal(["27", "108"], host.GroupAdd);
        Assert.Equal(["/tmp"], host.Tmpfs!.Keys);
        Assert.Empty(host.Devices!);
        Assert.Collection(
            host.Mounts!,
            vhd => Assert.Equal(("/w/a.vhd", MachineSpec.VhdPath, true), (vhd.Source, vhd.Target, vhd.ReadOnly)),
            run => Assert.Equal(("/tmp/run", MachineSpec.RunPath, false), (run.Source, run.Target, run.ReadOnly)));

        Assert.Equal("/dev/kvm", Assert.Single((spec with { Kvm = true }).Parameters().HostConfig!.Devices!).PathOnHost);
    }

    [Theory]
    [InlineData(false, "running", 0, true)]
    [InlineData(true, "running", 600, false)]
    [InlineData(true, "removing", 600, false)]
    [InlineData(true, "created", 10, false)]
    [InlineData(true, "created", 600, true)]
    [InlineData(true, "exited", 600, true)]
    public void AMachineThatRunsIsNoLeftover(bool machine, string state, int ageSeconds, bool leftover)
    {
        var now = new DateTime(2026, 11, 1, 12, 0, 0, DateTimeKind.Utc);
        var labels = new Dictionary<string, string>(StringComparer.Ordinal) { [DockerEngine.BuildLabel] = "x" };
        if (machine)
        {
            labels[DockerEngine.MachineLabel] = "x";
        }

        Assert.Equal(
            leftover,
            DockerEngine.IsLeftover(
                new ContainerListResponse { Labels = labels, State = state, Created = now.AddSeconds(-ageSeconds) }, now));
    }

    [Fact]
    public void AFirmwareIsOneWithBothFiles()
    {
        Assert.Null(QemuDockerImage.FirmwareIn(["/usr/share/edk2/x64/OVMF_CODE.4m.fd", "ls: cannot access 'x'", ""]));
        Assert.Equal(
            "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
            QemuDockerImage.FirmwareIn(["/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd", ""])!.Code);
    }

    private void SaveBuild() => BuildStore.Save(new WorkDirectory(_folder.Path), new ArchBuild { Id = Guid.NewGuid() });

    private Task<IQemuLauncher> FindAsync(QemuSource source, IQemuLauncher host) => QemuChoice.FindAsync(
        source,
        host,
        new WorkDirectory(_folder.Path),
        (build, _, _) =>
        {
            Assert.Equal(_folder.Path, build.WorkDirectory);
            _made++;
            return Task.FromResult<IQemuLauncher>(_builder);
        },
        _reporter,
        CancellationToken.None);

    private sealed class FakeLauncher(string? errorId) : IQemuLauncher
    {
        public QemuTools Tools { get; init; } = new("/qemu", "/img", false, null);

        public Task<QemuTools> FindToolsAsync(CancellationToken cancellationToken) => errorId is null
            ? Task.FromResult(Tools)
            : throw new ArchAzureException(errorId, ErrorKind.NotFound, "It is the host's QEMU that is wrong.");

        public Task<IQemuHost> PrepareAsync(string vhdPath, CancellationToken cancellationToken) => throw new NotSupportedException();

        public void Dispose()
        {
        }
    }
}
