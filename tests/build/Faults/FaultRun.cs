using System.Diagnostics;
using System.Security.Cryptography;
using ArchAzure.Builds;
using ArchAzure.IO;
using ArchAzure.Vhd;

namespace ArchAzure.BuildTests.Faults;

/// <summary>How a disturbed process ended.</summary>
internal sealed record FaultEnd(int ExitCode, string Text, TimeSpan FromSignal);

/// <summary>
/// One case of the matrix: the undisturbed build as it was before a step, that step in a process of its own, a fault; then a whole run
/// that must end in the image of the undisturbed build.
/// </summary>
internal sealed class FaultRun : IAsyncDisposable
{
    // Generous: nothing that a person waits for at the prompt takes longer.
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(60);

    private static readonly string[] s_cmdlets =
    [
        "New-ArchBootstrap", "New-ArchDisk", "Install-ArchBase", "Install-WaAgent", "ConvertTo-AzureVhd",
    ];

    private static readonly (string Name, string Separator, Func<string, Task<string>> Compute)[] s_checksums =
    [
        ("SHA256SUMS", "  ", async path =>
        {
            await using var file = File.OpenRead(path);
            return Convert.ToHexStringLower(await SHA256.HashDataAsync(file));
        }),
        ("FSVERITYSUMS", " ", path => FsVerity.DigestAsync(path, default)),
    ];

    private readonly TempFolder _folder = new();
    private readonly TestBuild _small;
    private readonly PrivateEngine? _engine;
    private readonly IDisposable? _release;
    private readonly IReadOnlyList<StepRecord> _before;

    private FaultRun(int step, TestBuild build, TestBuild small, PrivateEngine? engine, IDisposable? release)
    {
        Step = step;
        Build = build;
        _small = small;
        _engine = engine;
        _release = release;
        _before = BuildStore.TryLoad(build.Directory)?.Steps ?? [];
    }

    public int Step { get; }

    public TestBuild Build { get; }

    public string StraceLog => _folder["strace.log"];

    private IReadOnlyDictionary<string, string>? Environment =>
        _engine is null ? null : new Dictionary<string, string>(StringComparer.Ordinal) { ["DOCKER_HOST"] = _engine.Host };

    /// <summary>Prepares the state before a step.</summary>
    /// <param name="pipeline">Mirror and reference.</param>
    /// <param name="step">The step that will be disturbed.</param>
    /// <param name="engine">The engine to use, or null for the usual one.</param>
    /// <param name="cache">Whether the packages are there already; they are hard links, which pacman replaces and never writes
    /// into.</param>
    public static async Task<FaultRun> PrepareAsync(Pipeline pipeline, int step, PrivateEngine? engine = null, bool cache = true)
    {
        var small = await pipeline.SmallBuildAsync();
        var release = step == 1 ? await OlderRelease.TakeAsync() : null;
        var build = step == 1
            ? TestBuild.WithSettingsOf(small, "work", $"ARCH_VERSION={OlderRelease.Version}")
            : await TestBuild.CopyAsync(small.Directory, small.State, step - 1);
        build.DockerHost = engine?.Host;
        if (cache)
        {
            Directory.CreateDirectory(build.Directory.PackageCache);
            await Tool.RunAsync("cp", "--recursive", "--link", $"{small.Directory.PackageCache}/.", build.Directory.PackageCache);
        }

        return new FaultRun(step, build, small, engine, release);
    }

    /// <summary>Starts the step's cmdlet.</summary>
    public Process Start() =>
        Pwsh.Start($"$null = {s_cmdlets[Step - 1]} -WorkDirectory {Pwsh.Quote(Build.Directory.Path)}", _folder, Environment);

    /// <summary>Forgets the step's log, so that the next run's is not taken for it.</summary>
    public void ForgetLog()
    {
        if (File.Exists(Build.Directory.Log(Step)))
        {
            File.Delete(Build.Directory.Log(Step));
        }
    }

    /// <summary>Waits until a command that begins so stands in the step's log.</summary>
    public async Task CommandAsync(Process process, string command)
    {
        var log = Build.Directory.Log(Step);
        while (!File.Exists(log) || !(await ReadSharedAsync(log)).Contains("  > " + command, StringComparison.Ordinal))
        {
            Assert.False(process.HasExited, $"The step ended before '{command}' ran.");
            await Task.Delay(10);
        }
    }

    /// <summary>Waits for the end of a process that has to end.</summary>
    public static async Task<FaultEnd> EndAsync(Process process, Func<Task> strike, TimeSpan? limit = null)
    {
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await strike();
        var clock = Stopwatch.StartNew();
        using var stop = new CancellationTokenSource(limit ?? s_limit);
        try
        {
            await process.WaitForExitAsync(stop.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"The process had not ended {limit ?? s_limit} after the fault.");
        }

        var elapsed = clock.Elapsed;
        return new FaultEnd(process.ExitCode, await output + await error, elapsed);
    }

