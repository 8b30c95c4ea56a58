using System.Diagnostics.CodeAnalysis;
using System.Management.Automation;
using ArchAzure.Builds;
using ArchAzure.IO;
using ArchAzure.Machines;
using ArchAzure.Readiness;
using ArchAzure.SimulatedAzure;
using ArchAzure.Vhd;

namespace ArchAzure.PowerShell.Commands;

/// <summary>Checks a VHD by every readiness rule, or boots it against the simulated Azure.</summary>
[Cmdlet(VerbsDiagnostic.Test, "AzureVhd", DefaultParameterSetName = ByRules)]
[OutputType(typeof(ReadinessResult), ParameterSetName = [ByRules, ByRulesLiteral])]
[OutputType(typeof(BootReport), ParameterSetName = [ByBoot, ByBootLiteral])]
[OutputType(typeof(bool))]
[SuppressMessage("Performance", "CA1819", Justification = "Cmdlet parameters are arrays.")]
public sealed class TestAzureVhdCommand : EngineCmdlet
{
    private const string ByRules = "Rules";
    private const string ByRulesLiteral = "RulesLiteralPath";
    private const string ByBoot = "Boot";
    private const string ByBootLiteral = "BootLiteralPath";

    private readonly Dictionary<string, int> _totals = new(StringComparer.Ordinal);
    private bool _passed = true;

