using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Certification;

/// <summary>
/// One of the checks of the tool that certifies images for the Azure Marketplace, forecast from what is in the image; its class has the
/// check's number in its name. What only the tool itself can know is unknown.
/// </summary>
internal abstract class CertificationCheck : ReadinessRule
{
    /// <remarks>The numbers, texts and values are those of its sample answers.</remarks>
    public override string Source => "https://learn.microsoft.com/azure/marketplace/azure-vm-image-test";

    /// <summary>All, in the tool's order.</summary>
    public static IReadOnlyList<ReadinessRule> All { get; } =
    [
        new Cert48BashHistory(), new Cert39AgentVersion(), new Cert40KernelParameters(), new Cert41SwapPartition(),
        new Cert42RootPartition(), new Cert44OpenSslVersion(), new Cert45PythonVersion(), new Cert46ClientAliveInterval(),
        new Cert49Architecture(), new Cert50SecurityThreats(), new Cert51AutoUpdate(), new Cert52SackPatch(),
    ];

    /// <summary>The numbers of a version such as 2.16.0.2 or 3.14, or null.</summary>
    protected static Version? ParseVersion(string text) => Version.TryParse(text, out var version) ? version : null;
}

/// <summary>"Bash history files should be cleared before creating the VM image": none over 1 KiB.</summary>
internal sealed class Cert48BashHistory : CertificationCheck
{
    private const int Most = 1024;

    public override string Wanted => $"no shell history of more than {Most} bytes";

    public override Finding Check(CheckedDisk disk) =>
        PassIfNone(
            [
                .. new[] { "/root", "/home/*" }.SelectMany(home => Glob.Expand(disk.Root, home + "/.*history"))
                    .Where(path => disk.Root.GetStatus(path) is { Size: > Most }),
            ],
            "none",
            "Remove them.");
}

/// <summary>"Azure Linux Agent Version 2.2.41 and above should be installed."</summary>
internal sealed class Cert39AgentVersion : CertificationCheck
{
    private static readonly Version s_least = new(2, 2, 41);

    private static readonly string[] s_folders =
    [
        "/usr/lib/waagent", "/usr/lib/python*/site-packages", "/usr/lib/python*/dist-packages", "/usr/local/lib/python*/site-packages",
        "/usr/local/lib/python*/dist-packages",
    ];

    public override string Wanted => $"version {s_least} or newer of the Azure Linux agent";

    public override Finding Check(CheckedDisk disk)
    {
        const string Remedy = "Install a newer WALinuxAgent (Install-WaAgent).";
        const string Key = "AGENT_VERSION = '";
        var files = s_folders.SelectMany(folder => Glob.Expand(disk.Root, folder + "/azurelinuxagent/common/version.py")).ToList();
        var line = files.SelectMany(disk.Root.ReadLines).FirstOrDefault(line => line.StartsWith(Key, StringComparison.Ordinal));
        return line is null ? files.Count == 0 ? Fail("no agent", Remedy) : Unknown($"{files[0]} does not tell its version")
            : ParseVersion(line[Key.Length..].TrimEnd('\'', ' ')) is not { } version ? Unknown($"the agent says {line}")
            : version >= s_least ? Pass($"{version}") : Fail($"{version}", Remedy);
    }
}

/// <summary>"Verifies that the following kernel parameters are set": the console is needed, what else is missing is warned of.</summary>
internal sealed class Cert40KernelParameters : CertificationCheck
{
    private static readonly string[] s_wanted = ["console=ttyS0", "earlyprintk=ttyS0", "rootdelay=300"];

    public override string Wanted => string.Join(' ', s_wanted);

    public override Finding Check(CheckedDisk disk)
    {
        const string Remedy = "Add it to the kernel's command line.";
        var missing = s_wanted.Where(wanted => !disk.Boot.Arguments.Any(argument =>
            argument == wanted || argument.StartsWith(wanted + ",", StringComparison.Ordinal))).ToList();
        return missing.Count == 0 ? Pass(string.Join(' ', disk.Boot.Arguments))
            : missing.Contains(s_wanted[0]) ? Fail($"{string.Join(", ", missing)} missing", Remedy)
            : Warn($"{string.Join(", ", missing)} missing", Remedy);
    }
}

/// <summary>"Verifies that no Swap partitions are created on the OS disk."</summary>
internal sealed class Cert41SwapPartition : CertificationCheck
{
    private static readonly Rules.NoSwap s_rule = new();

    public override string Wanted => s_rule.Wanted;

    public override Finding Check(CheckedDisk disk) => s_rule.Check(disk);
}

/// <summary>"It is recommended that a single root partition is created for the OS disk."</summary>
internal sealed class Cert42RootPartition : CertificationCheck
{
    public override string Wanted => "one root partition";

    public override Finding Check(CheckedDisk disk)
    {
        var roots = disk.RootCandidates();
        var found = $"{roots.Count} ({string.Join(", ", roots.Select(root => $"partition {root.Number}"))})";
        return roots.Count == 1 ? Pass(found) : Warn(found, "Partition the disk again, with one root.");
    }
}

