namespace ArchAzure.Settings;

/// <summary>The outcome of checking one value.</summary>
/// <param name="Value">The value in its one normal spelling, or null when it is not acceptable.</param>
/// <param name="Problem">Why not, and what to write instead; null when it is acceptable.</param>
/// <param name="ErrorId">The id of the error to raise for it.</param>
public readonly record struct SettingCheck(string? Value, string? Problem, string ErrorId)
{
    internal static SettingCheck Good(string value) => new(value, null, "");

    internal static SettingCheck Bad(string problem, string errorId = "InvalidSettingValue") => new(null, problem, errorId);
}

/// <summary>One key of settings.env: its default, its rule and its documentation. The table is <see cref="All"/>.</summary>
public sealed class SettingDefinition
{
    private readonly Func<string, SettingCheck> _check;

    private SettingDefinition(string key, string defaultValue, string? parameter, string documentation, Func<string, SettingCheck> check)
    {
        Key = key;
        DefaultValue = defaultValue;
        Parameter = parameter;
        Documentation = documentation;
        _check = check;
    }

    /// <summary>The name in settings.env.</summary>
    public string Key { get; }

    /// <summary>What holds when the key is not given.</summary>
    public string DefaultValue { get; }

    /// <summary>The cmdlet parameter that overrides it, without the hyphen; null if there is none.</summary>
    public string? Parameter { get; }

    /// <summary>One or more lines for settings.env.default and the help: what it is, unit, allowed values.</summary>
    public string Documentation { get; }

    /// <summary>Why the key has no use any more; null for a living key. Such a key is accepted with this as a warning.</summary>
    public string? Obsolete { get; private init; }

    /// <summary>True where the value names a file or folder, or several: relative ones start at the settings file's folder.</summary>
    internal bool IsPath { get; private init; }

    /// <summary>True where the value is, or may be, an address.</summary>
    internal bool TakesAddress { get; private init; }

    /// <summary>True where the value is an address pacman puts <c>$repo</c> and <c>$arch</c> into.</summary>
    internal bool TakesMirrorVariables { get; private init; }

