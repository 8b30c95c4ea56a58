using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.Settings;
using ArchAzure.Target;

namespace ArchAzure.Steps;

/// <summary>Step 3, Install-ArchBase: packages, the layers base and azure, and the user's own.</summary>
internal sealed class BaseStep : TargetStep
{
    public override string Name => StepName.Base;

    public override IEnumerable<string> OtherInputs(StepContext context) => Layers(context).Select(layer => layer.Fingerprint());

    public override Task<ArchBuild> RunAsync(StepContext context, CancellationToken cancellationToken)
    {
        var layers = Layers(context);
        var kernel = context.Settings.Kernel;
        string[] packages =
        [
            kernel,
            .. context.Build.Disk!.RootFileSystem == "btrfs" ? ["btrfs-progs"] : Array.Empty<string>(),
            .. layers.SelectMany(layer => layer.Packages),
            .. context.Settings.Packages,
        ];
        return RunInTargetAsync(
            context,
            context.MirrorNetwork,
            async (builder, target) =>
            {
                await RequireNamesAsync(context.Settings, builder, cancellationToken);
                foreach (var layer in layers)
                {
                    await target.LayFilesAsync(layer, early: true, context.ScriptEnvironment, cancellationToken);
                }

                context.Say("installing packages", 0);
                await new Pacman(builder, context.Reporter, Name)
                    .InstallAsync([.. packages.Distinct(StringComparer.Ordinal)], cancellationToken);
                await RequireBootFilesAsync(builder, kernel, cancellationToken);
                await LayAsync(context, target, layers, cancellationToken);

                var installed = await builder.RunAsync(
                    ["pacman", "--root", TargetTree.Root, "--query", "--quiet"], null, cancellationToken);
                return context.Build with
                {
                    Base = new TargetProduct(kernel, installed.Output.Count(c => c == '\n'), [.. layers.Select(layer => layer.Name)]),
                };
            },
            cancellationToken);
    }

    /// <summary>
    /// What no rule can know: the builder has the same packages of names as the image will have. Told before minutes of work.
    /// </summary>
    private static async Task RequireNamesAsync(BuildSettings settings, Builder builder, CancellationToken cancellationToken)
    {
        const string keymaps = "/usr/share/kbd/keymaps";
        var zone = $"/usr/share/zoneinfo/{settings.TimeZone}";
        var locale = $"/usr/share/i18n/locales/{settings.Locale.Replace(".UTF-8", "", StringComparison.Ordinal)}";
        var find = await builder.RunAsync(
            [
                "find", "-L", zone, locale, keymaps, "-type", "f", "(", "-path", zone, "-o", "-path", locale, "-o", "-name",
                $"{settings.Keymap}.map*", "-o", "-name", $"{settings.Keymap}.kmap*", ")", "-print",
            ],
            new CommandOptions { AllowFailure = true },
            cancellationToken);
        var found = find.Output.Split('\n');

        // glibc has this one built in.
        Require(
            settings.Locale == "C.UTF-8" || found.Contains(locale),
            "TARGET_LANG",
            $"no locale '{settings.Locale}'",
            "'locale -a' and /etc/locale.gen of an Arch Linux list them");
        Require(found.Contains(zone), "TIME_ZONE", $"no time zone '{settings.TimeZone}'", "'timedatectl list-timezones' lists them");
        Require(
            found.Any(path => path.StartsWith(keymaps, StringComparison.Ordinal)),
            "KEYMAP",
            $"no keymap '{settings.Keymap}'",
            "'localectl list-keymaps' lists them");

        static void Require(bool there, string key, string what, string remedy)
        {
            if (!there)
            {
                throw new ArchAzureException(
                    "InvalidSettingValue",
                    ErrorKind.InvalidInput,
                    $"{key}: Arch Linux has {what}. Give one that it has with -{SettingDefinition.Find(key)!.Parameter} or {key}; "
                    + $"{remedy}.",
                    key);
            }
        }
    }

    /// <summary>A hook that fails does not fail pacman, but without these files the image does not boot.</summary>
    private static async Task RequireBootFilesAsync(Builder builder, string kernel, CancellationToken cancellationToken)
    {
        foreach (var file in new[] { $"/boot/vmlinuz-{kernel}", $"/boot/initramfs-{kernel}.img" })
        {
            var test = await builder.RunAsync(
                ["test", "-s", TargetTree.Root + file], new CommandOptions { AllowFailure = true }, cancellationToken);
            if (test.ExitCode != 0)
            {
                throw new ArchAzureException(
                    "BootFileMissing", ErrorKind.CommandFailed, $"pacman installed '{kernel}', but its hooks did not make '{file}'. The "
                    + "log shows what mkinitcpio said; a file in etc/mkinitcpio.conf.d of a layer may be wrong.", file);
            }
        }
    }

    private static List<Layer> Layers(StepContext context) =>
        [context.Layer("base"), context.Layer("azure"), .. context.Settings.Layers.Select(Layer.Load)];
}