/// <summary>"OpenSSL Version should be >=0.9.8."</summary>
internal sealed class Cert44OpenSslVersion : CertificationCheck
{
    private const string Library = "libssl.so.";
    private static readonly Version s_least = new(0, 9, 8);

    public override string Wanted => $"OpenSSL {s_least} or newer";

    public override Finding Check(CheckedDisk disk)
    {
        var library = new[] { "/usr/lib/", "/usr/lib64/", "/usr/lib/*/" }
            .SelectMany(folder => Glob.Expand(disk.Root, $"{folder}{Library}*"))
            .FirstOrDefault();
        if (library is null)
        {
            return Unknown($"no {Library}N, which would tell");
        }

        var number = library[(library.LastIndexOf(Library, StringComparison.Ordinal) + Library.Length)..];
        var version = ParseVersion(number.Contains('.', StringComparison.Ordinal) ? number : number + ".0");
        return version is null ? Unknown(library)
            : version >= s_least ? Pass(library) : Fail(library, "Install a newer OpenSSL.");
    }
}

/// <summary>"Python version 2.6+ is highly recommended."</summary>
internal sealed class Cert45PythonVersion : CertificationCheck
{
    private const string Program = "/usr/bin/python";
    private static readonly Version s_least = new(2, 6);

    public override string Wanted => $"Python {s_least} or newer";

    public override Finding Check(CheckedDisk disk)
    {
        var versions = Glob.Expand(disk.Root, $"{Program}?.*")
            .Select(path => ParseVersion(path[Program.Length..]))
            .OfType<Version>()
            .ToList();
        return versions.Count > 0 && versions.Max() >= s_least
            ? Pass($"{versions.Max()}")
            : Warn(versions.Count == 0 ? "none" : $"{versions.Max()}", "Install a newer Python.");
    }
}

/// <summary>"It is recommended to set ClientAliveInterval to 180. On the application need, it can be set between 30 to 235."</summary>
internal sealed class Cert46ClientAliveInterval : CertificationCheck
{
    private const int Recommended = 180;
    private static readonly Rules.SshKeepAlive s_rule = new();

    public override string Wanted => $"ClientAliveInterval {Recommended}";

    public override Finding Check(CheckedDisk disk)
    {
        var finding = s_rule.Check(disk);
        return finding.Outcome != ReadinessOutcome.Passed
            || disk.Sshd.All("ClientAliveInterval").All(setting => SshdConfiguration.ParseTime(setting.Value) == Recommended)
            ? finding
            : Warn(finding.Found, $"Write ClientAliveInterval {Recommended}, if nothing speaks against it.");
    }
}

/// <summary>"Only 64-bit operating system should be supported."</summary>
internal sealed class Cert49Architecture : CertificationCheck
{
    public override string Wanted => "a 64-bit kernel";

    public override Finding Check(CheckedDisk disk)
    {
        using var kernel = disk.Boot.Kernel.Open();
        return KernelFile.Is64Bit(kernel)
            ? Pass($"{disk.Boot.Kernel.Path} is for x86_64")
            : Fail($"{disk.Boot.Kernel.Path} is no kernel for x86_64", "Install one.");
    }
}

/// <summary>"Identifies OS with recent high profile vulnerability that may need patching."</summary>
internal sealed class Cert50SecurityThreats : CertificationCheck
{
    public override string Wanted => "no operating system on the tool's list";

    public override Finding Check(CheckedDisk disk) => Unknown("the tool compares the system's name with a list of its own");
}

/// <summary>"Identifies if Linux Agent Auto Update is enabled or not."</summary>
internal sealed class Cert51AutoUpdate : CertificationCheck
{
    public override string Wanted => "the agent updates itself";

    public override Finding Check(CheckedDisk disk)
    {
        if (!disk.Root.FileExists(Agents.Configuration))
        {
            return Fail($"no {Agents.Configuration}", "Install WALinuxAgent (Install-WaAgent).");
        }

        // On, where it is not set.
        var settings = Agents.ReadConfiguration(disk.Root);
        var off = new[] { "AutoUpdate.Enabled", "AutoUpdate.UpdateToLatestVersion" }
            .Where(key => settings.GetValueOrDefault(key, "y").ToLowerInvariant() is not ("y" or "yes" or "true")).ToList();
        return off.Count == 0 ? Pass("it does") : Warn($"{string.Join(", ", off)} is off", $"Correct {Agents.Configuration}.");
    }
}

/// <summary>"Checks if the running Kernel Version has SACK vulnerability patch" (CVE-2019-11477): all since 5.1.11 have.</summary>
internal sealed class Cert52SackPatch : CertificationCheck
{
    private static readonly Version s_least = new(5, 2);

    public override string Wanted => "a kernel with the patches for CVE-2019-11477, -11478 and -11479";

    public override Finding Check(CheckedDisk disk)
    {
        var numbers = disk.Modules.Release.Split('.', '-', '+');
        return numbers.Length < 2 || ParseVersion($"{numbers[0]}.{numbers[1]}") is not { } version ? Unknown(disk.Modules.Release)
            : version >= s_least ? Pass(disk.Modules.Release)
            : Unknown($"{disk.Modules.Release}: the tool knows which packages of old kernels have them");
    }
}
