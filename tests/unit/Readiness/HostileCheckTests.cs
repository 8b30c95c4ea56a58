using System.Text;
using ArchAzure.FileSystems;
using ArchAzure.Readiness;
using ArchAzure.UnitTests.FileSystems;
using ArchAzure.Vhd;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Readiness;

/// <summary>
/// Images made to take the memory or the hour of the whole check: it gives every result, says which limit ended a rule, and what the
/// rest of the image is like. Each is checked in a process of its own.
/// </summary>
public sealed class HostileCheckTests(ITestOutputHelper output) : IDisposable
{
    private const long MiB = 1 << 20;
    private const long MostMemory = 256 * MiB;

    // The check itself stops after 18 s; the rest is for a busy machine.
    private const double MostSeconds = 30;

    private const string Memory = "MiB of texts and names";
    private const string Bytes = "MiB read and unpacked";
    private const string Lookups = "steps along paths";
    private const string Matches = "matches of patterns";

    private static readonly string[] s_ofModules =
        ["DvdModules", "EssentialModules", "FileSystemModules", "FloppyDisabled", "HyperVModules", "NvmeModules", "RootModules"];
    private static readonly string[] s_ofInitramfs = ["DvdModules", "HyperVModules", "InitramfsInit", "NvmeModules", "RootModules"];
    private static readonly string[] s_ofBoot = [.. s_ofModules, "InitramfsInit", "KernelCommandLine", "RootArgument"];
    private static readonly string[] s_ofSshd = ["SshKeepAlive", "SshPasswordPolicy", "SshRootLogin"];
    private static readonly string[] s_ofNetwork = ["NetworkConfiguration", "VirtualFunctionsUnmanaged"];
    private static readonly string[] s_ofHomes = ["NoAuthorizedKeys", "NoShellHistory"];

    private readonly TemporaryDirectory _work = new();

    public static TheoryData<string> Images => [.. All.Select(image => image.What)];

