using System.Text.RegularExpressions;

namespace ArchAzure.Settings;

/// <summary>
/// The settings a build runs with: the defaults, over them a settings file, over that the parameters of a cmdlet. Immutable; every
/// value in it
/// has passed its rule in <see cref="SettingDefinition.All"/>.
/// </summary>
internal sealed partial class BuildSettings
{
    private readonly Dictionary<string, string> _values;

    private BuildSettings(Dictionary<string, string> values, IReadOnlyList<string> warnings, string? path)
    {
        _values = values;
        Warnings = warnings;
        SourcePath = path;
    }

    public static BuildSettings Default { get; } =
        new(SettingDefinition.Living.ToDictionary(d => d.Key, d => d.DefaultValue, StringComparer.Ordinal), [], null);

    /// <summary>The file they were read from; null for the defaults.</summary>
    public string? SourcePath { get; }

    /// <summary>What the user should be told about the file although it was accepted (keys that have no use any more).</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>The effective value of every living key, in the order of <see cref="SettingDefinition.All"/>.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Values =>
        [.. SettingDefinition.Living.Select(d => KeyValuePair.Create(d.Key, _values[d.Key]))];

    /// <summary>The effective value of one key in its normal spelling.</summary>
    /// <exception cref="ArchAzureException"><c>UnknownSetting</c>.</exception>
    public string this[string key] => _values.TryGetValue(key, out var value) ? value : throw SettingsFile.Unknown(key, "settings");

    /// <summary>Release to build from: <c>latest</c> or <c>YYYY.MM.DD</c>.</summary>
    public string ArchVersion => _values["ARCH_VERSION"];

    /// <summary>Always <c>x86_64</c>.</summary>
    public string Architecture => _values["ARCHITECTURE"];

    /// <summary>The mirror the machine gets its updates from: pacman's Server line, with <c>$repo</c> and <c>$arch</c> in it.</summary>
    public string Mirror => _values["MIRROR"];

    /// <summary>The day whose packages the image is built from, <c>YYYY.MM.DD</c>; null for those of today.</summary>
    public string? Snapshot => _values["SNAPSHOT"] is { Length: > 0 } day ? day : null;

    /// <summary>The mirror the image is built from: <see cref="Mirror"/>, or the archive's of <see cref="Snapshot"/>.</summary>
    public string PackageMirror => Snapshot is { } day ? $"{_values["ARCHIVE_URL"]}repos/{day.Replace('.', '/')}/$repo/os/$arch" : Mirror;

    /// <summary>The release server the bootstrap comes from; ends in a slash. With <see cref="Snapshot"/> it is the archive.</summary>
    public Uri ReleaseUrl => new(Snapshot is null ? _values["RELEASE_URL"] : $"{_values["ARCHIVE_URL"]}iso/");

    /// <summary>Whether the same settings give a byte-identical VHD.</summary>
    public bool Reproducible => _values["REPRODUCIBLE"] == "true";

    /// <summary>What the identities of a reproducible build are made from.</summary>
    public string Seed => _values["SEED"];

    /// <summary>Path of the key file, null for the pinned Arch key.</summary>
    public string? ReleaseKey => _values["RELEASE_KEY"] is { Length: > 0 } path ? path : null;

    /// <summary>Path of a bootstrap archive that is here already, null to download it.</summary>
    public string? BootstrapPath => _values["BOOTSTRAP_PATH"] is { Length: > 0 } path ? path : null;

    /// <summary>Whether Docker images of an earlier run are used again.</summary>
    public bool ReuseDockerImage => _values["REUSE_DOCKER_IMAGE"] == "true";

    public int DiskSizeMiB => int.Parse(_values["DISK_SIZE"]);

    /// <summary>First sector (512 bytes) of the first partition.</summary>
    public int BootStart => int.Parse(_values["BOOT_START"]);

    /// <summary><c>ext4</c> or <c>btrfs</c>.</summary>
    public string RootFileSystem => _values["ROOT_FILE_SYSTEM"];

    /// <summary>The image's locale, e.g. <c>en_US.UTF-8</c>.</summary>
    public string Locale => _values["TARGET_LANG"];

    /// <summary>The image's time zone, e.g. <c>Europe/Berlin</c>.</summary>
    public string TimeZone => _values["TIME_ZONE"];

    /// <summary>The image's console keymap.</summary>
    public string Keymap => _values["KEYMAP"];

    /// <summary><c>linux</c> or <c>linux-lts</c>.</summary>
    public string Kernel => _values["KERNEL"];

    /// <summary>Extra packages.</summary>
    public IReadOnlyList<string> Packages => _values["PACKAGES"].Split(' ', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Folders of the user's own layers; absolute when they came from a file.</summary>
    public IReadOnlyList<string> Layers => _values["LAYERS"].Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);

