using ArchAzure.StandIn;

namespace ArchAzure.BuildTests.Faults;

/// <summary>
/// A mirror that goes wrong until it is repaired; the next run then ends right. What heals within one run is welcome to;
/// MirrorStallTests have a fault of each kind in every run.
/// </summary>
[Collection(Pipeline.Name)]
public sealed class MirrorFaultTests(Pipeline pipeline) : IDisposable
{
    private const string Tarball = "*/iso/2026.10.01/archlinux-bootstrap-*.tar.zst";
    private const string BuilderPackage = "*/dosfstools-*.pkg.tar.zst";
    private const string BasePackage = "*/sudo-*.pkg.tar.zst";
    private const string AgentPackage = "*/parted-*.pkg.tar.zst";

    public void Dispose() => pipeline.Mirror.ClearFaults();

    [Theory]
    [Trait("Speed", "long")]
    [InlineData(1, Tarball, MirrorFaultKind.Reset)]
    [InlineData(1, Tarball, MirrorFaultKind.Truncated)]
    [InlineData(1, Tarball, MirrorFaultKind.Corrupt)]
    [InlineData(1, Tarball, MirrorFaultKind.NotFound)]
    [InlineData(1, Tarball, MirrorFaultKind.Stall)]
    [InlineData(1, BuilderPackage, MirrorFaultKind.Corrupt)]
    [InlineData(1, BuilderPackage, MirrorFaultKind.NotFound)]
    [InlineData(3, BasePackage, MirrorFaultKind.Stall)]
    [InlineData(3, BasePackage, MirrorFaultKind.Reset)]
    [InlineData(3, BasePackage, MirrorFaultKind.Truncated)]
    [InlineData(3, BasePackage, MirrorFaultKind.Corrupt)]
    [InlineData(3, BasePackage, MirrorFaultKind.NotFound)]
    [InlineData(4, AgentPackage, MirrorFaultKind.Stall)]
    [InlineData(4, AgentPackage, MirrorFaultKind.Reset)]
    [InlineData(4, AgentPackage, MirrorFaultKind.Truncated)]
    [InlineData(4, AgentPackage, MirrorFaultKind.Corrupt)]
    [InlineData(4, AgentPackage, MirrorFaultKind.NotFound)]
    public Task Mirror(int step, string path, MirrorFaultKind kind) => RunAsync(step, path, kind);

    private async Task RunAsync(int step, string path, MirrorFaultKind kind)
    {
        await using var run = await FaultRun.PrepareAsync(pipeline, step, cache: false);
        pipeline.Mirror.ClearRequests();
        pipeline.Mirror.AddFault(new MirrorFault(path, kind) { AfterBytes = 1000 });
        using var process = run.Start();

        // Every try of a stalled transfer takes its limit.
        var end = await FaultRun.EndAsync(process, () => Task.CompletedTask, TimeSpan.FromMinutes(9));
        Assert.Contains(pipeline.Mirror.Requests, request => request.Fault == kind);
        Assert.True(end.ExitCode == 1, $"The step ended with {end.ExitCode}: {end.Text}");
        // By its file; of a package with a bad signature pacman gives the name alone.
        var file = path.Split('/')[^1].Split('*')[0];
        string[] names = [file, $"error: {file.TrimEnd('-')}: signature"];
        Assert.True(
            names.Any(name => end.Text.ReplaceLineEndings("").Contains(name, StringComparison.Ordinal)),
            $"The error does not name {file}: {end.Text}");
        await run.Build.NothingLeftAsync();
        await run.StateIsGoodAsync(step - 1);

        pipeline.Mirror.ClearFaults();
        await run.EndsRightAsync();
    }
}