    private static (string What, string Limit, string[] Rules, Action<ReadyImage, TemporaryDirectory> Make)[] All =>
    [
        (
            "grub.cfg whose variable doubles",
            Memory,
            s_ofBoot,
            (image, _) => BeforeGrub(image, "x=0123456789abcdef\n" + Repeat("x=$x$x\n", 100_000))),
        (
            "grub.cfg with many long variables",
            Memory,
            s_ofBoot,
            (image, _) =>
                BeforeGrub(image, $"x={new string('x', 60_000)}\n" + string.Concat(Enumerable.Range(0, 70_000).Select(i => $"a{i}=$x\n")))),
        (
            "initramfs with long names, listed often",
            Memory,
            s_ofInitramfs,
            (image, work) => Initrd(image, work, "zstd", WriteLongNames, times: 20)),
        (
            "initramfs with many names",
            Memory,
            s_ofInitramfs,
            (image, work) => Initrd(image, work, "zstd", stream => WriteNames(stream, 300_000, i => $"{i}", mode: 0), times: 1)),
        ("initramfs with deep names", Lookups, s_ofInitramfs, (image, work) => Initrd(image, work, "zstd", WriteDeepNames, times: 1)),
        (
            "initramfs of zeros, zstd",
            Bytes,
            s_ofInitramfs,
            (image, work) => Initrd(image, work, "zstd", stream => WriteZeros(stream, 2048), times: 1)),
        (
            "initramfs of zeros, gzip",
            Bytes,
            s_ofInitramfs,
            (image, work) => Initrd(image, work, "gzip", stream => WriteZeros(stream, 2048), times: 1)),
        (
            "initramfs with the longest window",
            Bytes,
            s_ofInitramfs,
            (image, work) => Initrd(image, work, "zstd", stream => WriteZeros(stream, 2048), times: 1, "--long=27")),
        (
            "initramfs with one long file",
            Bytes,
            s_ofInitramfs,
            (image, work) =>
                Initrd(
                    image, work, "zstd", stream => { WriteEntry(stream, "a", 0x81A4, 2047 << 20); WriteZeros(stream, 2047); }, times: 1)),
        (
            "initramfs listed 1000 times",
            Bytes,
            s_ofInitramfs,
            (image, work) =>
                Initrd(
                    image,
                    work,
                    "zstd",
                    stream => { WriteEntry(stream, "a", 0x81A4, 4 << 20); WriteZeros(stream, 4); WriteEntry(stream, "TRAILER!!!", 0, 0); },
                    times: 1000)),
        ("initramfs that is one hole", Bytes, s_ofInitramfs, (image, _) => AddFile(image, "/boot/hole", file => file.SetLength(64L << 30))),
        ("sshd_config that includes 1 MiB 990 times", Memory, s_ofSshd, (image, _) =>
        {
            image.Root["/etc/ssh/long.conf"] = Repeat("Port 22\n", (1 << 17) - 10);
            image.Root["/etc/ssh/sshd_config"] = Repeat("Include long.conf\n", 990) + image.Root["/etc/ssh/sshd_config"];
        }),
        ("nested pattern over a directory that holds itself", Matches, s_ofSshd, (image, _) =>
        {
            image.Root["/etc/ssh/sshd_config"] = "Include /loop/*/*/*/*/*/*/*/*\n";
            Loop(image, "/loop", 10, 1);
        }),
        ("pattern of many stars", " s for one rule", s_ofSshd, (image, _) =>
        {
            image.Root["/etc/ssh/sshd_config"] = $"Include /loop/*/*/{Repeat("*a", 1500)}b\n";
            Loop(image, "/loop", 100, 240);
        }),
        ("logs in a directory that holds itself", Memory, ["NoLogs"], (image, _) => Loop(image, "/var/log", 4000, 240)),
        ("modules.dep with one long line", Lookups, ["FileSystemModules"], (image, _) =>
        {
            image.Root[$"/usr/lib/modules/{ReadyImage.Release}/a"] = "a";
            var modules = $"/usr/lib/modules/{ReadyImage.Release}/modules.dep";
            image.Root[modules] = image.Root[modules]
                .Replace("vfat.ko.zst:", "vfat.ko.zst:" + Repeat(" a", 2 << 20), StringComparison.Ordinal);
        }),
        (
            "modules.dep with many lines",
            Memory,
            s_ofModules,
            (image, _) =>
                image.Root[$"/usr/lib/modules/{ReadyImage.Release}/modules.dep"] += string.Concat(Enumerable.Range(0, 600_000)
                    .Select(i => $"{i:x}.ko:\n"))),
        ("drop-ins shared by many networks", Lookups, s_ofNetwork, (image, _) =>
        {
            for (var i = 0; i < 900; i++)
            {
                image.Root[$"/etc/shared/{i}.conf"] = "#";
                image.Root[$"/etc/systemd/network/{i}.network"] = "[Match]\nName=other\n";
                image.Root.Link($"/etc/systemd/network/{i}.network.d", "/etc/shared");
            }
        }),
        ("long drop-ins shared by many networks", Memory, s_ofNetwork, (image, _) =>
        {
            image.Root["/etc/shared/long.conf"] = Repeat("a=b\n", 250_000);
            for (var i = 0; i < 900; i++)
            {
                image.Root[$"/etc/systemd/network/{i}.network"] = "[Match]\nName=other\n";
                image.Root.Link($"/etc/systemd/network/{i}.network.d", "/etc/shared");
            }
        }),
        ("homes behind long links", Lookups, s_ofHomes, (image, _) =>
        {
            for (var i = 0; i < 39; i++)
            {
                image.Root.Link($"/chain/{i}", Repeat("./", 450) + (i + 1));
            }

            image.Root.Folder("/chain/39");
            for (var i = 0; i < 500; i++)
            {
                image.Root.Link($"/home/{i}", "/chain/0");
            }
        }),
    ];

    public void Dispose() => _work.Dispose();

