using ArchAzure.FileSystems;
using ArchAzure.Readiness.Certification;
using ArchAzure.Readiness.Rules;
using ArchAzure.Vhd;

namespace ArchAzure.Readiness;

/// <summary>
/// Looks into a fixed VHD, without starting or mounting it, for all that Azure asks of a Linux image.
/// Needs no privilege but to read the file.
/// </summary>
internal static class ReadinessCheck
{
    private const string Activity = "Test-AzureVhd";

    private static readonly ReadinessRule[] s_rules =
    [
        new FixedVhdFooter(), new WholeMebibytes(), new DiskSize(),
        new PartitionTable(), new PartitionLayout(), new RootFileSystem(), new NoLogicalVolumes(), new NoSwap(),
        new BiosBoot(), new UefiBoot(), new SecureBoot(),
        new KernelCommandLine(), new GrubDefaults(), new RootArgument(),
        new InitramfsInit(), new RootModules(), new HyperVModules(), new NvmeModules(), new DvdModules(), new FileSystemModules(),
        new FloppyDisabled(), new EssentialModules(), new FstabIdentifiers(),
        new NetworkConfiguration(), new VirtualFunctionsUnmanaged(), new TcpKeepAlive(),
        new KvpDaemon(), new TimeSynchronized(),
        new SshEnabled(), new SshKeepAlive(), new SshRootLogin(), new SshPasswordPolicy(),
        new AgentInstalled(), new AgentEnabled(), new AgentConfigured(), new AgentUnprovisioned(),
        new MachineIdEmpty(), new NoSshHostKeys(), new NoAuthorizedKeys(), new NoPacmanKeyring(), new NoShellHistory(), new NoLogs(),
        new NoRandomSeed(), new NoBakedResolver(), new NoPackageCache(), new RootLocked(), new NoPasswords(), new NoUserAccounts(),
        new NoTargetPassword(), new NoSharedIdentities(), new NoHardwareAddresses(), new LogRotation(),
    ];

    /// <summary>Checks an image.</summary>
    /// <param name="vhdPath">A fixed VHD; it is only read.</param>
    /// <param name="options">What to check it for.</param>
    /// <param name="reporter">Is told about each rule.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    /// <returns>One result for each rule that applies, in the order in which the platform would meet them.</returns>
    /// <exception cref="ArchAzureException">
    /// The file is no whole fixed VHD: <c>VhdNotFound</c>, <c>NotAVhd</c>, <c>VhdxNotSupported</c>, <c>VhdNotFixed</c>, <c>VhdTruncated</c>
    /// or <c>DamagedVhdFooter</c>; or it cannot be read (<c>VhdNotReadable</c>).
    /// Whatever is wrong inside it is a result, not an error.
    /// </exception>
    public static Task<IReadOnlyList<ReadinessResult>> RunAsync(
        string vhdPath, ReadinessOptions options, IReporter reporter, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(vhdPath);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(reporter);
        if (options.Generation is not (null or 1 or 2))
        {
            throw new ArchAzureException(
                "GenerationUnknown",
                ErrorKind.InvalidInput,
                $"There is no generation {options.Generation} of virtual machines. Say 1, 2 or nothing for both.",
                options.Generation);
        }

        return Task.Run<IReadOnlyList<ReadinessResult>>(() => Run(vhdPath, options, reporter, cancellationToken), cancellationToken);
    }

