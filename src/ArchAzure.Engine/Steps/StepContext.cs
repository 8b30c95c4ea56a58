using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.Settings;
using ArchAzure.Target;

namespace ArchAzure.Steps;

/// <summary>What a step works with.</summary>
internal sealed class StepContext
{
    public required BuildSession Session { get; init; }

    /// <summary>The build as the step found it.</summary>
    public required ArchBuild Build { get; init; }

    /// <summary>The settings in force.</summary>
    public required BuildSettings Settings { get; init; }

    /// <summary>What this call asked for beyond the settings.</summary>
    public required StepRequest Request { get; init; }

    public required StepLog Log { get; init; }

    /// <summary>The module's folder of layers.</summary>
    public required string LayerFolder { get; init; }

    /// <summary>The step's number.</summary>
    public required int Step { get; init; }

    /// <summary>The target, which stays in its builder while this run's steps work on it.</summary>
    public required TargetSession Target { get; init; }

    /// <summary>This step and the later ones of this run.</summary>
    public required IReadOnlyList<BuildStep> Steps { get; init; }

    /// <summary>Whether later steps follow in the same pipeline: the builder gets their files already.</summary>
    public required bool MoreFollows { get; init; }

    public WorkDirectory Directory => Session.Directory;

    public DockerEngine Docker => Session.Docker;

    public IReporter Reporter => Session.Reporter;

    public string BuilderImage => Build.Bootstrap!.BuilderImage;

    /// <summary>The packages that are downloaded already.</summary>
    public PackageCache PackageCache => new(Directory.PackageCache, Settings.SharedPackageCache);

    /// <summary>The Docker network from which the mirror can be reached.</summary>
    public string MirrorNetwork => BuilderSpec.NetworkFor(Settings.PackageMirror);

    /// <summary>What makes the build the same each time; null if it need not be.</summary>
    public Reproducibility? Reproducibility => Reproducibility.Of(Settings);

    /// <summary>What layers' scripts find in their environment, and what their templates name.</summary>
    public Dictionary<string, string> ScriptEnvironment => new(Settings.ScriptValues(Step), StringComparer.Ordinal)
    {
        ["ARCHAZURE_IMAGE_VERSION"] = Build.Version!,
        ["ARCHAZURE_ROOT_FILE_SYSTEM"] = Build.Disk!.RootFileSystem,
        ["ARCHAZURE_ROOT_UUID"] = Build.Disk!.RootUuid.ToString(),
        ["ARCHAZURE_ESP_UUID"] = Build.Disk!.EspUuid,

        // fstab(5): btrfs checks itself.
        ["ARCHAZURE_ROOT_FSCK_PASS"] = Build.Disk!.RootFileSystem == "btrfs" ? "0" : "1",
    };

    /// <summary>What work on the target as the step before left it needs.</summary>
    /// <param name="network">The Docker network.</param>
    /// <param name="mounts">What the builder sees besides snapshots and outputs.</param>
    public TargetWork TargetWork(string network, params BindMount[] mounts) => new()
    {
        Spec = new BuilderSpec
        {
            Image = BuilderImage,
            BuildId = Build.Id,
            Purpose = "target",
            Network = network,
            Environment = Reproducibility?.Environment ?? BuilderSpec.NoEnvironment,
            Mounts = mounts,
        },
        Log = Log,
        OnUnpack = () => Say("unpacking the target"),
        From = Directory.Snapshots(Step - 1),
        Outputs =
        [
            .. Steps.SelectMany(step => step.Outputs(this)),
            .. MoreFollows
                ? BuildStep.All.Skip(Steps[^1].Number)
                    .SelectMany(step => step.Outputs(this))
                    .Where(output => Directory.Holds(output.HostPath))
                : [],
        ],
    };

    /// <summary>One of the module's layers.</summary>
    public Layer Layer(string name) => ArchAzure.Target.Layer.Load(Path.Combine(LayerFolder, name));

    /// <summary>Shows what the step does now.</summary>
    public void Say(string status, int? percent = null, bool minor = false) =>
        Reporter.Progress(new(StepName.All[Step - 1], status, percent, Minor: minor));

    /// <summary>
    /// Writes down in build.json, before its end, what the step is about to make; it and those after it count as not done. A run that is
    /// killed would else find a file that it must take for somebody's.
    /// </summary>
    public void Announce(ArchBuild build) => Session.Save(build.WithStaleAfter(Step - 1));
}