    /// <summary>All keys in the order in which they are documented and enumerated.</summary>
    public static IReadOnlyList<SettingDefinition> All { get; } =
    [
        new("ARCH_VERSION", "latest", "Version",
            "The bootstrap release to build from: latest, or the date of a monthly release as YYYY.MM.DD.",
            v => SettingRules.IsArchVersion(v)
                ? SettingCheck.Good(v)
                : SettingCheck.Bad($"'{v}' is neither 'latest' nor a date. Write latest, or a release's date such as 2026.11.01.")),
        new("ARCHITECTURE", "x86_64", null,
            "The machine's architecture. Arch Linux is made for x86_64 only.",
            v => OneOf(v, "x86_64")),
        new("MIRROR", "https://geo.mirror.pkgbuild.com/$repo/os/$arch", "Mirror",
            "The package mirror as pacman's Server line has it: $repo and $arch are filled in by pacman. Put it in single quotes: at its prompt\n"
            + "PowerShell would fill them in. https://archive.archlinux.org/repos/YYYY/MM/DD/$repo/os/$arch is a dated state of all packages.",
            Mirror)
        { TakesMirrorVariables = true, TakesAddress = true },
        new("SNAPSHOT", "", "Snapshot",
            "Build from the packages as they were on this day (YYYY.MM.DD), kept by the archive (ARCHIVE_URL), and from the newest bootstrap\n"
            + "of that day. MIRROR is then only where the machine gets its updates. Empty: the packages of today, from MIRROR.",
            v => v.Length == 0 || SettingRules.IsSnapshot(v)
                ? SettingCheck.Good(v)
                : SettingCheck.Bad($"'{v}' is not a day of the archive. Write it as YYYY.MM.DD, such as 2026.11.15, from {SettingRules.FirstSnapshot} on.")),
        new("ARCHIVE_URL", "https://archive.archlinux.org/", null,
            "The archive of SNAPSHOT: the folder that holds repos/YYYY/MM/DD/ and iso/YYYY.MM.DD/.",
            WebFolder)
        { TakesAddress = true },
        new("REPRODUCIBLE", "false", "Reproducible",
            "Whether the same settings give the same VHD to the byte, on any day and in any folder: true or false. Needs SNAPSHOT, which\n"
            + "also gives the time of all that a build makes, of a day in mid-2024 or later (e2fsprogs 1.47.1), and ROOT_FILE_SYSTEM=ext4.",
            Boolean),
        new("SEED", "", "Seed",
            "What the GUIDs and UUIDs of a reproducible build are made from, with SNAPSHOT: any word. Another one gives other identities.",
            v => v.Length == 0 || SettingRules.IsSeed(v)
                ? SettingCheck.Good(v)
                : SettingCheck.Bad($"'{v}' is not one word. Write letters and digits, between them also '.', '_', '+' and '-'; at most 64.")),
        new("RELEASE_URL", "https://geo.mirror.pkgbuild.com/iso/", "ReleaseUrl",
            "The release server: the folder that holds latest/ and the dated folders of the bootstrap.",
            WebFolder)
        { TakesAddress = true },
        new("RELEASE_KEY", "", "ReleaseKey",
            "Path of an OpenPGP public key file to check the bootstrap with. Empty: Arch's release key, which comes with this module.",
            v => SettingCheck.Good(v))
        { IsPath = true },
        new("BOOTSTRAP_PATH", "", "BootstrapPath",
            "Path of a bootstrap archive that is here already, with its signature under the same name and .sig. Where the name does not tell\n"
            + "the version, as archlinux-bootstrap-YYYY.MM.DD-x86_64.tar.zst does, give ARCH_VERSION too. Empty: download it.",
            v => SettingCheck.Good(v))
        { IsPath = true },
        new("REUSE_DOCKER_IMAGE", "true", null,
            "Whether Docker images of an earlier build are used again: true or false.",
            Boolean),
        new("DISK_SIZE", "30720", "SizeMiB",
            "Size of the disk in MiB, a whole number without a unit, from 2048 to 4194304 (4 TiB). 30720 is 30 GiB.",
            DiskSize),
        new("BOOT_START", "2048", null,
            "Where the first partition starts, in sectors of 512 bytes: a multiple of 2048 (1 MiB), at most 65536.",
            BootStart),
        new("ROOT_FILE_SYSTEM", "ext4", "RootFileSystem",
            "The root file system: ext4 or btrfs.",
            v => OneOf(v, "ext4", "btrfs")),
        new("TARGET_LANG", "en_US.UTF-8", "Locale",
            "The locale of the image, a UTF-8 one as /etc/locale.gen names it, such as de_DE.UTF-8.",
            v => SettingRules.IsLocale(v)
                ? SettingCheck.Good(v)
                : SettingCheck.Bad($"'{v}' is not the name of a UTF-8 locale. Write it as /etc/locale.gen does, such as de_DE.UTF-8.")),
        new("TIME_ZONE", "UTC", "TimeZone",
            "The time zone of the image, a name of the tz database such as Europe/Berlin.",
            v => SettingRules.IsTimeZone(v)
                ? SettingCheck.Good(v)
                : SettingCheck.Bad($"'{v}' is not the name of a time zone. Write UTC or a name such as Europe/Berlin.")),
        new("KEYMAP", "us", "Keymap",
            "The keymap of the image's console, such as us or de-latin1.",
            v => SettingRules.IsKeymap(v)
                ? SettingCheck.Good(v)
                : SettingCheck.Bad($"'{v}' is not the name of a keymap. Write one that 'localectl list-keymaps' shows, such as us.")),
        new("KERNEL", "linux", "Kernel",
            "The kernel package: linux or linux-lts.",
            v => OneOf(v, "linux", "linux-lts")),
        new("PACKAGES", "", "Package",
            "More packages for the image. In settings.env separated by spaces, in quotes: \"vim htop\".",
            Packages),
        new("LAYERS", "", "Layer",
            "Folders of your own layers, laid in this order after the module's own. In settings.env separated by ':' as in PATH (';' on\n"
            + "Windows), and relative paths start at that file's folder.",
            Layers)
        { IsPath = true },
        new("AGENT", "waagent", "Agent",
            "Who provisions the machine: waagent, or cloud-init (with waagent for extensions).",
            v => OneOf(v, "waagent", "cloud-init")),
        new("RESOURCE_DISK_SWAP", "0", null,
            "Size in MiB of the swap file that the agent makes on the machine's resource disk (temporary disk), a multiple of 64; 0 for\n"
            + "none. Only with AGENT=waagent. It must fit on that disk; a machine size without one has no swap. The OS disk never has any.",
            ResourceDiskSwap),
        new("WAAGENT_SOURCE", "https://github.com/Azure/WALinuxAgent", "Source",
            "Where the agent comes from: a git address, an archive or a folder.",
            AgentSource)
        { IsPath = true, TakesAddress = true },
        new("WAAGENT_COMMIT", "a976115fd7254f4f9f54cc33528f0817b07b7976", "Commit",
            "The commit of the agent to take from a git address, all 40 digits. Not used for an archive or a folder.",
            v => SettingRules.IsCommit(v)
                ? SettingCheck.Good(v.ToLowerInvariant())
                : SettingCheck.Bad($"'{v}' is not a full commit id. Write all 40 digits: a branch or a short id could mean something else tomorrow.")),
        new("REUSE_DHCLIENT", "true", null,
            "Has no use any more.",
            Boolean)
        {
            Obsolete = "REUSE_DHCLIENT has no use any more: the image gets its address by systemd-networkd, and no dhclient is built. Remove the line.",
        },
    ];

