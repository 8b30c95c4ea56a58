using System.Text.Json.Serialization;

namespace ArchAzure.Builds;

/// <summary>
/// One image in the making: what was asked for and what each step produced. It is exactly what <c>WORKDIR/build.json</c> says.
/// </summary>
public sealed record ArchBuild
{
    /// <summary>The schema of build.json that this version writes. 2: the VHD's checksum and package list. 3: <see cref="Home"/>.</summary>
    public const int CurrentSchema = 3;

    /// <summary>The first schema there was.</summary>
    public const int OldestSchema = 1;

    /// <summary>The schema of build.json; an older one is carried over when it is read.</summary>
    public int Schema { get; init; } = CurrentSchema;

    /// <summary>The build's identity; containers carry it in the label <c>archazure.build</c>.</summary>
    public required Guid Id { get; init; }

    /// <summary>The folder it was last written in; null under a schema before 3. It tells a copy of a work directory from one that was moved.</summary>
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

/// <summary>Step 1: the Arch release and the images made of it.</summary>
/// <param name="Version">YYYY.MM.DD.</param>
/// <param name="FileName">The bootstrap archive's name.</param>
/// <param name="Sha256">Its SHA-256 in lower-case hex.</param>
/// <param name="SignedBy">The OpenPGP fingerprint that signed it.</param>
/// <param name="BootstrapImage">The Docker image of the archive.</param>
/// <param name="BuilderImage">The Docker image the other steps run in.</param>
public sealed record BootstrapProduct(string Version, string FileName, string Sha256, string SignedBy, string BootstrapImage, string BuilderImage);

/// <summary>Step 2: the raw disk and every identity on it.</summary>
/// <param name="SizeMiB">The disk's size in MiB.</param>
/// <param name="DiskGuid">The GPT's disk GUID.</param>
/// <param name="Partitions">The three partitions.</param>
/// <param name="RootFileSystem"><c>ext4</c> or <c>btrfs</c>.</param>
/// <param name="RootUuid">The root file system's UUID.</param>
/// <param name="HashSeed">The seed of ext4's directory hashes.</param>
/// <param name="EspVolumeId">The ESP's FAT volume id.</param>
public sealed record DiskProduct(
    long SizeMiB, Guid DiskGuid, IReadOnlyList<Disks.Partition> Partitions, string RootFileSystem, Guid RootUuid, Guid HashSeed, uint EspVolumeId)
{
    /// <summary>The ESP's volume id as <c>/dev/disk/by-uuid</c> shows it.</summary>
    [JsonIgnore]
    public string EspUuid => $"{EspVolumeId >> 16:X4}-{EspVolumeId & 0xFFFF:X4}";
}

/// <summary>Step 3: the target with Arch on it.</summary>
/// <param name="Kernel">The kernel's package.</param>
/// <param name="PackageCount">How many packages are installed.</param>
/// <param name="Layers">The layers laid, in order.</param>
public sealed record TargetProduct(string Kernel, int PackageCount, IReadOnlyList<string> Layers);

/// <summary>Step 4: the provisioning agent.</summary>
/// <param name="Name"><c>waagent</c> or <c>cloud-init</c>.</param>
/// <param name="Source">Where the Azure agent came from.</param>
/// <param name="Commit">Its commit, where the source has commits.</param>
/// <param name="AgentVersion">What it calls itself.</param>
public sealed record AgentProduct(string Name, string Source, string? Commit, string AgentVersion);

/// <summary>Step 5: the VHD.</summary>
/// <param name="Path">Its path; relative to the work directory if it lies within.</param>
/// <param name="SizeMiB">The disk's size in MiB, without the footer.</param>
/// <param name="UniqueId">The identity in its footer.</param>
/// <param name="Sha256">
/// The SHA-256 of the whole file in lower-case hex, as <c>SHA256SUMS</c> beside it has it; null if it was made under schema 1, without
/// checksums and package list.
/// </param>
public sealed record VhdProduct(string Path, long SizeMiB, Guid UniqueId, string? Sha256 = null);
