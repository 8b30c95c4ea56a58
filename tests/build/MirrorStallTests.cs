using System.Globalization;
using ArchAzure.StandIn;

namespace ArchAzure.BuildTests;

/// <summary>A mirror that fails for a moment costs a pause, and nothing is fetched twice; one that says no is believed at once.</summary>
[Collection(Pipeline.Name)]
public sealed class MirrorStallTests(Pipeline pipeline) : IDisposable
{
    private static string Repository => Path.Combine(TestSetup.StandIn, "core/os/x86_64");

    public void Dispose() => pipeline.Mirror.ClearFaults();

    [Fact]
    [Trait("Speed", "slow")]
    public async Task A_stall_a_reset_a_short_file_and_a_503_heal_in_the_same_run_and_go_on_where_they_were()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        (string Package, MirrorFaultKind Kind)[] faults =
            [
                ("linux", MirrorFaultKind.Stall), ("grub", MirrorFaultKind.Reset), ("glibc", MirrorFaultKind.Truncated),
                ("sudo", MirrorFaultKind.Unavailable),
            ];
        foreach (var (package, kind) in faults)
        {
            pipeline.Mirror.AddFault(new MirrorFault($"*/{Package(package)}", kind) { AfterBytes = 100_000, Times = 1 });
        }

        pipeline.Mirror.ClearRequests();
        await DownloadsAllAsync(build);
        await build.NothingLeftAsync();

        Assert.Contains(build.Reporter.Details, IsRetry);
        Assert.Contains("; attempt 2 of 4 in ", await File.ReadAllTextAsync(build.Directory.Log(3)), StringComparison.Ordinal);
        var packages = pipeline.Mirror.Requests.Where(request => request.Path.EndsWith(".pkg.tar.zst", StringComparison.Ordinal))
            .GroupBy(request => Path.GetFileName(request.Path), StringComparer.Ordinal)
            .ToList();
        foreach (var (package, kind) in faults)
        {
            var range = packages.Single(group => group.Key == Package(package)).Last().Range;
            if (kind == MirrorFaultKind.Unavailable)
            {
                Assert.Null(range);
            }
            else
            {
                // Where it was: of what was sent, a connection that breaks off may take the end along.
                Assert.InRange(int.Parse(range!["bytes=".Length..^1], CultureInfo.InvariantCulture), 1, 100_000);
            }
        }

        Assert.All(packages.Where(group => !faults.Any(fault => Package(fault.Package) == group.Key)), group => Assert.Single(group));
    }

    [Fact]
    public async Task A_mirror_that_is_out_of_order_is_asked_four_times()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        pipeline.Mirror.AddFault(new MirrorFault("*/core.db", MirrorFaultKind.Unavailable));
        pipeline.Mirror.ClearRequests();
        await build.FailsAsync(3, "PackageDownloadFailed", ["core.db", "503", "MIRROR"]);
        Assert.Equal(3, build.Reporter.Details.Count(IsRetry));
        Assert.Equal(4, pipeline.Mirror.Requests.Count(request => request.Path.EndsWith("/core.db", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_package_that_the_mirror_does_not_have_is_not_asked_for_again()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        pipeline.Mirror.AddFault(new MirrorFault($"*/{Package("sudo")}", MirrorFaultKind.NotFound));
        pipeline.Mirror.ClearRequests();
        await build.FailsAsync(3, "PackageDownloadFailed", ["sudo-", "404"]);
        Assert.DoesNotContain(build.Reporter.Details, IsRetry);
        Assert.Single(pipeline.Mirror.Requests, request => request.Path.EndsWith(Package("sudo"), StringComparison.Ordinal));
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task An_altered_package_is_refused_at_once_and_does_not_trip_the_next_run()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        pipeline.Mirror.AddFault(new MirrorFault($"*/{Package("sudo")}", MirrorFaultKind.Corrupt) { AfterBytes = 1000, Times = 1 });
        await build.FailsAsync(3, "PackageNotTrusted", ["sudo"]);
        Assert.DoesNotContain(build.Reporter.Details, IsRetry);
        await DownloadsAllAsync(build);
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task Bad_parts_in_the_cache_of_a_run_that_was_killed_do_not_trip_the_next()
    {
        // Whole, but not yet named so: pacman alone would refuse it in every run. Wrong bytes. Longer than the file.
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        Directory.CreateDirectory(build.Directory.PackageCache);
        File.Copy(Path.Combine(Repository, Package("sudo")), Part("sudo"));
        await File.WriteAllBytesAsync(Part("grub"), new byte[5000]);
        File.Copy(Path.Combine(Repository, Package("glibc")), Part("glibc"));
        await File.AppendAllTextAsync(Part("glibc"), "more");
        await DownloadsAllAsync(build);
        Assert.Contains(build.Reporter.Details, IsRetry);
        Assert.Empty(Directory.EnumerateFiles(build.Directory.PackageCache, "*.part"));

        string Part(string package) => Path.Combine(build.Directory.PackageCache, Package(package) + ".part");
    }

    /// <summary>Runs step 3 until pacman installs the first package: by then it has every one, and trusts it.</summary>
    private static async Task DownloadsAllAsync(TestBuild build)
    {
        using var stop = new CancellationTokenSource();
        build.Reporter.Watch = status =>
        {
            if (status.StartsWith("installing ", StringComparison.Ordinal) && !status.Contains("packages", StringComparison.Ordinal))
            {
                stop.Cancel();
            }
        };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => build.RunAsync(3, cancellationToken: stop.Token));
        build.Reporter.Watch = null;
    }

    private static bool IsRetry(string detail) =>
        detail.StartsWith("pacman: ", StringComparison.Ordinal) && detail.Contains(" of 4 in ", StringComparison.Ordinal);

    /// <summary>The file's name of a package of the repository core.</summary>
    private static string Package(string name) =>
        Assert.Single(
            Directory.EnumerateFiles(Repository, $"{name}-*.pkg.tar.zst").Select(path => Path.GetFileName(path)!),
            file => file.Split('-').Length == name.Split('-').Length + 3);
}