    /// <summary>The definition of a key, or null if there is no such key. Keys are case-sensitive, as in a shell.</summary>
    public static SettingDefinition? Find(string key) => All.FirstOrDefault(d => d.Key == key);

    /// <summary>Checks a value and gives it its normal spelling (booleans become true or false, numbers lose leading zeros).</summary>
    public SettingCheck Check(string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        if (value.Length == 0 && DefaultValue.Length > 0)
        {
            return SettingCheck.Bad($"it has no value. Remove it to have the default ({DefaultValue}), or write a value.");
        }

        // Line breaks would start a new line in a configuration file of the target; no setting needs any control character.
        return value.Any(char.IsControl)
            ? SettingCheck.Bad("it holds a control character or a line break. Remove it.")
            : TakesAddress && SettingRules.HoldsSecret(value)
            ? SettingCheck.Bad("it holds a user name or a password, which would come into logs, build.json and the image. Remove them: use a server that knows this machine without, or a local file.", "SettingHoldsSecret")
            : _check(value);
    }

    private static SettingCheck OneOf(string value, params string[] allowed) =>
        allowed.Contains(value, StringComparer.Ordinal)
            ? SettingCheck.Good(value)
            : SettingCheck.Bad($"'{value}' is not possible. Write {string.Join(" or ", allowed)}.");

    private static SettingCheck Boolean(string value) => value.ToLowerInvariant() switch
    {
        "true" or "yes" or "1" => SettingCheck.Good("true"),
        "false" or "no" or "0" => SettingCheck.Good("false"),
        _ => SettingCheck.Bad($"'{value}' is neither yes nor no. Write true or false."),
    };

    private static SettingCheck WebFolder(string value) =>
        SettingRules.IsWebAddress(value)
            ? SettingCheck.Good(value.EndsWith('/') ? value : value + "/")
            : SettingCheck.Bad("it is not a web address. Write one that starts with https:// or http://, without '?' and '#'.");

    private static SettingCheck Mirror(string value)
    {
        if (!value.Contains("$repo", StringComparison.Ordinal))
        {
            return SettingCheck.Bad("it has no $repo, so pacman could not find core and extra. Write it as in https://mirror.example.org/archlinux/$repo/os/$arch.");
        }

        var filled = value.Replace("$repo", "core", StringComparison.Ordinal).Replace("$arch", "x86_64", StringComparison.Ordinal);
        if (filled.Contains('$', StringComparison.Ordinal))
        {
            return SettingCheck.Bad("pacman knows $repo and $arch only. Remove the other '$'.");
        }

        return SettingRules.IsWebAddress(filled)
            ? SettingCheck.Good(value)
            : SettingCheck.Bad("it is not a web address. Write one that starts with https:// or http://, without '?' and '#'.");
    }

