using System.Text.Json.Serialization;
using ArchAzure.Bootstrap;
using ArchAzure.Disks;
using ArchAzure.Target;
using ArchAzure.Vhd;

namespace ArchAzure.Builds;

/// <summary>
/// One image in the making: what was asked for and what each step produced. It is exactly what <c>WORKDIR/build.json</c> says.
/// </summary>
public sealed record ArchBuild
{
    /// <summary>
    /// The schema of build.json that this version writes. 2: the VHD's checksum and package list. 3: <see cref="Home"/>. 4: the VHD's
    /// fs-verity digest.
    /// </summary>
    public const int CurrentSchema = 4;

    /// <summary>The first schema there was.</summary>
    public const int OldestSchema = 1;

    /// <summary>The schema of build.json; an older one is carried over when it is read.</summary>
    public int Schema { get; init; } = CurrentSchema;

    /// <summary>The build's identity; containers carry it in the label <c>archazure.build</c>.</summary>
    public required Guid Id { get; init; }

    /// <summary>
    /// The folder it was last written in; null under a schema before 3. It tells a copy of a work directory from one that was moved.
    /// </summary>
    public string? Home { get; init; }

    /// <summary>The folder the build lives in. Not stored: a work directory may be moved.</summary>
    [JsonIgnore]
    public string WorkDirectory { get; init; } = "";

    /// <summary>Settings given as parameters to steps that ended well; they win over settings.env until given again.</summary>
    public SortedDictionary<string, string> Requested { get; init; } = new(StringComparer.Ordinal);

    /// <summary>What each step that has run recorded, in order.</summary>
    public IReadOnlyList<StepRecord> Steps { get; init; } = [];

    /// <summary>Step 1's product.</summary>
    public BootstrapProduct? Bootstrap { get; init; }

    /// <summary>Step 2's product.</summary>
    public DiskProduct? Disk { get; init; }

    /// <summary>Step 3's product.</summary>
    public TargetProduct? Base { get; init; }

    /// <summary>Step 4's product.</summary>
    public AgentProduct? Agent { get; init; }

    /// <summary>Step 5's product.</summary>
    public VhdProduct? Vhd { get; init; }

    /// <summary>The Arch release's version (YYYY.MM.DD), or null before step 1.</summary>
    [JsonIgnore]
    public string? Version => Bootstrap?.Version;

    /// <summary>The last step of the unbroken run of good ones from the first on; 0 if there is none.</summary>
    [JsonIgnore]
    public int LastGoodStep
    {
        get
        {
            var last = 0;
            while (StepState(last + 1) == Builds.StepState.Done)
            {
                last++;
            }

            return last;
        }
    }

    /// <summary>How far the build is, in words.</summary>
    [JsonIgnore]
    public string Status => LastGoodStep == StepName.All.Count
        ? "done"
        : $"next: {LastGoodStep + 1} {StepName.All[LastGoodStep]}";

    /// <summary>The full path of the VHD, once made.</summary>
    [JsonIgnore]
    public string? VhdPath => Vhd is null ? null : Path.GetFullPath(Vhd.Path, WorkDirectory);

    /// <summary>The build with all steps after one marked stale.</summary>
    public ArchBuild WithStaleAfter(int number) =>
        this with { Steps = [.. Steps.Select(step => step.Number > number ? step with { State = Builds.StepState.Stale } : step)] };

    /// <summary>A step's state, or null if it never ended well.</summary>
    public StepState? StepState(int number) => Steps.FirstOrDefault(step => step.Number == number)?.State;
}

/// <summary>The state of a step that has run.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<StepState>))]
public enum StepState
{
    /// <summary>It ended well and nothing before it has changed since.</summary>
    Done,

    /// <summary>An earlier step has run again: what this one made no longer fits.</summary>
    Stale,
}

/// <summary>What a step recorded at its good end.</summary>
/// <param name="Number">1 to 5.</param>
/// <param name="Name">The cmdlet's name.</param>
/// <param name="State">Whether it still stands.</param>
/// <param name="Inputs">A hash over everything that goes into the step (settings, layers, versions).</param>
/// <param name="Finished">When it ended (UTC).</param>
/// <param name="Seconds">How long it took.</param>
public sealed record StepRecord(int Number, string Name, StepState State, string Inputs, DateTimeOffset Finished, double Seconds);