    [Theory]
    [MemberData(nameof(Images))]
    public void The_limit_is_named_and_the_other_rules_answer(string what)
    {
        var (_, limit, rules, make) = All.Single(image => image.What == what);
        var image = new ReadyImage();
        make(image, _work);
        image.Write(_work["disk.vhd"]);

        var report = CheckReport.Of(_work["disk.vhd"]);

        output.WriteLine($"| {what} | {report.PeakBytes / MiB} MiB | {report.Seconds:0.0} s | {limit.Trim()} |");
        Assert.Equal(ReadyImage.Rules, report.Results.Count);
        Assert.Equal(
            rules.Order(StringComparer.Ordinal),
            report.Results.Where(result => result.Verdict != ReadinessOutcome.Passed)
                .Select(result => result.Rule)
                .Order(StringComparer.Ordinal));
        Assert.All(report.Results.Where(result => result.Verdict != ReadinessOutcome.Passed), result =>
        {
            Assert.Equal(ReadinessOutcome.Unknown, result.Verdict);
            Assert.Contains("the check stops after ", Told(result, report.Results), StringComparison.Ordinal);
            Assert.Contains(limit, Told(result, report.Results), StringComparison.Ordinal);
        });
        Assert.InRange(report.PeakBytes, 0, MostMemory);
        Assert.InRange(report.Seconds, 0, MostSeconds);
    }

    /// <summary>What the limits are made for: Arch's fallback initramfs with all firmware, its list of modules, a full /usr/bin.</summary>
    [Fact]
    public void The_largest_honest_image_passes()
    {
        const int rootMiB = 250;
        var image = new ReadyImage { Size = 300 * MiB, RootSectors = rootMiB << 11 };
        image.MakeRoot = (folder, file) =>
            ImageTool.Run("mke2fs", "-q", "-F", "-t", "ext4", "-d", folder, "-U", ReadyImage.RootUuid, file, $"{rootMiB}M");
        var random = new Random(1);
        Initrd(
            image,
            _work,
            "zstd",
            stream =>
            {
                // A third of 320 MiB does not compress.
                var content = new byte[40 << 10];
                random.NextBytes(content.AsSpan(0, content.Length / 3));
                for (var i = 0; i < 8192; i++)
                {
                    WriteEntry(stream, $"firmware of {i} and a long name, as of a module {i}", 0x81A4, content.Length);
                    random.NextBytes(content.AsSpan(0, content.Length / 3));
                    stream.Write(content);
                }

                WriteEntry(stream, "TRAILER!!!", 0, 0);
            },
            times: 1);
        image.Root.Replace("/boot/grub/grub.cfg", "initrd /boot/hostile.img", "initrd /boot/initramfs-linux.img /boot/hostile.img");
        image.Root[$"/usr/lib/modules/{ReadyImage.Release}/modules.dep"] += string.Concat(Enumerable.Range(0, 6500)
            .Select(i => $"kernel/{i}.ko.zst: {new string('x', 140)}.ko.zst\n"));
        for (var i = 0; i < 5000; i++)
        {
            image.Root[$"/usr/bin/program {i}"] = "";
        }

        image.Write(_work["disk.vhd"]);
        var report = CheckReport.Of(_work["disk.vhd"]);

        output.WriteLine($"| the largest honest image | {report.PeakBytes / MiB} MiB | {report.Seconds:0.0} s |");
        Assert.Empty(
            report.Results.Where(result => result.Verdict != ReadinessOutcome.Passed).Select(result => $"{result.Rule}: {result.Found}"));
        Assert.InRange(report.PeakBytes, 0, MostMemory);
    }