    /// <summary><c>waagent</c> or <c>cloud-init</c>.</summary>
    public string Agent => _values["AGENT"];

    /// <summary>Size in MiB of the swap file on the resource disk; 0 for none.</summary>
    public int ResourceDiskSwapMiB => int.Parse(_values["RESOURCE_DISK_SWAP"]);

    /// <summary>Git address, archive or folder of the agent; a path is absolute when it came from a file.</summary>
    public string WaAgentSource => _values["WAAGENT_SOURCE"];

    /// <summary>Commit id of the agent, in small letters.</summary>
    public string WaAgentCommit => _values["WAAGENT_COMMIT"];

    /// <summary>The folder of the packages that builds share. $XDG_CACHE_HOME: XDG Base Directory Specification.</summary>
    public string SharedPackageCache => _values["PACKAGE_CACHE"] is { Length: > 0 } path
        ? path
        : Path.Combine(
            Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } caches && Path.IsPathFullyQualified(caches)
                ? caches
                : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"),
            "archazure",
            "packages");

    /// <summary>Whether the SHA-256 of the whole VHD is computed.</summary>
    public bool Checksum => _values["CHECKSUM"] == "true";

    /// <summary>Whether the VHD is compressed too.</summary>
    public bool Compress => _values["COMPRESS"] == "true";

    /// <summary>What a step works with, as lines <c>KEY=VALUE</c>: it runs again when one of them changes.</summary>
    /// <param name="step">1 to 5.</param>
    internal IEnumerable<string> InputsOf(int step) =>
        SettingDefinition.Living.Where(d => d.Steps.Contains(step)).Select(d => $"{d.Key}={_values[d.Key]}");

    /// <summary>
    /// What scripts and templates of a step find by name: the settings that this step or an earlier one works with, and no other, since a
    /// change of those would not run it again. An address on the build machine's loopback is of no use in the image: the default stands
    /// there.
    /// </summary>
    /// <param name="step">1 to 5.</param>
    internal IEnumerable<KeyValuePair<string, string>> ScriptValues(int step) =>
        from definition in SettingDefinition.Living
        where definition.ScriptName is not null && definition.Steps.Any(number => number <= step)
        let value = _values[definition.Key]
        select KeyValuePair.Create(definition.ScriptName!, SettingRules.IsLoopbackAddress(value) ? definition.DefaultValue : value);

    /// <summary>The defaults with a settings file over them. Relative paths in it start at its folder.</summary>
    /// <exception cref="ArchAzureException">As for <see cref="SettingsFile.Read"/>, and <c>InvalidSettingValue</c>,
    /// <c>SettingWrongUnit</c>.</exception>
    public static BuildSettings Load(string path)
    {
        var full = Path.GetFullPath(path);
        return From(SettingsFile.Read(full), full, Path.GetDirectoryName(full));
    }

    /// <summary>The defaults with the text of a settings file over them. Relative paths stay relative.</summary>
    /// <param name="text">The text.</param>
    /// <param name="source">The name to show in errors.</param>
    /// <exception cref="ArchAzureException">As for <see cref="Load"/>.</exception>
    public static BuildSettings Parse(string text, string source) => From(SettingsFile.Parse(text, source), source, null);

    /// <summary>A copy with one value replaced, as a cmdlet does with its parameters.</summary>
    /// <param name="key">A key of <see cref="SettingDefinition.All"/>.</param>
    /// <param name="value">The value; for several, as they would stand in the file.</param>
    /// <param name="parameter">The parameter's name for the error; null takes the one in the table.</param>
    /// <exception cref="ArchAzureException"><c>UnknownSetting</c>, <c>InvalidSettingValue</c> or <c>SettingWrongUnit</c>; the message
    /// begins with the parameter.</exception>
    public BuildSettings With(string key, string value, string? parameter = null)
    {
        ArgumentNullException.ThrowIfNull(value);
        var definition = SettingDefinition.Find(key) ?? throw SettingsFile.Unknown(key, "settings");
        var checkedValue = Checked(definition, value, Named(definition, parameter));
        return definition.Obsolete is { } reason
            ? new BuildSettings(_values, [.. Warnings, reason], SourcePath)
            : new BuildSettings(new(_values, StringComparer.Ordinal) { [key] = checkedValue }, Warnings, SourcePath);
    }

    /// <summary>A copy with a list replaced (<c>PACKAGES</c>, <c>LAYERS</c>), each element a package name or a path.</summary>
    /// <exception cref="ArchAzureException">As for <see cref="With(string, string, string?)"/>; also where an element holds the
    /// separator.</exception>
    public BuildSettings With(string key, IReadOnlyList<string> elements, string? parameter = null)
    {
        ArgumentNullException.ThrowIfNull(elements);
        var definition = SettingDefinition.Find(key) ?? throw SettingsFile.Unknown(key, "settings");
        var separator = definition.Kind == SettingKind.Paths ? Path.PathSeparator : ' ';
        if (elements.FirstOrDefault(e => e.Contains(separator, StringComparison.Ordinal)) is { } bad)
        {
            throw new ArchAzureException("InvalidSettingValue", ErrorKind.InvalidInput,
                $"{Named(definition, parameter)}: '{bad}' holds a '{separator}', which separates the elements of a list. "
                + (
                    definition.Kind == SettingKind.Paths
                        ? "Rename the folder or give another path to it."
                        : "Give each name as its own element."), key);
        }

        return With(key, string.Join(separator, elements), parameter);
    }

    /// <summary>Checks what no value shows by itself: whether the values go together.</summary>
    /// <exception cref="ArchAzureException"><c>SettingsConflict</c>.</exception>
    public void ThrowIfInConflict()
    {
        // waagent leaves the resource disk alone where another agent provisions.
        if (Agent != "waagent" && ResourceDiskSwapMiB > 0)
        {
            throw new ArchAzureException("SettingsConflict", ErrorKind.InvalidInput,
                $"RESOURCE_DISK_SWAP={ResourceDiskSwapMiB} does not go with AGENT={Agent}: then waagent, which makes this swap, does not "
                + "touch the resource disk. "
                + "Set RESOURCE_DISK_SWAP=0 and have your custom data make the swap, or set AGENT=waagent.", "RESOURCE_DISK_SWAP");
        }

        if (Snapshot is not null && BootstrapPath is null && ArchVersion != "latest" && string.CompareOrdinal(ArchVersion, Snapshot) > 0)
        {
            throw new ArchAzureException("SettingsConflict", ErrorKind.InvalidInput,
                $"ARCH_VERSION={ArchVersion} does not go with SNAPSHOT={Snapshot}: that bootstrap is newer than the packages of that day, "
                + "and pacman would have to put back older ones. "
                + "Set ARCH_VERSION=latest for the newest one of that day, or take a later day.", "ARCH_VERSION");
        }

        if (Reproducible && Snapshot is null)
        {
            throw new ArchAzureException("SettingsConflict", ErrorKind.InvalidInput,
                "REPRODUCIBLE=true needs SNAPSHOT: a mirror changes every day, and the image with it. Name a day with "
                + "-Snapshot or SNAPSHOT=YYYY.MM.DD.", "REPRODUCIBLE");
        }

        if (Reproducible && RootFileSystem == "btrfs")
        {
            throw new ArchAzureException("SettingsConflict", ErrorKind.InvalidInput,
                "REPRODUCIBLE=true does not go with ROOT_FILE_SYSTEM=btrfs: mkfs.btrfs makes up identities of its own each time. Set "
                + "ROOT_FILE_SYSTEM=ext4.", "REPRODUCIBLE");
        }
    }

    /// <summary>A text with the user name and password of any address in it replaced by <c>***</c>, fit for logs.</summary>
    public static string Masked(string text) => UserInfo().Replace(text, "$1***@");

    private static string Named(SettingDefinition definition, string? parameter) =>
        (parameter ?? definition.Parameter) is { } name ? $"-{name.TrimStart('-')}" : definition.Key;

    private static BuildSettings From(IReadOnlyList<SettingLine> lines, string source, string? folder)
    {
        var values = new Dictionary<string, string>(Default._values, StringComparer.Ordinal);
        var warnings = new List<string>();
        foreach (var line in lines)
        {
            var definition = SettingDefinition.Find(line.Key)!;
            var value = Checked(definition, line.Value, $"{source}:{line.Line}: {line.Key}");
            if (definition.Obsolete is { } reason)
            {
                warnings.Add($"{source}:{line.Line}: {reason}");
                continue;
            }

            values[line.Key] = folder is null ? value : definition.WithPaths(value, path => Path.GetFullPath(path, folder));
        }

        return new BuildSettings(values, warnings, source);
    }

    private static string Checked(SettingDefinition definition, string value, string where)
    {
        var check = definition.Check(value);
        return check.Value
            ?? throw new ArchAzureException(check.ErrorId, ErrorKind.InvalidInput, Masked($"{where}: {check.Problem}"), definition.Key);
    }

    [GeneratedRegex(@"(\b[a-z][a-z0-9+.-]*://)[^/\s@'""]*@", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex UserInfo();
}
