namespace ArchAzure.Settings;

/// <summary>The outcome of checking one value.</summary>
/// <param name="Value">The value in its one normal spelling, or null when it is not acceptable.</param>
/// <param name="Problem">Why not, and what to write instead; null when it is acceptable.</param>
/// <param name="ErrorId">The id of the error to raise for it.</param>
internal readonly record struct SettingCheck(string? Value, string? Problem, string ErrorId)
{
    internal static SettingCheck Good(string value) => new(value, null, "");

    internal static SettingCheck Bad(string problem, string errorId = "InvalidSettingValue") => new(null, problem, errorId);
}

/// <summary>What a setting's value is made of.</summary>
internal enum SettingKind
{
    /// <summary>One word or number.</summary>
    Text,

    /// <summary>Words separated by spaces.</summary>
    Words,

    /// <summary>The path of a file or folder.</summary>
    Path,

    /// <summary>Paths separated as in PATH.</summary>
    Paths,

    /// <summary>A web address.</summary>
    Address,

    /// <summary>A web address with pacman's <c>$repo</c> and <c>$arch</c> in it.</summary>
    Mirror,

    /// <summary>An address that git fetches from, or a path.</summary>
    Repository,
}

/// <summary>
/// One setting: its key, default, rule and text, and what else in the product goes by it: the cmdlets' parameters, the steps' inputs, the
/// environment of scripts, settings.env.default, the help. The table is <see cref="All"/>.
/// </summary>
internal sealed class SettingDefinition
{
    private readonly Func<string, SettingCheck> _check;

    private SettingDefinition(string key, string defaultValue, string documentation, Func<string, SettingCheck> check)
    {
        Key = key;
        DefaultValue = defaultValue;
        Documentation = documentation;
        _check = check;
    }

    /// <summary>The name in settings.env.</summary>
    public string Key { get; }

    /// <summary>What holds when the key is not given.</summary>
    public string DefaultValue { get; }

    /// <summary>One or more lines for settings.env.default and the help: what it is, unit, allowed values.</summary>
    public string Documentation { get; }

    /// <summary>The cmdlet parameter that overrides it, without the hyphen; null if there is none.</summary>
    public string? Parameter { get; private init; }

    /// <summary>Why the key has no use any more; null for a living key. Such a key is accepted with this as a warning.</summary>
    public string? Obsolete { get; private init; }

    /// <summary>
    /// The steps, by number, that work with it: they run again when it changes. None where it does not change what they make.
    /// </summary>
    internal IReadOnlyList<int> Steps { get; private init; } = [];

    /// <summary>
    /// The name under which scripts and templates of layers find it, from the first of its <see cref="Steps"/> on; null where it is not
    /// for them.
    /// </summary>
    internal string? ScriptName { get; private init; }

    internal SettingKind Kind { get; private init; }

    internal bool TakesPath => Kind is SettingKind.Path or SettingKind.Paths or SettingKind.Repository;

    private bool TakesAddress => Kind is SettingKind.Address or SettingKind.Mirror or SettingKind.Repository;

