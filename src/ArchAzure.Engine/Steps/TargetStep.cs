using ArchAzure.Bootstrap;
using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.IO;
using ArchAzure.Target;

namespace ArchAzure.Steps;

/// <summary>What steps 3 and 4 share: a builder with the target in it, that ends in a snapshot, complete or absent.</summary>
internal abstract class TargetStep : BuildStep
{
    public override Task<bool> ProductExistsAsync(StepContext context, CancellationToken cancellationToken) =>
        Task.FromResult(context.Directory.Snapshots(Number).All(File.Exists));

    public override IReadOnlyList<BindMount> Outputs(StepContext context) =>
        [TargetSession.Output(context.Directory.Snapshot(Number))];

    /// <summary>Runs the step's work on the target and takes the snapshot.</summary>
    /// <param name="context">The step's context.</param>
    /// <param name="network">The Docker network it needs.</param>
    /// <param name="work">The work.</param>
    /// <param name="cancellationToken">Ends the builder; the snapshot before stays.</param>
    protected async Task<ArchBuild> RunInTargetAsync(
        StepContext context, string network, Func<Builder, TargetTree, Task<ArchBuild>> work,
        CancellationToken cancellationToken)
    {
        var (cache, build) = (context.PackageCache, context.Build);
        return await context.Target.RunAsync(
            context.TargetWork(network, [.. cache.Open()]) with
            {
                To = context.Directory.Snapshot(Number),
            },
            async (builder, target) =>
            {
                await builder.WriteFileAsync(
                    BuilderRecipe.MirrorListPath, BuilderRecipe.MirrorList(context.Settings.PackageMirror), cancellationToken);
                await cache.UseAsync(builder, async () => build = await work(builder, target), cancellationToken);
                context.Say("saving the target");
                return build;
            },
            cancellationToken);
    }

    /// <summary>Lays layers: all files first, then services, then the scripts, so that a script sees every file.</summary>
    protected static async Task LayAsync(
        StepContext context, TargetTree target, IReadOnlyList<Layer> layers, CancellationToken cancellationToken)
    {
        foreach (var layer in layers)
        {
            context.Say($"layer {layer.Name}: files");
            await target.LayFilesAsync(layer, early: false, context.ScriptEnvironment, cancellationToken);
        }

        foreach (var layer in layers)
        {
            context.Say($"layer {layer.Name}: services and configuration");
            await target.SetServicesAsync(layer, cancellationToken);
            if (layer.ConfigureScript is { } script)
            {
                var complaints = new HookComplaints($"'{script}' of the layer '{layer.Name}'");
                try
                {
                    await target.RunScriptAsync(
                        script,
                        context.ScriptEnvironment,
                        new CommandOptions { OnLine = (line, _) => complaints.Add(line) },
                        cancellationToken);
                    context.Log.Warn(complaints.Warnings(context.Log.Path));
                }
                catch (CommandFailedException e) when (e.Command[0] == TargetTree.ChrootCommand)
                {
                    // Names the file to look into; the command line around it is ours.
                    throw new ArchAzureException(
                        e.ErrorId,
                        e.Kind,
                        $"'{script}' of the layer '{layer.Name}' ended with status "
                        + $"{e.Result.ExitCode}:{string.Concat(e.Result.Tail.Select(line => $"\n    {line}"))}\n",
                        script,
                        e);
                }
            }
        }
    }
}
