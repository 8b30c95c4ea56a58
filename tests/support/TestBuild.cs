using System.Text.Json;
using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.Steps;

namespace ArchAzure.TestSupport;

/// <summary>A work directory of one test, and the engine in it. Its end removes its files and containers.</summary>
internal sealed class TestBuild : IAsyncDisposable
{
    /// <summary>Small, for steps whose time goes with the disk's size.</summary>
    public const string SmallDisk = "2048";

    private readonly TempFolder _folder = new();

    private TestBuild(string name) => Directory = new WorkDirectory(_folder[name]);

    public WorkDirectory Directory { get; }

    public RecordingReporter Reporter { get; } = new();

    /// <summary>How long the engine may keep silent; null for the product's own limits.</summary>
    public EngineLimits? EngineLimits { get; set; }

    /// <summary>The engine that has this build's containers, as DOCKER_HOST; null for the usual one.</summary>
    public string? DockerHost { get; set; }

    /// <summary>What build.json says now.</summary>
    public ArchBuild State => BuildStore.Load(Directory);

    /// <summary>A new work directory with the stand-in's settings and more lines.</summary>
    public static TestBuild Empty(Pipeline pipeline, params string[] lines) => Create(pipeline.Image, "work", lines);

    /// <summary>A new work directory of this name with another's settings and more lines.</summary>
    public static TestBuild WithSettingsOf(TestBuild other, string name, params string[] lines) => Create(other.Directory, name, lines);

    /// <summary>
    /// A copy of the shared image's work directory, as it was after a step; with an identity of its own and an empty package cache.
    /// </summary>
    public static Task<TestBuild> AfterStepAsync(Pipeline pipeline, int step, string name = "work") =>
        CopyAsync(pipeline.Image, pipeline.ImageBuild, step, name);

    /// <summary>The same of the small build.</summary>
    public static async Task<TestBuild> SmallAfterStepAsync(Pipeline pipeline, int step)
    {
        var small = await pipeline.SmallBuildAsync();
        return await CopyAsync(small.Directory, small.State, step);
    }

    /// <summary>The same of any complete build.</summary>
    public static async Task<TestBuild> CopyAsync(WorkDirectory source, ArchBuild sourceBuild, int step, string name = "work")
    {
        var build = Create(source, name);
        string[] files =
        [
            .. step >= 2 ? [source.Disk] : Array.Empty<string>(),
            .. Enumerable.Range(3, 2).Where(number => number <= step).Select(source.Snapshot),
            .. step >= 5
                ? [
                    sourceBuild.VhdPath!, sourceBuild.VhdPath! + ".cdx.json", Path.Combine(source.Path, "SHA256SUMS"),
                    Path.Combine(source.Path, "FSVERITYSUMS"),
                ]
                : Array.Empty<string>(),
        ];
        if (files.Length > 0)
        {
            await Tool.RunAsync(
                "cp", ["--archive", "--sparse=always", "--reflink=auto", "--target-directory", build.Directory.Path, .. files]);
        }

        BuildStore.Save(build.Directory, sourceBuild with
        {
            Id = Guid.NewGuid(),
            Steps = [.. sourceBuild.Steps.Where(record => record.Number <= step)],
            Disk = step >= 2 ? sourceBuild.Disk : null,
            Base = step >= 3 ? sourceBuild.Base : null,
            Agent = step >= 4 ? sourceBuild.Agent : null,
            Vhd = step >= 5 ? sourceBuild.Vhd : null,
        });
        return build;
    }

    /// <summary>Adds lines to settings.env; a key there already is replaced.</summary>
    public void AddSettings(params string[] lines)
    {
        var keys = lines.Select(line => line.Split('=')[0] + "=").ToList();
        var kept = File.ReadAllLines(Directory.SettingsFile)
            .Where(line => !keys.Exists(key => line.StartsWith(key, StringComparison.Ordinal)));
        File.WriteAllLines(Directory.SettingsFile, [.. kept, .. lines]);
    }

    /// <summary>Runs one step.</summary>
    public Task<ArchBuild> RunAsync(int step, StepRequest? request = null, CancellationToken cancellationToken = default) =>
        RunAsync(step, step, request, cancellationToken);

    /// <summary>Runs steps in order, as Invoke-ArchBuild without a number does.</summary>
    public Task<ArchBuild> RunAllAsync(int first = 1, int last = 5) => RunAsync(first, last, null, default);

