namespace ArchAzure.BuildTests.Faults;

/// <summary>Where in a step a fault strikes.</summary>
internal enum FaultStage
{
    /// <summary>Before the container's first command.</summary>
    Before,

    /// <summary>While a command runs in the container.</summary>
    During,

    /// <summary>After the last command, before the rename of build.json.</summary>
    Between,

    /// <summary>At the rename of build.json: not done yet.</summary>
    Rename,

    /// <summary>The rename is done, and nothing after it.</summary>
    Renamed,
}

/// <summary>A signal at a stage of a step. Its name is all there is to it: the same name is the same case.</summary>
internal sealed record FaultCase(int Step, FaultStage Stage, string Signal, int Seed)
{
    /// <summary>For <c>--filter 'DisplayName~step3-during-KILL'</c>.</summary>
    public string Name => $"step{Step}-{Stage.ToString().ToLowerInvariant()}-{Signal}-seed{Seed}";

    public bool Kills => Signal == "KILL";

    public static FaultCase Parse(string name)
    {
        var parts = name.Split('-');
        return new FaultCase(
            parts[0][^1] - '0',
            Enum.Parse<FaultStage>(parts[1], ignoreCase: true),
            parts[2],
            int.Parse(parts[3]["seed".Length..], System.Globalization.CultureInfo.InvariantCulture));
    }
}