    /// <summary>Fixed VHDs; they are only read. Wildcards are allowed.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ParameterSetName = ByRules)]
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ParameterSetName = ByBoot)]
    [ValidateNotNullOrEmpty]
    [SupportsWildcards]
    [BuildToVhd]
    public string[] Path { get; set; } = [];

    /// <summary>Fixed VHDs whose names are taken as they are.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = ByRulesLiteral)]
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = ByBootLiteral)]
    [Alias("VhdPath", "PSPath")]
    [ValidateNotNullOrEmpty]
    public string[] LiteralPath { get; set; } = [];

    /// <summary>Boot the image in a virtual machine with a provisioning DVD, a wire server and instance metadata.</summary>
    [Parameter(Mandatory = true, ParameterSetName = ByBoot)]
    [Parameter(Mandatory = true, ParameterSetName = ByBootLiteral)]
    public SwitchParameter Boot { get; set; }

    /// <summary>Forecast the Azure Marketplace's certification instead.</summary>
    [Parameter(ParameterSetName = ByRules)]
    [Parameter(ParameterSetName = ByRulesLiteral)]
    public SwitchParameter Certification { get; set; }

    /// <summary>With -Quiet: true although some rules could not see what they ask for.</summary>
    [Parameter(ParameterSetName = ByRules)]
    [Parameter(ParameterSetName = ByRulesLiteral)]
    public SwitchParameter AllowUnknown { get; set; }

    /// <summary>The generations of virtual machines: 1 (BIOS, IDE), 2 (UEFI, SCSI), or both.</summary>
    [Parameter]
    [ValidateSet("1", "2")]
    public int[] Generation { get; set; } = [1, 2];

    /// <summary>The disk controllers: IDE (generation 1), SCSI or NVMe (generation 2), or some of them.</summary>
    [Parameter(ParameterSetName = ByBoot)]
    [Parameter(ParameterSetName = ByBootLiteral)]
    public DiskController[]? DiskController { get; set; }

    /// <summary>The limit of one boot, in seconds.</summary>
    [Parameter(ParameterSetName = ByBoot)]
    [Parameter(ParameterSetName = ByBootLiteral)]
    [ValidateRange(10, 86400)]
    public int Timeout { get; set; } = 600;

    /// <summary>A folder that keeps the serial log and the picture of the screen.</summary>
    [Parameter(ParameterSetName = ByBoot)]
    [Parameter(ParameterSetName = ByBootLiteral)]
    [ValidateNotNullOrEmpty]
    public string? KeepLog { get; set; }

    /// <summary>The disk's size in the virtual machine, in MiB, at least the image's: shows whether the root file system grows.</summary>
    [Parameter(ParameterSetName = ByBoot)]
    [Parameter(ParameterSetName = ByBootLiteral)]
    [ValidateRange(1, 4 << 20)]
    public int DiskSizeMiB { get; set; }

    /// <summary>
    /// Which QEMU runs the machine: the host's, one in a container made from the builder image, or the first that there is.
    /// </summary>
    [Parameter(ParameterSetName = ByBoot)]
    [Parameter(ParameterSetName = ByBootLiteral)]
    public QemuSource Qemu { get; set; }

    /// <summary>The work directory of the build whose builder image brings QEMU; the VHD's own folder if not given.</summary>
    [Parameter(ParameterSetName = ByBoot, ValueFromPipelineByPropertyName = true)]
    [Parameter(ParameterSetName = ByBootLiteral, ValueFromPipelineByPropertyName = true)]
    [ValidateNotNullOrEmpty]
    public string? WorkDirectory { get; set; }

    /// <summary>Only tell whether all is well: true or false.</summary>
    [Parameter]
    public SwitchParameter Quiet { get; set; }

    /// <inheritdoc/>
    protected override void Process()
    {
        foreach (var path in Files())
        {
            if (Boot)
            {
                BootImage(path);
            }
            else
            {
                CheckRules(path);
            }
        }
    }

    /// <summary>The files that are meant; what is missing becomes an error, and the others have their turn.</summary>
    private IEnumerable<string> Files()
    {
        foreach (var path in LiteralPath)
        {
            yield return FilePath(path);
        }

        foreach (var path in Path)
        {
            if (!WildcardPattern.ContainsWildcardCharacters(path))
            {
                yield return FilePath(WildcardPattern.Unescape(path));
                continue;
            }

            var found = SessionState.Path.GetResolvedProviderPathFromPSPath(path, out _);
            if (found.Count == 0)
            {
                Fail(new ArchAzureException("VhdNotFound", ErrorKind.NotFound, $"No file matches '{path}'.", path));
            }

            foreach (var file in found)
            {
                yield return file;
            }
        }
    }

    /// <summary>A build stands for its VHD; one that has none yet is told so.</summary>
    [AttributeUsage(AttributeTargets.Property)]
    private sealed class BuildToVhdAttribute : ArgumentTransformationAttribute
    {
        /// <inheritdoc/>
        public override object Transform(EngineIntrinsics engineIntrinsics, object inputData) =>
            (inputData is PSObject wrapped ? wrapped.BaseObject : inputData) is not ArchBuild build ? inputData
                : build.VhdPath is { } path ? WildcardPattern.Escape(path)
                : throw new ArgumentTransformationMetadataException(
                    $"The build in '{build.WorkDirectory}' has no VHD yet. Run ConvertTo-AzureVhd, or Invoke-ArchBuild, first.");
    }

    private void Fail(ArchAzureException error)
    {
        _passed = false;
        WriteError(ErrorRecords.From(error));
    }

    /// <inheritdoc/>
    protected override void Finish()
    {
        if (Quiet)
        {
            WriteObject(_passed);
        }
        else if (_totals.Count > 0 && MyInvocation.PipelinePosition == MyInvocation.PipelineLength)
        {
            // The end of a table; what goes on through the pipe has no use for it.
            var totals = Enum.GetNames<ReadinessOutcome>().Where(_totals.ContainsKey)
                .Select(outcome => $"{_totals[outcome]} {outcome.ToLowerInvariant()}");
            Tell($"{_totals.Values.Sum()} rules: {string.Join(", ", totals)}.");
        }
    }

    private void CheckRules(string path)
    {
        var options = new ReadinessOptions
        {
            Generation = Generation.Distinct().Count() == 1 ? Generation[0] : null, Certification = Certification,
        };
        if (!TryRun((reporter, token) => ReadinessCheck.RunAsync(path, options, reporter, token), out var results))
        {
            _passed = false;
            return;
        }

        _passed &= results.All(
            result => result.Verdict is ReadinessOutcome.Passed or ReadinessOutcome.Warning
                || (AllowUnknown && result.Verdict == ReadinessOutcome.Unknown));
        if (!Quiet)
        {
            foreach (var result in results)
            {
                _totals[result.Outcome] = _totals.GetValueOrDefault(result.Outcome) + 1;
            }

            WriteObject(results, enumerateCollection: true);
        }
    }

    private void BootImage(string path)
    {
        var machines = Machines();
        var size = Run(() => FixedVhd.ReadFooter(path)).CurrentSize;
        if (DiskSizeMiB != 0 && (long)DiskSizeMiB << 20 < size)
        {
            ThrowTerminatingError(ErrorRecords.From(new ArchAzureException(
                "DiskSizeTooSmall",
                ErrorKind.InvalidInput,
                $"A disk of {DiskSizeMiB} MiB cannot hold the image '{path}', which has {size >> 20} MiB. Say -DiskSizeMiB {size >> 20} or "
                + "more, or leave it out.",
                DiskSizeMiB)));
        }

        var workDirectory = WorkDirectory is null ? null : FilePath(WorkDirectory);
        using var launcher = Run((reporter, token) => QemuChoice.FindAsync(Qemu, path, workDirectory, reporter, token));
        var kept = KeepLog is null ? null : FilePath(KeepLog);
        using var temporary = kept is null ? Run(() => TemporaryFolder.Create("archazure-boot-")) : null;
        var folder = kept ?? temporary!.Directory.FullName;
        var failed = false;
        try
        {
            foreach (var report in machines.Chunk(AtATime(machines.Count)).SelectMany(
                some => Run((reporter, token) => Task.WhenAll(some.Select(machine => BootAsync(machine, reporter, token))))))
            {
                failed |= !report.Passed;
                if (!Quiet)
                {
                    WriteObject(report);
                    if (!report.Passed)
                    {
                        WriteError(ErrorRecords.From(new ArchAzureException(report.ErrorId!, ErrorKind.InvalidData, report.Error!, path)));
                    }
                }
            }
        }
        finally
        {
            _passed &= !failed;

            // Of a failed boot the logs are the only trace: they stay, and the error names them.
            if (failed)
            {
                temporary?.Keep();
            }
        }

        Task<BootReport> BootAsync((int Generation, DiskController Controller) machine, IReporter reporter, CancellationToken token) =>
            new BootTest(
                launcher,
                new BootTestOptions(path, machine.Generation)
                {
                    DiskController = machine.Controller,
                    Timeout = TimeSpan.FromSeconds(Timeout),
                    LogDirectory = folder,
                    DiskSizeMiB = DiskSizeMiB == 0 ? null : DiskSizeMiB,
                },
                reporter).RunAsync(token);
    }

    /// <summary>The machines to boot: each generation with its own controller, or with those that were named.</summary>
    private List<(int Generation, DiskController Controller)> Machines()
    {
        if (DiskController is null)
        {
            return [.. Generation.Distinct().Select(generation => (generation, DiskControllers.Of(generation)))];
        }

        var machines = DiskController.Distinct()
            .Select(controller => (Generation: controller.Generation(), Controller: controller))
            .ToList();
        if (MyInvocation.BoundParameters.ContainsKey(nameof(Generation))
            && machines.Select(machine => machine.Generation).Except(Generation).ToList() is [var other, ..])
        {
            ThrowTerminatingError(ErrorRecords.From(new ArchAzureException(
                "ControllerOfOtherGeneration",
                ErrorKind.InvalidInput,
                $"{machines.First(machine => machine.Generation == other).Controller} is a disk controller of generation {other}: IDE is "
                + "generation 1's, SCSI and NVMe are generation 2's. Leave out -Generation, or name it too.",
                DiskController)));
        }

        return machines;
    }

    /// <summary>How many of the machines boot at a time: each has two processors and 1 GiB. With fewer, both would be slower.</summary>
    private static int AtATime(int machines) =>
        Environment.ProcessorCount >= 2 * machines && GC.GetGCMemoryInfo().TotalAvailableMemoryBytes >= (4L << 30) ? machines : 1;
}