    /// <summary>Each limit by itself, on a good image: set so low that it ends some rule.</summary>
    [Theory]
    [InlineData("MiB read and unpacked")]
    [InlineData(Memory)]
    [InlineData("names in directories and archives")]
    [InlineData(Lookups)]
    [InlineData(Matches)]
    [InlineData(" s for one rule")]
    public async Task Every_limit_ends_rules_and_loses_none(string limit)
    {
        var image = new ReadyImage();
        for (var i = 0; i < 20; i++)
        {
            image.Root[$"/etc/ssh/sshd_config.d/{i}.conf"] = "#";
        }

        image.Write(_work["disk.vhd"]);
        var limits = limit switch
        {
            "MiB read and unpacked" => new ReadLimits { Bytes = 1 << 19 },
            Memory => new ReadLimits { Memory = 4000 },
            Lookups => new ReadLimits { Lookups = 200 },
            Matches => new ReadLimits { Matches = 20 },
            " s for one rule" => new ReadLimits { Time = TimeSpan.Zero },
            _ => new ReadLimits { Names = 100 },
        };

        var results = await ReadinessCheck.RunAsync(_work["disk.vhd"], new() { Limits = limits }, new RecordingReporter(), default);

        Assert.Equal(ReadyImage.Rules, results.Count);
        Assert.DoesNotContain(results, result => result.Verdict == ReadinessOutcome.Failed);
        Assert.Contains(results, result => result.Verdict == ReadinessOutcome.Passed);
        var unknown = results.Where(result => result.Verdict == ReadinessOutcome.Unknown).ToList();
        Assert.NotEmpty(unknown);
        Assert.All(unknown, result => Assert.Contains(limit, Told(result, results), StringComparison.Ordinal));
    }

    /// <summary>What a rule found, also where another one tells it.</summary>
    private static string Told(ReadinessResult result, IEnumerable<ReadinessResult> all)
    {
        const string see = "see ";
        return result.Found.StartsWith(see, StringComparison.Ordinal)
            ? all.Single(other => other.Rule == result.Found[see.Length..]).Found : result.Found;
    }

    public static TheoryData<string, Exception> Failures => new()
    {
        // A kind of OutOfMemoryException, which itself only the runtime may make.
        { "not enough memory", new InsufficientMemoryException() },
        { "bad sector", new IOException("bad sector") },
        { "InvalidOperationException: why", new InvalidOperationException("why") },
    };

    [Theory]
    [MemberData(nameof(Failures))]
    public void Whatever_happens_to_a_rule_is_its_result(string told, Exception exception)
    {
        using var stream = new MemoryStream();
        var image = new CheckedDisk(stream, VhdFooter.ForFixedDisk(MiB, Guid.NewGuid(), DateTimeOffset.UtcNow), new(), new ReadBudget());

        var finding = ReadinessCheck.Check(new FailingRule(exception), image, default)!;

        Assert.Equal(ReadinessOutcome.Unknown, finding.Outcome);
        Assert.Contains(told, finding.Found, StringComparison.Ordinal);
    }

    [Fact]
    public void A_cancelled_rule_has_no_result()
    {
        using var stream = new MemoryStream();
        var image = new CheckedDisk(stream, VhdFooter.ForFixedDisk(MiB, Guid.NewGuid(), DateTimeOffset.UtcNow), new(), new ReadBudget());

        Assert.Throws<OperationCanceledException>(
            () => ReadinessCheck.Check(new FailingRule(new OperationCanceledException()), image, new CancellationToken(canceled: true)));
    }

    [Fact]
    public async Task What_a_result_quotes_is_short_and_commands_no_terminal()
    {
        var image = new ReadyImage();
        image.Root["/etc/fstab"] = Repeat("/dev/sda1\t/\u001b[2J\text4\tdefaults\n", 30_000);
        image.Write(_work["disk.vhd"]);

        var results = await ReadinessCheck.RunAsync(_work["disk.vhd"], new(), new RecordingReporter(), default);

        var result = Assert.Single(results, result => result.Verdict != ReadinessOutcome.Passed);
        Assert.Equal(("FstabIdentifiers", ReadinessOutcome.Failed), (result.Rule, result.Verdict));
        Assert.InRange(result.Found.Length, 4000, 4100);
        Assert.EndsWith(" more characters)", result.Found, StringComparison.Ordinal);
        Assert.DoesNotContain(result.Found, char.IsControl);
    }