    /// <summary>
    /// What must hold at any instant: build.json is whole and names the right steps, and what bears a product's name is whole.
    /// </summary>
    /// <param name="lastGood">The last good steps that are right.</param>
    public async Task StateIsGoodAsync(params int[] lastGood)
    {
        var state = BuildStore.TryLoad(Build.Directory);
        Assert.Contains(state?.LastGoodStep ?? 0, lastGood);
        foreach (var record in _before.Where(record => record.Number < Step))
        {
            Assert.Contains(record, state!.Steps);
        }

        var directory = Build.Directory;
        if (File.Exists(directory.Disk))
        {
            Assert.Equal(
                long.Parse(TestBuild.SmallDisk, System.Globalization.CultureInfo.InvariantCulture) << 20,
                new FileInfo(directory.Disk).Length);
            Assert.Contains("No problems found", await Tool.RunAsync("sgdisk", "--verify", directory.Disk), StringComparison.Ordinal);
        }

        foreach (var snapshot in new[] { 3, 4 }.Select(directory.Snapshot).Where(File.Exists))
        {
            await Tool.RunAsync("tar", "--list", "--zstd", "--file", snapshot);
        }

        foreach (var vhd in Directory.EnumerateFiles(directory.Path, "*.vhd"))
        {
            Assert.Equal(
                (long.Parse(TestBuild.SmallDisk, System.Globalization.CultureInfo.InvariantCulture) << 20) + 512, new FileInfo(vhd).Length);
            Assert.NotEqual(Guid.Empty, FixedVhd.ReadFooter(vhd).UniqueId);
        }

        await ChecksumsHoldAsync();

        var jsons = new[] { directory.BuildFile }.Concat(Directory.EnumerateFiles(directory.Path, "*.cdx.json")).Where(File.Exists);
        foreach (var json in jsons)
        {
            System.Text.Json.JsonDocument.Parse(await File.ReadAllTextAsync(json)).Dispose();
        }
    }

    /// <summary>The next run: from the last good step to the undisturbed build's image, with nothing left.</summary>
    public async Task EndsRightAsync()
    {
        var good = BuildStore.TryLoad(Build.Directory);
        var first = (good?.LastGoodStep ?? 0) + 1;
        using var process = Pwsh.Start($"$null = Invoke-ArchBuild {Pwsh.Quote(Build.Directory.Path)}", _folder, Environment);
        var end = await EndAsync(process, () => Task.CompletedTask, TimeSpan.FromMinutes(10));
        Assert.True(end.ExitCode == 0, $"The next run ended with {end.ExitCode}: {end.Text}");
        await Build.NothingLeftAsync();
        var done = Build.State;
        Assert.Equal(5, done.LastGoodStep);
        Assert.Equal(good?.Steps.Where(record => record.Number < first) ?? [], done.Steps.Where(record => record.Number < first));
        Assert.Equal(2, await ChecksumsHoldAsync());
        await SameImageAsync(_small.State, done);
    }

    public async ValueTask DisposeAsync()
    {
        await Build.DisposeAsync();
        _folder.Dispose();
        if (Step == 1)
        {
            string[] engine = _engine is null ? [] : ["--host", _engine.Host];
            var images = (
                await Tool.TryAsync("docker", [.. engine, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])).Output.Split('\n')
                .Where(
                    image =>
                        image.StartsWith("archazure/", StringComparison.Ordinal)
                            && image.Contains($":{OlderRelease.Version}", StringComparison.Ordinal));
            foreach (var image in images.OrderDescending(StringComparer.Ordinal))
            {
                await Tool.TryAsync("docker", [.. engine, "image", "rm", image]);
            }
        }

        _release?.Dispose();
    }

    /// <summary>
    /// The one place that says when two builds made the same image: byte-identical, since they are reproducible. What differs is named.
    /// </summary>
    private static async Task SameImageAsync(ArchBuild undisturbed, ArchBuild build)
    {
        // Where step 1 was disturbed, another release was taken, which the image is named after.
        string[] named = undisturbed.Version == build.Version
            ? [] : ["root /usr/lib/archazure/image-release: content", "root /usr/lib/os-release: content"];
        var differences = (await ImageComparison.BytesAsync(ComparedImage.Of(undisturbed), ComparedImage.Of(build)))
            .Where(difference => !named.Contains($"{difference}", StringComparer.Ordinal))
            .ToList();
        Assert.True(differences.Count == 0, $"The image differs from that of an undisturbed build:\n{string.Join('\n', differences)}");
    }

    /// <summary>
    /// What <c>sha256sum --check</c> and <c>fsverity digest</c> do (which InterruptionTests runs), but quickly: this is done in every case.
    /// </summary>
    /// <returns>How many checksums there are.</returns>
    private async Task<int> ChecksumsHoldAsync()
    {
        var count = 0;
        foreach (var (name, separator, compute) in s_checksums)
        {
            var sums = Path.Combine(Build.Directory.Path, name);
            foreach (var line in File.Exists(sums) ? await File.ReadAllLinesAsync(sums) : [])
            {
                var parts = line.Split(separator, 2);
                Assert.Equal(
                    parts[0].Replace("sha256:", "", StringComparison.Ordinal), await compute(Path.Combine(Build.Directory.Path, parts[1])));
                count++;
            }
        }

        return count;
    }

    private static async Task<string> ReadSharedAsync(string path)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var reader = new StreamReader(file);
        return await reader.ReadToEndAsync();
    }
}
