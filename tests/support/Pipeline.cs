using ArchAzure.Builds;
using ArchAzure.Settings;
using ArchAzure.StandIn;

namespace ArchAzure.TestSupport;

/// <summary>
/// What all tests work with: the stand-in mirror at the very address the shared image was built from (another address would
/// mean another builder image), and that image's build.
/// </summary>
public sealed class Pipeline : IAsyncLifetime, IDisposable
{
    /// <summary>The collection that every test class is in.</summary>
    public const string Name = "pipeline";

    private MirrorServer? _mirror;
    private readonly TempFolder _folder = new();
    private TestBuild? _small;

    /// <summary>The mirror; tests take back the faults they set.</summary>
    public MirrorServer Mirror => _mirror!;

    /// <summary>The work directory of the shared image; never written.</summary>
    internal WorkDirectory Image { get; } = new(TestSetup.ImageWorkDirectory);

    /// <summary>The shared image's build.</summary>
    public ArchBuild ImageBuild { get; private set; } = null!;

    /// <summary>The settings the shared image was built with.</summary>
    internal BuildSettings Settings { get; private set; } = null!;

    /// <inheritdoc/>
    public async Task InitializeAsync()
    {
        ImageBuild = BuildStore.Load(Image);
        Assert.True(
            ImageBuild.LastGoodStep == 5,
            $"The build in '{Image.Path}' is not complete ({ImageBuild.Status}); run build.sh --stand-in first.");
        Settings = BuildSettings.Load(Image.SettingsFile);
        _mirror = await MirrorServer.StartAsync(TestSetup.StandIn, Settings.ReleaseUrl.Port);
    }

    /// <summary>The system calls of the small build that flush and name files, as strace(1) lists them.</summary>
    public string SmallTrace => _folder["strace.log"];

    /// <summary>
    /// An undisturbed, reproducible build on a small disk, made once; never written. Whoever builds with its settings gets its VHD to
    /// the byte.
    /// </summary>
    internal async Task<TestBuild> SmallBuildAsync()
    {
        if (_small is null)
        {
            var build = TestBuild.Empty(this, [.. SmallSettings]);

            // -y: each file descriptor with its path.
            var result = await Pwsh.RunAsync(
                $"$null = Invoke-ArchBuild {Pwsh.Quote(build.Directory.Path)}",
                "strace", "-f", "-y", "--seccomp-bpf", "-o", SmallTrace, "-e", "trace=fsync,fdatasync,rename,renameat,renameat2", "-e",
                "signal=none", "--");
            Assert.True(result.ExitCode == 0, result.All);
            _small = build;
        }

        return _small;
    }

    /// <summary>What the small build is made of.</summary>
    internal static IReadOnlyList<string> SmallSettings { get; } =
    [
        "SNAPSHOT=2026.11.15", "REPRODUCIBLE=true", "SEED=undisturbed", $"DISK_SIZE={TestBuild.SmallDisk}",
    ];

    /// <inheritdoc/>
    public async Task DisposeAsync()
    {
        if (_small is not null)
        {
            await _small.DisposeAsync();
        }

        if (_mirror is not null)
        {
            await _mirror.DisposeAsync();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();
}