    /// <summary>All keys in the order in which they are documented and enumerated.</summary>
    public static IReadOnlyList<SettingDefinition> All { get; } =
    [
        new("ARCH_VERSION", "latest",
            "The bootstrap release to build from: latest, or the date of a monthly release as YYYY.MM.DD.",
            Rule(SettingRules.IsArchVersion, "is neither 'latest' nor a date. Write latest, or a release's date such as 2026.11.01."))
        { Parameter = "Version", Steps = [1] },
        new("ARCHITECTURE", "x86_64",
            "The machine's architecture. Arch Linux is made for x86_64 only.",
            OneOf("x86_64"))
        { Steps = [1] },
        new("MIRROR", "https://geo.mirror.pkgbuild.com/$repo/os/$arch",
            "The package mirror as pacman's Server line has it: $repo and $arch are filled in by pacman. Put it in single quotes: at its "
            + "prompt\n"
            + "PowerShell would fill them in. https://archive.archlinux.org/repos/YYYY/MM/DD/$repo/os/$arch is a dated state of all "
            + "packages.",
            Mirror)
        { Parameter = "Mirror", Steps = [1, 3, 4], ScriptName = "ARCHAZURE_MIRROR", Kind = SettingKind.Mirror },
        new("SNAPSHOT", "",
            "Build from the packages as they were on this day (YYYY.MM.DD), kept by the archive (ARCHIVE_URL), and from the newest "
            + "bootstrap\n"
            + "of that day. MIRROR is then only where the machine gets its updates. Empty: the packages of today, from MIRROR.",
            Rule(
                SettingRules.IsSnapshot,
                $"is not a day of the archive. Write it as YYYY.MM.DD, such as 2026.11.15, from {SettingRules.FirstSnapshot} on."))
        { Parameter = "Snapshot", Steps = [1, 2, 3, 4, 5] },
        new("ARCHIVE_URL", "https://archive.archlinux.org/",
            "The archive of SNAPSHOT: the folder that holds repos/YYYY/MM/DD/ and iso/YYYY.MM.DD/.",
            WebFolder)
        { Steps = [1, 3, 4], Kind = SettingKind.Address },
        new("REPRODUCIBLE", "false",
            "Whether the same settings give a byte-identical VHD, on any day and in any folder: true or false. Needs SNAPSHOT, which\n"
            + "also gives the time of all that a build makes, of a day in mid-2024 or later (e2fsprogs 1.47.1), and ROOT_FILE_SYSTEM=ext4.",
            Boolean)
        { Parameter = "Reproducible", Steps = [2, 3, 4, 5] },
        new("SEED", "",
            "What the GUIDs and UUIDs of a reproducible build are made from, with SNAPSHOT: any word. Another one gives other identities.",
            Rule(SettingRules.IsWord, "is not one word. Write letters and digits, between them also '.', '_', '+' and '-'; at most 64."))
        { Parameter = "Seed", Steps = [2, 3, 4, 5] },
        new("RELEASE_URL", "https://geo.mirror.pkgbuild.com/iso/",
            "The release server: the folder that holds latest/ and the dated folders of the bootstrap.",
            WebFolder)
        { Parameter = "ReleaseUrl", Steps = [1], Kind = SettingKind.Address },
        new("RELEASE_KEY", "",
            "Path of an OpenPGP public key file to check the bootstrap with. Empty: Arch's release key, which comes with this module.",
            SettingCheck.Good)
        { Parameter = "ReleaseKey", Steps = [1], Kind = SettingKind.Path },
        new("BOOTSTRAP_PATH", "",
            "Path of a bootstrap archive that is here already, with its signature under the same name and .sig. Where the name does not "
            + "tell\n"
            + "the version, as archlinux-bootstrap-YYYY.MM.DD-x86_64.tar.zst does, give ARCH_VERSION too. Empty: download it.",
            SettingCheck.Good)
        { Parameter = "BootstrapPath", Steps = [1], Kind = SettingKind.Path },
        new("REUSE_DOCKER_IMAGE", "true",
            "Whether Docker images of an earlier build are used again: true or false.",
            Boolean),
        new("DISK_SIZE", "30720",
            "Size of the disk in MiB, a whole number without a unit, from 2048 to 4194304 (4 TiB). 30720 is 30 GiB.",
            DiskSize)
        { Parameter = "SizeMiB", Steps = [2] },
        new("BOOT_START", "2048",
            "Where the first partition starts, in sectors of 512 bytes: a multiple of 2048 (1 MiB), at most 65536.",
            BootStart)
        { Steps = [2] },
        new("ROOT_FILE_SYSTEM", "ext4",
            "The root file system: ext4 or btrfs.",
            OneOf("ext4", "btrfs"))
        { Parameter = "RootFileSystem", Steps = [2] },
        new("TARGET_LANG", "en_US.UTF-8",
            "The locale of the image, a UTF-8 one as /etc/locale.gen names it, such as de_DE.UTF-8.",
            Rule(SettingRules.IsLocale, "is not the name of a UTF-8 locale. Write it as /etc/locale.gen does, such as de_DE.UTF-8."))
        { Parameter = "Locale", Steps = [3], ScriptName = "ARCHAZURE_LOCALE" },
        new("TIME_ZONE", "UTC",
            "The time zone of the image, a name of the tz database such as Europe/Berlin.",
            Rule(SettingRules.IsTimeZone, "is not the name of a time zone. Write UTC or a name such as Europe/Berlin."))
        { Parameter = "TimeZone", Steps = [3], ScriptName = "ARCHAZURE_TIMEZONE" },
        new("KEYMAP", "us",
            "The keymap of the image's console, such as us or de-latin1.",
            Rule(SettingRules.IsWord, "is not the name of a keymap. Write one that 'localectl list-keymaps' shows, such as us."))
        { Parameter = "Keymap", Steps = [3], ScriptName = "ARCHAZURE_KEYMAP" },
        new("KERNEL", "linux",
            "The kernel package: linux or linux-lts.",
            OneOf("linux", "linux-lts"))
        { Parameter = "Kernel", Steps = [3], ScriptName = "ARCHAZURE_KERNEL" },
        new("PACKAGES", "",
            "More packages for the image. In settings.env separated by spaces, in quotes: \"vim htop\".",
            Packages)
        { Parameter = "Package", Steps = [3], Kind = SettingKind.Words },
        new("LAYERS", "",
            "Folders of your own layers, laid in this order after the module's own. In settings.env separated by ':' as in PATH (';' on\n"
            + "Windows), and relative paths start at that file's folder.",
            Layers)
        { Parameter = "Layer", Steps = [3], Kind = SettingKind.Paths },
        new("AGENT", "waagent",
            "Who provisions the machine: waagent, or cloud-init (with waagent for extensions).",
            OneOf("waagent", "cloud-init"))
        { Parameter = "Agent", Steps = [4] },
        new("RESOURCE_DISK_SWAP", "0",
            "Size in MiB of the swap file that the agent makes on the machine's resource disk (temporary disk), a multiple of 64; 0 for\n"
            + "none. Only with AGENT=waagent. It must fit on that disk; a machine size without one has no swap. The OS disk never has any.",
            ResourceDiskSwap)
        { Steps = [4], ScriptName = "ARCHAZURE_RESOURCE_DISK_SWAP" },
        new("WAAGENT_SOURCE", "https://github.com/Azure/WALinuxAgent",
            "Where the agent comes from: a git address, an archive or a folder.",
            Repository)
        { Parameter = "Source", Steps = [4], Kind = SettingKind.Repository },
        new("WAAGENT_COMMIT", "a976115fd7254f4f9f54cc33528f0817b07b7976",
            "The commit of the agent to take from a git address, all 40 digits. Not used for an archive or a folder.",
            v => SettingRules.IsCommit(v)
                ? SettingCheck.Good(v.ToLowerInvariant())
                : SettingCheck.Bad(
                    $"'{v}' is not a full commit id. Write all 40 digits: a branch or a short id could mean something else tomorrow."))
        { Parameter = "Commit", Steps = [4] },
        new("PACKAGE_CACHE", "",
            "Folder of the downloaded packages that builds share. Empty: archazure/packages in $XDG_CACHE_HOME or ~/.cache.",
            SettingCheck.Good)
        { Kind = SettingKind.Path },
        new("CHECKSUM", "false",
            "Whether the SHA-256 of the whole VHD is written to SHA256SUMS, for sha256sum --check: true or false. It takes about\n"
            + "20 seconds for 30 GiB, however little is in them.",
            Boolean)
        { Parameter = "Checksum" },
        new("COMPRESS", "false",
            "Whether the VHD is also written compressed, as NAME.vhd.zst next to it with its SHA-256 in SHA256SUMS, to keep or to pass\n"
            + "on: true or false. 'zstd -d' gives back the VHD, with its holes.",
            Boolean)
        { Parameter = "Compress" },
        new("REUSE_DHCLIENT", "true",
            "Has no use any more.",
            Boolean)
        {
            Obsolete = "REUSE_DHCLIENT has no use any more: the image gets its address by systemd-networkd, and no dhclient is built. "
                + "Remove the line.",
        },
    ];

