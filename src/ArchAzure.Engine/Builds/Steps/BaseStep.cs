using ArchAzure.Target;

namespace ArchAzure.Builds.Steps;

/// <summary>Step 3, Install-ArchBase: packages, the layers base and azure, the user's own, and what names the disk.</summary>
public sealed class BaseStep : TargetStep
{
    /// <inheritdoc/>
    public override string Name => StepName.Base;

    /// <inheritdoc/>
    public override IReadOnlyList<string> SettingKeys => ["MIRROR", "PACKAGES", "TARGET_LANG", "TIME_ZONE", "KEYMAP", "KERNEL", "LAYERS"];

    /// <inheritdoc/>
    public override IEnumerable<string> OtherInputs(StepContext context) => Layers(context).Select(layer => layer.Fingerprint());

    /// <inheritdoc/>
    public override Task<ArchBuild> RunAsync(StepContext context, CancellationToken cancellationToken)
    {
        var layers = Layers(context);
        var disk = context.Build.Disk!;
        var kernel = context.Settings.Kernel;
        string[] packages =
        [
            kernel,
            .. disk.RootFileSystem == "btrfs" ? ["btrfs-progs"] : Array.Empty<string>(),
            .. layers.SelectMany(layer => layer.Packages),
            .. context.Settings.Packages,
        ];
        return RunInTargetAsync(
            context,
            "base",
            context.MirrorNetwork,
            async (builder, target) =>
            {
                foreach (var layer in layers.Where(layer => layer.HasEarlyFiles))
                {
                    await target.LayFilesAsync(layer, early: true, cancellationToken);
                }

                context.Say("installing packages", 0);
                await new Pacstrap(builder, context.Reporter, Name).InstallAsync([.. packages.Distinct(StringComparer.Ordinal)], cancellationToken);
                await target.WriteFileAsync("/etc/fstab", BootConfiguration.Fstab(disk), cancellationToken);
                await target.WriteFileAsync("/boot/grub/grub.cfg", BootConfiguration.GrubConfiguration(disk, kernel), cancellationToken);
                await LayAsync(context, target, layers, cancellationToken);

                var installed = await builder.RunAsync(["pacman", "--root", TargetTree.Root, "--query", "--quiet"], null, cancellationToken);
                return context.Build with
                {
                    Base = new TargetProduct(kernel, installed.Output.Count(c => c == '\n'), [.. layers.Select(layer => layer.Name)]),
                };
            },
            cancellationToken);
    }

    private static List<Layer> Layers(StepContext context) =>
        [context.Layer("base"), context.Layer("azure"), .. context.Settings.Layers.Select(Layer.Load)];
}
