using ArchAzure.IO;
using ArchAzure.Settings;

namespace ArchAzure.Builds;

/// <summary>What one call of a step asks for.</summary>
internal sealed record StepRequest
{
    /// <summary>
    /// Settings given as parameters: key and value. The build remembers them once the step has ended well; an empty value makes it
    /// forget.
    /// </summary>
    public IReadOnlyDictionary<string, string> Parameters { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Run although nothing has changed, and replace what is there.</summary>
    public bool Force { get; init; }

    /// <summary>A settings file to take over into the work directory (step 1).</summary>
    public string? SettingsPath { get; init; }

    /// <summary>Where the VHD goes (step 5); null for the work directory.</summary>
    public string? Destination { get; init; }

    /// <summary>
    /// The settings in force: the defaults, over them the settings file, over that what parameters ask for, now or in an earlier run.
    /// </summary>
    /// <exception cref="ArchAzureException">As for <see cref="BuildSettings.Load"/> and
    /// <see cref="BuildSettings.ThrowIfInConflict"/>.</exception>
    internal BuildSettings SettingsOf(WorkDirectory directory, ArchBuild? build)
    {
        var path = SettingsPath ?? directory.SettingsFile;
        var settings = SettingsPath is not null || File.Exists(path) ? BuildSettings.Load(path) : BuildSettings.Default;
        foreach (var (key, value) in (build?.Requested ?? []).Where(earlier => !Parameters.ContainsKey(earlier.Key)))
        {
            settings = settings.With(key, value, $"{key}, from an earlier parameter");
        }

        foreach (var (key, value) in Parameters.Where(parameter => parameter.Value.Length > 0))
        {
            settings = settings.With(key, value);
        }

        settings.ThrowIfInConflict();
        return settings;
    }

    /// <summary>
    /// The build with what this call asked for, which is remembered from now on; a settings file goes into the work directory.
    /// </summary>
    internal ArchBuild Remember(WorkDirectory directory, ArchBuild build)
    {
        if (SettingsPath is { } given && Path.GetFullPath(given) != directory.SettingsFile)
        {
            AtomicFile.WriteAllText(directory.SettingsFile, SettingsFile.ReadRelocated(given));
        }

        var requested = new SortedDictionary<string, string>(build.Requested, StringComparer.Ordinal);
        foreach (var (key, value) in Parameters)
        {
            requested[key] = value;
            if (value.Length == 0)
            {
                requested.Remove(key);
            }
        }

        return build with { Requested = requested };
    }

    /// <summary>The parameters of this call that ask for other than what a build remembers.</summary>
    internal IReadOnlyList<string> NotRememberedBy(ArchBuild build) =>
    [
        .. Parameters.Where(parameter => build.Requested.GetValueOrDefault(parameter.Key, "") != parameter.Value)
            .Select(parameter => Option(parameter.Key)),
        .. SettingsPath is null ? Array.Empty<string>() : ["-Settings"],
    ];

    /// <summary>
    /// Where an error is about a value that nobody gave in this call: which parameter once gave it, and how to be rid of it.
    /// </summary>
    internal string Explain(ArchBuild build, ArchAzureException error)
    {
        var key = build.Requested
            .Where(setting => setting.Value.Length > 0 && !Parameters.ContainsKey(setting.Key))
            .Where(
                setting => error.Target as string == setting.Value
                    || error.Message.Contains($"'{setting.Value}'", StringComparison.Ordinal))
            .Select(setting => setting.Key)
            .FirstOrDefault();
        return key is null
            ? ""
            : $" '{build.Requested[key]}' is what {Option(key)} asked for in an earlier run; give another, or {Option(key)} '' to go back "
                + "to settings.env.";
    }

    private static string Option(string key) => SettingDefinition.Find(key)?.Parameter is { } parameter ? $"-{parameter}" : key;
}