    /// <summary>The living keys, in the same order.</summary>
    internal static IEnumerable<SettingDefinition> Living => All.Where(definition => definition.Obsolete is null);

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
            ? SettingCheck.Bad(
                "it holds a user name or a password, which would come into logs, build.json and the image. Remove them: use a server that "
                + "knows this machine without, or a local file.",
                "SettingHoldsSecret")
            : value.Length == 0 ? SettingCheck.Good(value) : _check(value);
    }

    /// <summary>A value whose paths are made absolute; addresses and words stay as they are.</summary>
    /// <param name="value">The value.</param>
    /// <param name="absolute">Makes one path absolute.</param>
    internal string WithPaths(string value, Func<string, string> absolute) => value.Length == 0 ? value : Kind switch
    {
        SettingKind.Path => absolute(value),
        SettingKind.Paths => string.Join(Path.PathSeparator, value.Split(Path.PathSeparator).Select(absolute)),
        SettingKind.Repository when !SettingRules.IsGitAddress(value) => absolute(value),
        _ => value,
    };

    private static Func<string, SettingCheck> Rule(Func<string, bool> isGood, string problem) =>
        value => isGood(value) ? SettingCheck.Good(value) : SettingCheck.Bad($"'{value}' {problem}");

    private static Func<string, SettingCheck> OneOf(params string[] allowed) =>
        Rule(value => allowed.Contains(value, StringComparer.Ordinal), $"is not possible. Write {string.Join(" or ", allowed)}.");

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
            return SettingCheck.Bad(
                "it has no $repo, so pacman could not find core and extra. Write it as in "
                + "https://mirror.example.org/archlinux/$repo/os/$arch.");
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
            return SettingCheck.Bad(
                $"'{value}' has a unit, but the size is counted in MiB and written without one: {remedy}", "SettingWrongUnit");
        }

        if (!Number(value, out var number))
        {
            return SettingCheck.Bad($"'{value}' is not a whole number of MiB. Write for example 30720 (30 GiB).");
        }

        if (number < SettingRules.MinimumDiskSizeMiB)
        {
            var hint = number is > 1 and <= 2048 ? $" If you meant {number} GiB, write {number * 1024}." : "";
            return SettingCheck.Bad(
                $"{number} MiB is too small for an Arch Linux with a kernel and the agent. Write {SettingRules.MinimumDiskSizeMiB} or "
                + $"more.{hint}");
        }

        return number > SettingRules.MaximumDiskSizeMiB
            ? SettingCheck.Bad(
                $"{number} MiB is more than the 4 TiB that Azure takes as an OS disk. Write at most {SettingRules.MaximumDiskSizeMiB}.")
            : SettingCheck.Good(number.ToString());
    }

    private static SettingCheck BootStart(string value)
    {
        if (SizeText.WithUnit(value) is { } size)
        {
            var remedy = size.MiB * SettingRules.SectorsPerMiB is { } sectors && SettingRules.IsBootStart(sectors)
                ? $"write {sectors} for {value}."
                : "write a multiple of 2048 up to 65536.";
            return SettingCheck.Bad(
                $"'{value}' has a unit, but the start is counted in sectors of 512 bytes and written without one: {remedy}",
                "SettingWrongUnit");
        }

        return Number(value, out var number) && SettingRules.IsBootStart(number)
            ? SettingCheck.Good(number.ToString())
            : SettingCheck.Bad(
                $"'{value}' is not a multiple of 2048 from 2048 to 65536. Partitions start at a whole MiB, which is 2048 sectors; write "
                + "2048 if in doubt.");
    }

    private static SettingCheck ResourceDiskSwap(string value)
    {
        if (SizeText.WithUnit(value) is { } size)
        {
            var remedy = size.MiB is { } whole && SettingRules.IsResourceDiskSwapMiB(whole)
                ? $"write {whole} for {value}."
                : $"write a multiple of 64 up to {SettingRules.MaximumResourceDiskSwapMiB}.";
            return SettingCheck.Bad(
                $"'{value}' has a unit, but the size is counted in MiB and written without one: {remedy}", "SettingWrongUnit");
        }

        return Number(value, out var number) && SettingRules.IsResourceDiskSwapMiB(number)
            ? SettingCheck.Good(number.ToString())
            : SettingCheck.Bad(
                $"'{value}' is not a multiple of 64 up to {SettingRules.MaximumResourceDiskSwapMiB}: the agent makes whole blocks of 64 "
                + "MiB. Write for example 2048 (2 GiB), or 0 for no swap.");
    }

    private static SettingCheck Packages(string value)
    {
        var names = value.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var bad = names.FirstOrDefault(n => !SettingRules.IsPackageName(n));
        return bad is null
            ? SettingCheck.Good(string.Join(' ', names))
            : SettingCheck.Bad(
                $"'{bad}' is not a package name (small letters, digits and @._+-, not starting with '-' or '.'). Write names separated by "
                + "spaces.");
    }

    private static SettingCheck Layers(string value)
    {
        var paths = value.Split(Path.PathSeparator);
        return value.Length > 0 && paths.Any(string.IsNullOrWhiteSpace)
            ? SettingCheck.Bad($"it has an empty path in it. Write paths separated by one '{Path.PathSeparator}'.")
            : SettingCheck.Good(value);
    }

    private static SettingCheck Repository(string value)
    {
        // A leading hyphen would be read as an option by git; "ext::" and the like make git run a command.
        if (value.StartsWith('-') || value.Contains("::", StringComparison.Ordinal))
        {
            return SettingCheck.Bad(
                $"'{value}' would be read by git as an option or a command. Write an address such as "
                + "https://github.com/Azure/WALinuxAgent, or a path.");
        }

        if (SettingRules.HoldsOption(value))
        {
            return SettingCheck.Bad(
                $"'{value}' has a host or user that ssh would read as an option. Write an address such as "
                + "https://github.com/Azure/WALinuxAgent, or a path.");
        }

        var scheme = value.IndexOf("://", StringComparison.Ordinal);
        if (SettingRules.IsGitAddress(value) && (scheme < 0 || value[..scheme] == "ssh"))
        {
            return SettingCheck.Bad(
                $"'{value}' is reached by ssh, which needs a key, and the builder has none. Write the repository's https:// address, or "
                + "clone it and write the path of the clone.");
        }

        return scheme < 0 || value[..scheme] is "https" or "http" or "git" or "file"
            ? SettingCheck.Good(value)
            : SettingCheck.Bad(
                $"'{value[..scheme]}' is not a way to reach a git repository. Write an address that starts with https://, http://, git:// "
                + "or file://, or a path.");
    }

    private static bool Number(string value, out long number) =>
        long.TryParse(value, System.Globalization.NumberStyles.None, null, out number);
}
