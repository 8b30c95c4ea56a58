using System.Globalization;
using ArchAzure.Containers;
using ArchAzure.Settings;
using ArchAzure.Target;

namespace ArchAzure.Builds.Steps;

/// <summary>What a step works with.</summary>
public sealed class StepContext
{
    /// <summary>The work directory.</summary>
    public required WorkDirectory Directory { get; init; }

    /// <summary>The build as the step found it.</summary>
    public required ArchBuild Build { get; init; }

    /// <summary>The settings in force.</summary>
    public required BuildSettings Settings { get; init; }

    /// <summary>What this call asked for beyond the settings.</summary>
    public required StepRequest Request { get; init; }

    /// <summary>The Docker engine.</summary>
    public required DockerEngine Docker { get; init; }

    /// <summary>Where progress goes.</summary>
    public required IReporter Reporter { get; init; }

    /// <summary>The step's log.</summary>
    public required StepLog Log { get; init; }

    /// <summary>The module's folder of layers.</summary>
    public required string LayerFolder { get; init; }

    /// <summary>The builder's image.</summary>
    public string BuilderImage => Build.Bootstrap!.BuilderImage;

    /// <summary>The Docker network from which the mirror can be reached: a mirror on this machine's loopback only from its own.</summary>
    public string MirrorNetwork => NetworkFor(Settings.PackageMirror);

    /// <summary>The Docker network from which an address can be reached.</summary>
    public static string NetworkFor(string address) =>
        Uri.TryCreate(address.Replace("$", "", StringComparison.Ordinal), UriKind.Absolute, out var uri) && uri.IsLoopback ? "host" : "bridge";

    /// <summary>What makes the build the same each time; null if it need not be.</summary>
    public Reproducibility? Reproducibility => Reproducibility.Of(Settings);

    /// <summary>What goes into a step that takes packages, beside MIRROR; nothing without a snapshot, so that builds made before there was one stay good.</summary>
    public IEnumerable<string> SnapshotInputs => Settings.Snapshot is null ? [] : [Settings.PackageMirror];

    /// <summary>What goes into a step that makes identities or times, the same way.</summary>
    public IEnumerable<string> ReproducibilityInputs => Reproducibility is { } same ? [same.EpochSeconds, same.Seed] : [];

    /// <summary>One of the module's layers.</summary>
    public Layer Layer(string name) => Target.Layer.Load(Path.Combine(LayerFolder, name));

    /// <summary>Shows what the step does now.</summary>
    public void Say(string status, int? percent = null, bool minor = false) => Reporter.Progress(new(StepName.All[Step - 1], status, percent, Minor: minor));

    /// <summary>The step's number.</summary>
    public required int Step { get; init; }

    /// <summary>What layers' scripts find in their environment, and what their templates name.</summary>
    public IReadOnlyDictionary<string, string> ScriptEnvironment => new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["ARCHAZURE_LOCALE"] = Settings.Locale,
        ["ARCHAZURE_TIMEZONE"] = Settings.TimeZone,
        ["ARCHAZURE_KEYMAP"] = Settings.Keymap,
        ["ARCHAZURE_KERNEL"] = Settings.Kernel,
        ["ARCHAZURE_ROOT_FILE_SYSTEM"] = Build.Disk!.RootFileSystem,
        ["ARCHAZURE_ROOT_UUID"] = Build.Disk!.RootUuid.ToString(),
        ["ARCHAZURE_ESP_UUID"] = Build.Disk!.EspUuid,

        // fstab(5): btrfs checks itself.
        ["ARCHAZURE_ROOT_FSCK_PASS"] = Build.Disk!.RootFileSystem == "btrfs" ? "0" : "1",
        ["ARCHAZURE_RESOURCE_DISK_SWAP"] = Settings.ResourceDiskSwapMiB.ToString(CultureInfo.InvariantCulture),

        // A mirror on the build machine's loopback is of no use in the image.
        ["ARCHAZURE_MIRROR"] = NetworkFor(Settings.Mirror) == "host" ? BuildSettings.Default.Mirror : Settings.Mirror,
    };
}

/// <summary>What one call of a step asks for.</summary>
public sealed record StepRequest
{
    /// <summary>Settings given as parameters: key and value. The build remembers them once the step has ended well; an empty value makes it forget.</summary>
    public IReadOnlyDictionary<string, string> Parameters { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Run although nothing has changed, and replace what is there.</summary>
    public bool Force { get; init; }

    /// <summary>A settings file to take over into the work directory (step 1).</summary>
    public string? SettingsPath { get; init; }

    /// <summary>Where the VHD goes (step 5); null for the work directory.</summary>
    public string? Destination { get; init; }
}
