using System.Text.RegularExpressions;
using ArchAzure.Builds;
using ArchAzure.Disks;
using ArchAzure.Machines;
using ArchAzure.SimulatedAzure;
using ArchAzure.StandIn;

namespace ArchAzure.AzureTests;

/// <summary>The shared image, which test.sh has made; and copies of it that lack one of its parts.</summary>
internal static partial class TestImage
{
    private const string Variable = "ARCHAZURE_IMAGE_WORKDIR";

    // The container's image is made once.
    private static readonly SemaphoreSlim s_launcher = new(1);

    /// <summary>The work directory with the image; it is read, and never written.</summary>
    public static WorkDirectory Directory { get; } = FindDirectory();

    /// <summary>The image's build.</summary>
    public static ArchBuild Build { get; } = LoadBuild();

    /// <summary>The image.</summary>
    public static string Vhd => Build.VhdPath!;

    /// <summary>
    /// A launcher of the QEMU in a container that belongs to the image's build, made from the mirror that the image was built from: the
    /// host's may be so old that a sound kernel panics in it (<see cref="QemuTools.MayPanicSoundKernels"/>).
    /// </summary>
    public static async Task<IQemuLauncher> LauncherAsync(IReporter reporter)
    {
        await s_launcher.WaitAsync();
        try
        {
            return await CreateLauncherAsync(reporter);
        }
        finally
        {
            s_launcher.Release();
        }
    }

    private static async Task<IQemuLauncher> CreateLauncherAsync(IReporter reporter)
    {
        // Making it writes logs and packages into the work directory: those go elsewhere.
        using var folder = new TempFolder();
        var directory = new WorkDirectory(folder.Path);
        await using var server = await MirrorServer.StartAsync(TestSetup.StandIn);
        var settings = (await File.ReadAllLinesAsync(Directory.SettingsFile))
            .Where(line => !line.StartsWith("MIRROR=", StringComparison.Ordinal));
        await File.WriteAllLinesAsync(directory.SettingsFile, settings.Append($"MIRROR={server.BaseUrl}/$repo/os/$arch"));
        BuildStore.Save(directory, Build);
        return await ContainerQemuLauncher.CreateAsync(BuildStore.Load(directory), reporter, CancellationToken.None);
    }

    /// <summary>A copy of the image, changed by debugfs(8): what a fix brings is taken out, to see that its test fails then.</summary>
    /// <param name="folder">Where the copy goes.</param>
    /// <param name="commands">Commands of debugfs on the root file system.</param>
    public static Task<string> WithoutAsync(TempFolder folder, params string[] commands) => ChangedAsync(folder, Vhd, commands);

    /// <summary>The same of an image of the same shape.</summary>
    public static async Task<string> ChangedAsync(TempFolder folder, string vhd, params string[] commands)
    {
        var copy = folder["image.vhd"];
        await Tool.RunAsync("cp", "--sparse=always", "--reflink=auto", vhd, copy);
        var script = folder.Write("debugfs", string.Join('\n', commands) + "\n");
        var result = await Tool.TryAsync(
            "debugfs", ["-w", "-f", script, $"{copy}?offset={Build.Disk!.Partitions[PartitionPlan.Root].Offset}"]);

        // debugfs ends with 0 whatever its commands did; their errors are all that it says besides its name, their echo and the inodes of
        // new files.
        var errors = result.All.Split('\n').Where(line =>
            line.Length > 0 && !line.StartsWith("debugfs", StringComparison.Ordinal)
                && !line.StartsWith("Allocated inode: ", StringComparison.Ordinal));
        Assert.True(!errors.Any(), result.All);
        return copy;
    }

    /// <summary>Commands that take `crypt` out of the image's python, for <see cref="WithoutAsync"/>; 3.13 and later have none.</summary>
    public static async Task<IReadOnlyList<string>> CryptOfPythonAsync()
    {
        var paths = await TargetFiles.NamesAsync(Directory);
        return [.. paths.Where(path => PythonsCrypt().IsMatch(path)).Select(path => "rm /" + path)];
    }

    /// <summary>A file of the image's root file system.</summary>
    public static Task<string> ReadAsync(string path) =>
        Tool.RunAsync("debugfs", "-R", $"cat {path}", $"{Vhd}?offset={Build.Disk!.Partitions[PartitionPlan.Root].Offset}");

    private static WorkDirectory FindDirectory()
    {
        var path = Environment.GetEnvironmentVariable(Variable);
        Assert.True(
            !string.IsNullOrEmpty(path),
            $"{Variable} is not set. It names a work directory in which 'build.sh --stand-in' has made an image; run the tests with "
            + $"test.sh.");
        return new WorkDirectory(Path.GetFullPath(path));
    }

    private static ArchBuild LoadBuild()
    {
        var build = BuildStore.Load(Directory);
        Assert.True(build.LastGoodStep == 5, $"The build in '{Directory.Path}' is not complete ({build.Status}).");
        return build;
    }

    [GeneratedRegex(@"lib/python3\.\d+/(crypt\.py|lib-dynload/_crypt\..*\.so)$", RegexOptions.None, 5000)]
    private static partial Regex PythonsCrypt();
}