    private static string Repeat(string text, int count) => string.Concat(Enumerable.Repeat(text, count));

    private static void BeforeGrub(ReadyImage image, string text) =>
        image.Root["/boot/grub/grub.cfg"] = text + image.Root["/boot/grub/grub.cfg"];

    /// <summary>Makes the boot entry load a packed initramfs that a test writes.</summary>
    private static void Initrd(
        ReadyImage image, TemporaryDirectory work, string compressor, Action<Stream> write, int times, params string[] options)
    {
        using (var file = File.Create(work["main.cpio"]))
        {
            write(file);
        }

        ImageTool.Run(compressor, ["-q", "-1", .. options, work["main.cpio"]]);
        File.Delete(work["main.cpio"]);
        image.Root.File("/boot/hostile.img", File.ReadAllBytes(Directory.GetFiles(work.Path, "main.cpio.*").Single()));
        image.Root.Replace(
            "/boot/grub/grub.cfg",
            "initrd /boot/initramfs-linux.img\n}\nsubmenu",
            $"initrd{Repeat(" /boot/hostile.img", times)}\n}}\nsubmenu");
    }

    private static void WriteLongNames(Stream stream) => WriteNames(stream, 262_100, i => $"{i}".PadRight(4090, 'n'), 0x81A4);

    private static void WriteDeepNames(Stream stream)
    {
        for (var depth = 1; depth <= 1500; depth++)
        {
            WriteEntry(stream, Repeat("d/", depth), 0x41ED, 0);
        }

        WriteNames(stream, 20_000, i => $"{Repeat("d/", 1500)}{i}", 0x81A4);
    }

    private static void WriteNames(Stream stream, int count, Func<int, string> name, int mode)
    {
        for (var i = 0; i < count; i++)
        {
            WriteEntry(stream, name(i), mode, 0);
        }

        WriteEntry(stream, "TRAILER!!!", 0, 0);
    }

    private static void WriteEntry(Stream stream, string name, int mode, int length)
    {
        var header = $"07070100000001{mode:X8}{0:X32}{length:X8}{0:X32}{name.Length + 1:X8}{0:X8}{name}\0";
        stream.Write(Encoding.ASCII.GetBytes(header));
        stream.Write(new byte[-header.Length & 3]);
    }

    private static void WriteZeros(Stream stream, int mebibytes)
    {
        var zeros = new byte[MiB];
        for (var i = 0; i < mebibytes; i++)
        {
            stream.Write(zeros);
        }
    }

    /// <summary>Adds a file that is too large to be held in memory.</summary>
    private static void AddFile(ReadyImage image, string path, Action<FileStream> write)
    {
        var make = image.MakeRoot;
        image.MakeRoot = (folder, file) =>
        {
            using (var stream = File.Create(folder + path))
            {
                write(stream);
            }

            make(folder, file);
        };
        image.Root.Replace("/boot/grub/grub.cfg", "initrd /boot/initramfs-linux.img\n}\nsubmenu", $"initrd {path}\n}}\nsubmenu");
    }

    /// <summary>Gives a directory names that lead to itself.</summary>
    private static void Loop(ReadyImage image, string directory, int names, int length)
    {
        image.Root.Folder(directory);
        var make = image.MakeRoot;
        image.MakeRoot = (folder, file) =>
        {
            make(folder, file);
            var commands = file + ".debugfs";
            var expand = Enumerable.Repeat($"expand_dir {directory}", 1 + (names * (length + 12) / 900));
            File.WriteAllLines(
                commands,
                [.. expand, .. Enumerable.Range(0, names).Select(i => $"ln {directory} {directory}/{$"{i}".PadLeft(length, 'a')}")]);
            ImageTool.Run("debugfs", "-w", "-f", commands, file);
        };
    }

    private sealed class FailingRule(Exception exception) : ReadinessRule
    {
        public override string Wanted => "";

        public override string Source => "";

        public override Finding Check(CheckedDisk image) => throw exception;
    }
}