    /// <summary>
    /// Runs a step that must fail, and checks the error: its id, what its text names, and that nothing is left of the try.
    /// </summary>
    public async Task<ArchAzureException> FailsAsync(int step, string errorId, string[] named, StepRequest? request = null)
    {
        var error = await Assert.ThrowsAnyAsync<ArchAzureException>(() => RunAsync(step, request));
        Assert.True(errorId == error.ErrorId, $"Expected {errorId}, got {error.ErrorId}: {error.Message}");
        Assert.All(named, text => Assert.Contains(text, error.Message, StringComparison.OrdinalIgnoreCase));
        await NothingLeftAsync();
        return error;
    }

    /// <summary>
    /// Checks that no container, no half file, no mount and no loop device of this build is left, and that build.json is whole.
    /// </summary>
    public async Task NothingLeftAsync()
    {
        Assert.Empty(await ContainersAsync());
        Assert.Equal(
            "", await Tool.RunAsync("docker", [.. Engine, "volume", "ls", "--quiet", "--filter", $"label=archazure.build={BuildId()}"]));
        Assert.Empty(HalfFiles());
        Assert.DoesNotContain(_folder.Path + "/", await Tool.RunAsync("losetup", "--all"), StringComparison.Ordinal);
        Assert.DoesNotContain(Mounts(), mount => mount.StartsWith(_folder.Path + "/", StringComparison.Ordinal) && mount != Directory.Path);
        if (File.Exists(Directory.BuildFile))
        {
            using var json = JsonDocument.Parse(File.ReadAllText(Directory.BuildFile));
            Assert.Equal(JsonValueKind.Object, json.RootElement.ValueKind);
        }
    }

    /// <summary>The ids of this build's containers, running or not: those that carry its label, and those that see its files.</summary>
    public async Task<IReadOnlyList<string>> ContainersAsync()
    {
        var ids = (await Tool.RunAsync("docker", [.. Engine, "ps", "--all", "--quiet", "--no-trunc", "--filter", "label=archazure.build"]))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);
        List<string> ours = [];
        var id = BuildId();
        foreach (var container in ids)
        {
            // One that is gone by now belongs to another run on this engine.
            var inspected = await Tool.TryAsync(
                "docker",
                [
                    .. Engine, "inspect", "--format", "{{index .Config.Labels \"archazure.build\"}} {{range .Mounts}}{{.Source}} {{end}}",
                    container,
                ]);
            var words = inspected.Output.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
            if (words.Any(word => word == id || word.StartsWith(_folder.Path + "/", StringComparison.Ordinal)))
            {
                ours.Add(container);
            }
        }

        return ours;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var container in await ContainersAsync())
        {
            await Tool.TryAsync("docker", [.. Engine, "rm", "--force", container]);
        }

        if (Guid.TryParse(BuildId(), out var id))
        {
            await Tool.TryAsync(
                "docker", [.. Engine, "image", "rm", $"archazure/build:{id:N}-builder", $"archazure/build:{id:N}-bootstrap"]);
        }

        _folder.Dispose();
    }

    private static TestBuild Create(WorkDirectory source, string name, params string[] lines)
    {
        var build = new TestBuild(name);
        System.IO.Directory.CreateDirectory(build.Directory.Path);
        File.Copy(source.SettingsFile, build.Directory.SettingsFile);

        // Each its own: tests look at what is downloaded.
        build.AddSettings([$"PACKAGE_CACHE={build._folder["packages"]}", .. lines]);
        return build;
    }

    private Task<ArchBuild> RunAsync(int first, int last, StepRequest? request, CancellationToken cancellationToken) =>
        new BuildRunner(TestSetup.Layers, Reporter, EngineLimits)
            .RunAsync(Directory, first, last, request ?? new StepRequest(), cancellationToken);

    private string[] Engine => DockerHost is null ? [] : ["--host", DockerHost];

    private string? BuildId()
    {
        try
        {
            return BuildStore.TryLoad(Directory)?.Id.ToString();
        }
        catch (ArchAzureException)
        {
            return null;
        }
    }

    /// <summary>Half files; a broken-off download is none: the next run goes on from it.</summary>
    private IEnumerable<string> HalfFiles() => !System.IO.Directory.Exists(Directory.Path)
        ? []
        : System.IO.Directory.EnumerateFiles(Directory.Path, "*", SearchOption.AllDirectories)
            .Where(
                file => file.EndsWith(".part", StringComparison.Ordinal)
                    || file.EndsWith(".tmp", StringComparison.Ordinal)
                    || file.EndsWith(".new", StringComparison.Ordinal)
                    || Path.GetFileName(file) == ".sparse")
            .Where(
                file => Path.GetDirectoryName(file) != Directory.DownloadFolder && Path.GetDirectoryName(file) != Directory.PackageCache);

    private static IEnumerable<string> Mounts() => File.ReadLines("/proc/self/mounts").Select(line => line.Split(' ')[1]);
}
