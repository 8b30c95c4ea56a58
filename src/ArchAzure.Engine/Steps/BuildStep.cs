using ArchAzure.Builds;
using ArchAzure.Containers;

namespace ArchAzure.Steps;

/// <summary>
/// One of the five steps. It reads the build, does its work, and returns the build with its product; only its context writes build.json.
/// </summary>
internal abstract class BuildStep
{
    /// <summary>The steps in the order of <see cref="StepName.All"/>.</summary>
    public static IReadOnlyList<BuildStep> All { get; } =
    [
        .. new BuildStep[] { new BootstrapStep(), new DiskStep(), new BaseStep(), new AgentStep(), new VhdStep() }
            .OrderBy(step => step.Number),
    ];

    /// <summary>1 to 5.</summary>
    public int Number => StepName.Number(Name);

    /// <summary>The cmdlet's name.</summary>
    public abstract string Name { get; }

    /// <summary>What goes into it besides its settings: fingerprints of layers, versions of recipes.</summary>
    public virtual IEnumerable<string> OtherInputs(StepContext context) => [];

    /// <summary>The files that it writes in the target's builder.</summary>
    public virtual IReadOnlyList<BindMount> Outputs(StepContext context) => [];

    /// <summary>Whether what the step made last time is still there.</summary>
    public abstract Task<bool> ProductExistsAsync(StepContext context, CancellationToken cancellationToken);

    /// <summary>
    /// Whether a step that ran again with the same inputs made the very same, so that what later steps made of it still fits.
    /// </summary>
    public virtual bool MadeTheSame(ArchBuild before, ArchBuild after) => false;

    /// <summary>Does the step's work.</summary>
    public abstract Task<ArchBuild> RunAsync(StepContext context, CancellationToken cancellationToken);

    /// <summary>
    /// Makes what settings ask for in addition to the product, and what is not there yet: also where the step itself was skipped.
    /// </summary>
    public virtual Task<ArchBuild> CompleteAsync(StepContext context, ArchBuild build, CancellationToken cancellationToken) =>
        Task.FromResult(build);
}
