using ArchAzure.Readiness;
using ArchAzure.UnitTests.FileSystems;

namespace ArchAzure.UnitTests.Readiness;

/// <summary>The forecast of the Azure Marketplace's certification.</summary>
public sealed class CertificationTests : IDisposable
{
    private static readonly string[] s_knownToTheToolOnly = ["Cert50SecurityThreats"];

    private static readonly (string Check, string What, ReadinessOutcome Outcome, Action<ReadyImage> Apply)[] s_changes =
    [
        (
            "Cert48BashHistory", "long", ReadinessOutcome.Failed,
            image => image.Root["/home/ada/.bash_history"] = new string('x', 1025)),
        (
            "Cert39AgentVersion", "old", ReadinessOutcome.Failed,
            image => image.Root.Replace("/usr/lib/waagent/azurelinuxagent/common/version.py", "2.16.0.2", "2.2.40")),
        (
            "Cert39AgentVersion", "none", ReadinessOutcome.Failed,
            image => image.Root.Remove("/usr/lib/waagent/azurelinuxagent/common/version.py")),
        (
            "Cert40KernelParameters", "no rootdelay", ReadinessOutcome.Warning,
            image => image.Root.Replace("/boot/grub/grub.cfg", "rootdelay=300 ", "")),
        (
            "Cert40KernelParameters", "no console", ReadinessOutcome.Failed,
            image => image.Root.Replace("/boot/grub/grub.cfg", "console=ttyS0,115200n8 ", "")),
        ("Cert41SwapPartition", "in fstab", ReadinessOutcome.Failed, image => image.Root["/etc/fstab"] += "\n/swapfile none swap sw 0 0\n"),
        ("Cert44OpenSslVersion", "not seen", ReadinessOutcome.Unknown, image => image.Root.Remove("/usr/lib/libssl.so.3")),
        (
            "Cert44OpenSslVersion", "old", ReadinessOutcome.Failed,
            image =>
            {
                image.Root.Remove("/usr/lib/libssl.so.3");
                image.Root["/usr/lib/libssl.so.0.9.7"] = "ELF";
            }),
        ("Cert45PythonVersion", "none", ReadinessOutcome.Warning, image => image.Root.Remove("/usr/bin/python3.14")),
        (
            "Cert46ClientAliveInterval", "120", ReadinessOutcome.Warning,
            image => image.Root.Replace("/etc/ssh/sshd_config.d/10-azure.conf", "180", "120")),
        (
            "Cert46ClientAliveInterval", "240", ReadinessOutcome.Failed,
            image => image.Root.Replace("/etc/ssh/sshd_config.d/10-azure.conf", "180", "240")),
        ("Cert51AutoUpdate", "off", ReadinessOutcome.Warning, image => image.Root["/etc/waagent.conf"] += "AutoUpdate.Enabled=n\n"),
    ];

    private readonly TemporaryDirectory _work = new();

    public static TheoryData<string, string> Changes
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (var (check, what, _, _) in s_changes)
            {
                data.Add(check, what);
            }

            return data;
        }
    }

    public void Dispose() => _work.Dispose();

    [Fact]
    public async Task A_good_image_has_no_warning()
    {
        var results = await CheckAsync(new ReadyImage());
        Assert.Equal(12, results.Count);
        Assert.All(results, result => Assert.Equal(
            s_knownToTheToolOnly.Contains(result.Rule) ? ReadinessOutcome.Unknown : ReadinessOutcome.Passed, result.Verdict));
    }

    [Theory]
    [MemberData(nameof(Changes))]
    public async Task A_change_is_told_by_its_check(string check, string what)
    {
        var (_, _, outcome, apply) = s_changes.Single(change => change.Check == check && change.What == what);
        var image = new ReadyImage();
        apply(image);
        var results = await CheckAsync(image);
        Assert.Equal(outcome, results.Single(result => result.Rule == check).Verdict);
        Assert.DoesNotContain(results, result =>
            result.Rule != check && result.Verdict != ReadinessOutcome.Passed && !s_knownToTheToolOnly.Contains(result.Rule));
    }

    private Task<IReadOnlyList<ReadinessResult>> CheckAsync(ReadyImage image)
    {
        image.Write(_work["disk.vhd"]);
        return ReadinessCheck.RunAsync(_work["disk.vhd"], new() { Certification = true }, new RecordingReporter(), default);
    }
}