    private static List<ReadinessResult> Run(
        string vhdPath, ReadinessOptions options, IReporter reporter, CancellationToken cancellationToken)
    {
        try
        {
            var footer = FixedVhd.ReadFooter(vhdPath);
            using var stream = new FileStream(vhdPath, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            var disk = new CheckedDisk(stream, footer, options, new ReadBudget(options.Limits, cancellationToken: cancellationToken));
            return Run(disk, vhdPath, reporter, cancellationToken);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new ArchAzureException(
                "VhdNotReadable",
                ErrorKind.PermissionDenied,
                $"'{vhdPath}' may not be read: {e.Message} Get read access to it.",
                vhdPath,
                e);
        }
        catch (IOException e)
        {
            throw new ArchAzureException(
                "VhdNotReadable",
                ErrorKind.ResourceUnavailable,
                $"'{vhdPath}' cannot be read: {e.Message} Check its disk, or copy it.",
                vhdPath,
                e);
        }
    }

    private static List<ReadinessResult> Run(CheckedDisk disk, string vhdPath, IReporter reporter, CancellationToken cancellationToken)
    {
        var name = Path.GetFileName(vhdPath);
        var rules = (disk.Options.Certification ? CertificationCheck.All : s_rules).Where(rule => rule.AppliesTo(disk.Options)).ToList();
        var results = new List<ReadinessResult>(rules.Count);
        foreach (var rule in rules)
        {
            cancellationToken.ThrowIfCancellationRequested();
            reporter.Progress(new(Activity, $"{name}: {rule.Name}", results.Count * 100 / rules.Count, Minor: true));
            disk.Budget.BeginShare();
            if (Check(rule, disk, cancellationToken) is not { } finding)
            {
                continue;
            }

            var found = Readable(finding.Found);
            results.Add(new()
            {
                Rule = rule.Name, Outcome = finding.Outcome.ToString(), Found = found, Wanted = rule.Wanted, Remedy = finding.Remedy,
                Source = rule.Source, VhdPath = vhdPath,
            });
            reporter.Verbose($"{rule.Name}: {finding.Outcome}: {found}");
        }

        reporter.Progress(new(Activity, name, 100, Completed: true));
        return ToldOnce(results);
    }

    /// <summary>Asks one rule: whatever happens to it but a cancellation becomes its result; null where it does not apply.</summary>
    internal static Finding? Check(ReadinessRule rule, CheckedDisk disk, CancellationToken cancellationToken)
    {
        try
        {
            return rule.AppliesTo(disk) ? rule.Check(disk) : null;
        }
        catch (ArchAzureException e)
        {
            return new(ReadinessOutcome.Unknown, e.Message, Remedy: null);
        }
        catch (OutOfMemoryException)
        {
            return new(
                ReadinessOutcome.Unknown,
                "The image cannot be looked into: there was not enough memory for it. Check it by hand, or on a machine with more memory.",
                Remedy: null);
        }
        catch (IOException e)
        {
            return new(ReadinessOutcome.Unknown, $"The VHD cannot be read: {e.Message} Check its disk, or copy it.", Remedy: null);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            // A fault of ours in one rule is no reason to lose what the others found.
            return new(
                ReadinessOutcome.Unknown, $"The rule itself failed ({e.GetType().Name}: {e.Message}) Please report this.", Remedy: null);
        }
    }

    /// <summary>One cause may blind many rules: the first of them tells it and names the others, which refer to it.</summary>
    private static List<ReadinessResult> ToldOnce(List<ReadinessResult> results)
    {
        var causes = results.Where(result => result.Verdict == ReadinessOutcome.Unknown)
            .GroupBy(result => result.Found, StringComparer.Ordinal)
            .Where(group => group.Skip(1).Any())
            .ToDictionary(group => group.Key, group => group.Select(result => result.Rule).ToList(), StringComparer.Ordinal);
        return results.ConvertAll(result =>
            result.Verdict != ReadinessOutcome.Unknown || !causes.TryGetValue(result.Found, out var rules) ? result
                : result.Rule != rules[0] ? result with { Found = $"see {rules[0]}" }
                : result with { Found = $"{result.Found} So these are unknown too: {string.Join(", ", rules.Skip(1))}." });
    }

    /// <summary>What was found as a line of a table: the image's own words may be long, and may hold commands for a terminal.</summary>
    private static string Readable(string found)
    {
        const int Most = 4000;
        return ArchAzureException.Showable(found.Length <= Most ? found : $"{found[..Most]}... ({found.Length - Most} more characters)");
    }
}