    private static SettingCheck DiskSize(string value)
    {
        if (SizeText.WithUnit(value) is { } size)
        {
            var remedy = size.MiB is { } whole && SettingRules.IsDiskSizeMiB(whole)
                ? $"write {whole} for {value}."
                : $"write a whole number from {SettingRules.MinimumDiskSizeMiB} to {SettingRules.MaximumDiskSizeMiB}.";
            return SettingCheck.Bad($"'{value}' has a unit, but the size is counted in MiB and written without one: {remedy}", "SettingWrongUnit");
        }

        if (!Number(value, out var number))
        {
            return SettingCheck.Bad($"'{value}' is not a whole number of MiB. Write for example 30720 (30 GiB).");
        }

        if (number < SettingRules.MinimumDiskSizeMiB)
        {
            var hint = number is > 1 and <= 2048 ? $" If you meant {number} GiB, write {number * 1024}." : "";
            return SettingCheck.Bad($"{number} MiB is too small for an Arch Linux with a kernel and the agent. Write {SettingRules.MinimumDiskSizeMiB} or more.{hint}");
        }

        return number > SettingRules.MaximumDiskSizeMiB
            ? SettingCheck.Bad($"{number} MiB is more than the 4 TiB that Azure takes as an OS disk. Write at most {SettingRules.MaximumDiskSizeMiB}.")
            : SettingCheck.Good(number.ToString());
    }

    private static SettingCheck BootStart(string value)
    {
        if (SizeText.WithUnit(value) is { } size)
        {
            var remedy = size.MiB * SettingRules.SectorsPerMiB is { } sectors && SettingRules.IsBootStart(sectors)
                ? $"write {sectors} for {value}."
                : "write a multiple of 2048 up to 65536.";
            return SettingCheck.Bad($"'{value}' has a unit, but the start is counted in sectors of 512 bytes and written without one: {remedy}", "SettingWrongUnit");
        }

        return Number(value, out var number) && SettingRules.IsBootStart(number)
            ? SettingCheck.Good(number.ToString())
            : SettingCheck.Bad($"'{value}' is not a multiple of 2048 from 2048 to 65536. Partitions start at a whole MiB, which is 2048 sectors; write 2048 if in doubt.");
    }

    private static SettingCheck ResourceDiskSwap(string value)
    {
        if (SizeText.WithUnit(value) is { } size)
        {
            var remedy = size.MiB is { } whole && SettingRules.IsResourceDiskSwapMiB(whole)
                ? $"write {whole} for {value}."
                : $"write a multiple of 64 up to {SettingRules.MaximumResourceDiskSwapMiB}.";
            return SettingCheck.Bad($"'{value}' has a unit, but the size is counted in MiB and written without one: {remedy}", "SettingWrongUnit");
        }

        return Number(value, out var number) && SettingRules.IsResourceDiskSwapMiB(number)
            ? SettingCheck.Good(number.ToString())
            : SettingCheck.Bad($"'{value}' is not a multiple of 64 up to {SettingRules.MaximumResourceDiskSwapMiB}: the agent makes whole blocks of 64 MiB. Write for example 2048 (2 GiB), or 0 for no swap.");
    }

    private static SettingCheck Packages(string value)
    {
        var names = value.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var bad = names.FirstOrDefault(n => !SettingRules.IsPackageName(n));
        return bad is null
            ? SettingCheck.Good(string.Join(' ', names))
            : SettingCheck.Bad($"'{bad}' is not a package name (small letters, digits and @._+-, not starting with '-' or '.'). Write names separated by spaces.");
    }

    private static SettingCheck Layers(string value)
    {
        var paths = value.Split(Path.PathSeparator);
        return value.Length > 0 && paths.Any(string.IsNullOrWhiteSpace)
            ? SettingCheck.Bad($"it has an empty path in it. Write paths separated by one '{Path.PathSeparator}'.")
            : SettingCheck.Good(value);
    }

    private static SettingCheck AgentSource(string value)
    {
        // A leading hyphen would be read as an option by git; "ext::" and the like make git run a command.
        if (value.StartsWith('-') || value.Contains("::", StringComparison.Ordinal))
        {
            return SettingCheck.Bad($"'{value}' would be read by git as an option or a command. Write an address such as https://github.com/Azure/WALinuxAgent, or a path.");
        }

        var scheme = value.IndexOf("://", StringComparison.Ordinal);
        if (SettingRules.HoldsOption(value))
        {
            return SettingCheck.Bad($"'{value}' has a host or user that ssh would read as an option. Write an address such as https://github.com/Azure/WALinuxAgent, or a path.");
        }

        return scheme < 0 || value[..scheme] is "https" or "http" or "ssh" or "git" or "file"
            ? SettingCheck.Good(value)
            : SettingCheck.Bad($"'{value[..scheme]}' is not a way to reach a git repository. Write an address that starts with https://, http://, ssh://, git:// or file://, or a path.");
    }

    private static bool Number(string value, out long number) =>
        long.TryParse(value, System.Globalization.NumberStyles.None, null, out number);
}
