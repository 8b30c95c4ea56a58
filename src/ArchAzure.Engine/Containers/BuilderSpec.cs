using ArchAzure.Settings;

namespace ArchAzure.Containers;

/// <summary>A file or folder of the host that the builder sees.</summary>
/// <param name="HostPath">Its full path on the host.</param>
/// <param name="BuilderPath">Its path in the builder.</param>
/// <param name="ReadOnly">Whether the builder may only read it.</param>
internal sealed record BindMount(string HostPath, string BuilderPath, bool ReadOnly = false)
{
    /// <summary>The setting that says where it lies; null if that is in the work directory.</summary>
    public string? Setting { get; init; }
}

/// <summary>What a step needs of its builder; it gets nothing else.</summary>
internal sealed record BuilderSpec
{
    /// <summary>The image to run.</summary>
    public required string Image { get; init; }

    /// <summary>The build it works for; the container carries it as a label.</summary>
    public required Guid BuildId { get; init; }

    /// <summary>What it does, as part of the container's name, e.g. <c>base</c>.</summary>
    public required string Purpose { get; init; }

    /// <summary>The files and folders it may see.</summary>
    public IReadOnlyList<BindMount> Mounts { get; init; } = [];

    /// <summary>The Docker network: <c>none</c>, <c>bridge</c> or <c>host</c>.</summary>
    public string Network { get; init; } = "none";

    /// <summary>The Docker network from which an address can be reached: one on this machine's loopback only from its own.</summary>
    public static string NetworkFor(string address) => SettingRules.IsLoopbackAddress(address) ? "host" : "bridge";

    /// <summary>No further environment.</summary>
    public static IReadOnlyDictionary<string, string> NoEnvironment { get; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>What all its commands find in their environment, beside PATH and LANG.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = NoEnvironment;

    /// <summary>Whether it holds a target: an empty one is then at <see cref="TargetChroot.Tree"/>.</summary>
    public bool HasTarget { get; init; }

    /// <summary>The most bytes of memory to keep the target in, where the engine has plenty; 0 for none.</summary>
    public long Memory { get; init; }

    /// <summary>Whether its commands are run by a <see cref="CommandServer"/>.</summary>
    public bool HasServer { get; init; }
}
