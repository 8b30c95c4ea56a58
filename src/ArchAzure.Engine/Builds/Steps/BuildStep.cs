namespace ArchAzure.Builds.Steps;

/// <summary>One of the five steps. It reads the build, does its work, and returns the build with its product; it never writes build.json.</summary>
public abstract class BuildStep
{
    /// <summary>All steps in order.</summary>
    public static IReadOnlyList<BuildStep> All { get; } = [new BootstrapStep(), new DiskStep(), new BaseStep(), new AgentStep(), new VhdStep()];

    /// <summary>1 to 5.</summary>
    public int Number => StepName.Number(Name);

    /// <summary>The cmdlet's name.</summary>
    public abstract string Name { get; }

    /// <summary>The settings that go into this step.</summary>
    public abstract IReadOnlyList<string> SettingKeys { get; }

    /// <summary>What else goes into it: fingerprints of layers, versions of recipes.</summary>
    public virtual IEnumerable<string> OtherInputs(StepContext context) => [];

    /// <summary>Whether what the step made last time is still there.</summary>
    public abstract Task<bool> ProductExistsAsync(StepContext context, CancellationToken cancellationToken);

    /// <summary>Whether a step that ran again with the same inputs made the very same, so that what later steps made of it still fits.</summary>
    public virtual bool MadeTheSame(ArchBuild before, ArchBuild after) => false;

    /// <summary>Does the step's work.</summary>
    public abstract Task<ArchBuild> RunAsync(StepContext context, CancellationToken cancellationToken);
}
