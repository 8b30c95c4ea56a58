using ArchAzure.Bootstrap;
using ArchAzure.Builds;
using ArchAzure.Machines;
using ArchAzure.StandIn;
using ArchAzure.Steps;

namespace ArchAzure.BuildTests;

/// <summary>A run that is ended in the middle leaves nothing, and the next one ends right.</summary>
[Collection(Pipeline.Name)]
public sealed class InterruptionTests(Pipeline pipeline) : IDisposable
{
    public void Dispose() => pipeline.Mirror.ClearFaults();

    [Fact]
    [Trait("Speed", "slow")]
    public async Task In_a_folder_with_a_hostile_name_by_builders_that_see_nothing_else_cancelled_in_each_stage_and_then_run_to_the_end()
    {
        const string touched = "archazure-was-here";
        await using var build = await TestBuild.AfterStepAsync(
            pipeline, 1, $"-rf \"q\" 'a' $(touch {touched}) `touch {touched}`; touch {touched} & ä,b=c:%n\nx");
        using var watch = new BuilderWatch(build);
        build.AddSettings($"DISK_SIZE={TestBuild.SmallDisk}");
        await CancelAtAsync(build, 2, "partitioning a disk");
        await build.RunAsync(2);
        await CancelAtAsync(build, 3, "installing ", "saving the target");
        await build.RunAsync(3);
        await CancelAtAsync(build, 4, "unpacking the target", "installing the agent");
        await build.RunAsync(4);
        await CancelAtAsync(build, 5, "unpacking the target", "sealing", "mke2fs");
        Assert.Empty(Directory.EnumerateFiles(build.Directory.Path, "*.vhd"));

        var done = await build.RunAllAsync();
        Assert.Equal(5, done.LastGoodStep);
        Assert.True(watch.Seen >= 8, $"Only {watch.Seen} builders were seen.");
        await Tool.RunAsync("e2fsck", "-fn", $"{done.VhdPath}?offset={done.Disk!.Partitions[Disks.PartitionPlan.Root].Offset}");
        Assert.Equal((long.Parse(TestBuild.SmallDisk) << 20) + 512, new FileInfo(done.VhdPath!).Length);
        await Tool.RunAsync("env", $"--chdir={build.Directory.Path}", "sha256sum", "--check", "--strict", "SHA256SUMS");
        Assert.Equal(
            await File.ReadAllTextAsync(Path.Combine(build.Directory.Path, "FSVERITYSUMS")),
            await Tool.RunAsync("env", $"--chdir={build.Directory.Path}", "fsverity", "digest", Path.GetFileName(done.VhdPath!)));
        await build.NothingLeftAsync();

        // The cmdlets too take the name as it is. (A backslash they would not: PowerShell reads it as a slash.)
        var path = Pwsh.Quote(build.Directory.Path);
        var result = await Pwsh.RunAsync(
            $"(Get-ArchBuild {path}).Status; Test-AzureVhd {Pwsh.Quote(done.VhdPath!)} -Quiet; $null = Remove-ArchBuild {path} "
            + "-IncludeVhd -KeepImage -Confirm:$false");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.Equal(["done", "True"], result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(["settings.env"], Directory.EnumerateFileSystemEntries(build.Directory.Path).Select(Path.GetFileName));
        Assert.False(File.Exists(touched));
        Assert.Empty(Directory.EnumerateFiles(Path.GetDirectoryName(build.Directory.Path)!, touched, SearchOption.AllDirectories));
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task Step_1_broken_off_everywhere_and_then_run_to_the_end()
    {
        // Rebuilt even if an earlier run left its images.
        using var alone = await OlderRelease.TakeAsync();
        await using var build = TestBuild.Empty(pipeline, $"ARCH_VERSION={OlderRelease.Version}", "REUSE_DOCKER_IMAGE=false");
        var tarball = Path.Combine(build.Directory.DownloadFolder, $"archlinux-bootstrap-{OlderRelease.Version}-x86_64.tar.zst");
        var path = $"*/iso/{OlderRelease.Version}/{Path.GetFileName(tarball)}";
        var size = new FileInfo(Path.Combine(TestSetup.StandIn, "iso", OlderRelease.Version, Path.GetFileName(tarball))).Length;
        var images = await ImagesAsync();
        try
        {
            // The mirror goes silent in the middle, and the user gives up.
            pipeline.Mirror.AddFault(new MirrorFault(path, MirrorFaultKind.Stall) { AfterBytes = size / 2 });
            using (var stop = new CancellationTokenSource())
            {
                var running = build.RunAsync(1, cancellationToken: stop.Token);
                while (!(new FileInfo(tarball + ".part") is { Exists: true } part && part.Length == size / 2))
                {
                    Assert.False(running.IsCompleted, "The download did not reach the fault.");
                    await Task.Delay(20);
                }

                await stop.CancelAsync();
                await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
            }

            await build.NothingLeftAsync();
            pipeline.Mirror.ClearFaults();

            // It breaks off near the end: the same run goes on where it was, without asking again for what it has.
            pipeline.Mirror.ClearRequests();
            pipeline.Mirror.AddFault(new MirrorFault(path, MirrorFaultKind.Reset) { AfterBytes = size - 1000, Times = 1 });
            await CancelAtAsync(build, 1, "importing ");
            var requests = pipeline.Mirror.Requests.Where(
                request => request.Path.EndsWith(Path.GetFileName(tarball), StringComparison.Ordinal)).ToList();
            Assert.Equal(2, requests.Count);
            Assert.All(requests, request => Assert.StartsWith("bytes=", request.Range, StringComparison.Ordinal));
            Assert.Equal($"bytes={size / 2}-", requests[0].Range);
            Assert.True(File.Exists(tarball));
            Assert.Equal(images, await ImagesAsync());

            // Altered since: refused, set aside, never imported.
            await using (var file = File.Open(tarball, FileMode.Open))
            {
                file.Position = size / 2;
                var value = file.ReadByte();
                file.Position--;
                file.WriteByte((byte)(value ^ 1));
            }

            await build.FailsAsync(1, "ChecksumMismatch", [tarball + ".bad", "SHA-256", "download a new copy"]);
            Assert.False(File.Exists(tarball));
            Assert.True(File.Exists(tarball + ".bad"));
            Assert.Equal(images, await ImagesAsync());

            // Cut short by a server that says it is whole: the sum tells.
            pipeline.Mirror.AddFault(new MirrorFault(path, MirrorFaultKind.Corrupt) { AfterBytes = size - 100, Times = 1 });
            await build.FailsAsync(1, "ChecksumMismatch", [tarball]);
            Assert.Equal(images, await ImagesAsync());

            await CancelAtAsync(build, 1, "pacman-key --init", "making the builder: packages");
            Assert.Equal(images.Where(IsBuilder), (await ImagesAsync()).Where(IsBuilder));

            pipeline.Mirror.AddFault(new MirrorFault("*/dosfstools-*", MirrorFaultKind.Unavailable));
            await build.FailsAsync(1, "PackageDownloadFailed", ["dosfstools", "MIRROR"]);
            pipeline.Mirror.ClearFaults();

            var done = await build.RunAsync(1);
            Assert.Equal(OlderRelease.Version, done.Version);
            Assert.Equal(pipeline.ImageBuild.Bootstrap!.SignedBy, done.Bootstrap!.SignedBy);
            Assert.Contains(done.Bootstrap.BuilderImage, await ImagesAsync());
            await build.NothingLeftAsync();

            // Made again, the images leave none without a name.
            var before = await IdsAsync(done);
            done = await build.RunAsync(1, new StepRequest { Force = true });
            var after = await IdsAsync(done);
            Assert.Empty(before.Intersect(after, StringComparer.Ordinal));
            foreach (var image in before)
            {
                Assert.NotEqual(0, (await Tool.TryAsync("docker", ["image", "inspect", image])).ExitCode);
            }

            // The builder works: the next step runs in it.
            build.AddSettings($"DISK_SIZE={TestBuild.SmallDisk}");
            await build.RunAsync(2);

            // QEMU's image, which a boot test would make, goes with them.
            await Tool.RunAsync("docker", "image", "tag", done.Bootstrap!.BuilderImage, QemuRecipe.Image(done.Bootstrap.BuilderImage));
            await BuildRemoval.RunAsync(build.Directory, includeVhd: true, keepImages: false, build.Reporter, default);
            Assert.DoesNotContain(QemuRecipe.Image(done.Bootstrap.BuilderImage), await ImagesAsync());
            Assert.DoesNotContain(done.Bootstrap.BuilderImage, await ImagesAsync());
            Assert.DoesNotContain(done.Bootstrap.BootstrapImage, await ImagesAsync());
        }
        finally
        {
            foreach (var image in (await ImagesAsync()).Except(images, StringComparer.Ordinal))
            {
                await Tool.TryAsync("docker", ["image", "rm", image]);
            }
        }
    }

    [Fact]
    public async Task A_signature_by_another_key()
    {
        await using var build = TestBuild.Empty(pipeline);
        using var folder = new TempFolder();
        await using var key = await OtherKey.CreateAsync(folder);
        build.AddSettings($"RELEASE_KEY={key.PublicKey}");
        var image = await Tool.RunAsync("docker", "image", "ls", "--no-trunc", "--quiet", "archazure/bootstrap");
        await build.FailsAsync(1, "SignatureByOtherKey", [pipeline.ImageBuild.Bootstrap!.SignedBy, key.Fingerprint, ".bad", "-ReleaseKey"]);
        Assert.Equal(image, await Tool.RunAsync("docker", "image", "ls", "--no-trunc", "--quiet", "archazure/bootstrap"));
        Assert.Single(Directory.EnumerateFiles(build.Directory.DownloadFolder, "*.tar.zst.bad"));
        Assert.Empty(Directory.EnumerateFiles(build.Directory.DownloadFolder, "*.tar.zst"));
    }

    [Fact]
    public async Task Builder_killed_in_the_middle()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        var working = new TaskCompletionSource();
        build.Reporter.Watch = status =>
        {
            if (status.StartsWith("installing ", StringComparison.Ordinal) && !status.Contains("packages", StringComparison.Ordinal))
            {
                working.TrySetResult();
            }
        };
        var running = build.RunAsync(3);
        Assert.Same(working.Task, await Task.WhenAny(working.Task, running));
        await Tool.RunAsync("docker", "kill", Assert.Single(await build.ContainersAsync()));
        var error = await Assert.ThrowsAnyAsync<ArchAzureException>(() => running);
        Assert.Equal("BuilderDied", error.ErrorId);
        Assert.Contains("archazure-target-", error.Message, StringComparison.Ordinal);
        Assert.Contains("Run the step again", error.Message, StringComparison.Ordinal);
        await build.NothingLeftAsync();
        Assert.Equal(2, build.State.LastGoodStep);
        Assert.False(File.Exists(build.Directory.Snapshot(3)));
    }

    /// <summary>Runs a step and cancels it when a status or a command begins so; once for each moment.</summary>
    private static async Task CancelAtAsync(TestBuild build, int step, params string[] moments)
    {
        foreach (var moment in moments)
        {
            using var stop = new CancellationTokenSource();
            var reached = false;
            build.Reporter.Watch = text =>
            {
                if (text.StartsWith(moment, StringComparison.Ordinal))
                {
                    reached = true;
                    stop.Cancel();
                }
            };
            var error = await Record.ExceptionAsync(() => build.RunAsync(step, cancellationToken: stop.Token));
            build.Reporter.Watch = null;
            Assert.True(reached, $"Step {step} never came to '{moment}': {error}");
            Assert.True(
                error is OperationCanceledException,
                $"Step {step}, cancelled at '{moment}', ended with: {error?.ToString() ?? "no error"}");
            await build.NothingLeftAsync();
            Assert.True(
                !File.Exists(build.Directory.BuildFile) || build.State.LastGoodStep == step - 1,
                $"Step {step}, cancelled at '{moment}', counts as done.");
        }
    }

    private static async Task<IReadOnlyList<string>> IdsAsync(ArchBuild build) =>
        (await Tool.RunAsync(
            "docker", "image", "inspect", "--format", "{{.Id}}", build.Bootstrap!.BootstrapImage, build.Bootstrap.BuilderImage))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private static bool IsBuilder(string image) => image.StartsWith("archazure/builder:", StringComparison.Ordinal);

    /// <summary>The older release's images.</summary>
    private static async Task<IReadOnlyList<string>> ImagesAsync() =>
        [
            .. (await Tool.RunAsync("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")).Split('\n')
                .Where(
                    image => image.StartsWith("archazure/", StringComparison.Ordinal)
                        && image.Contains($":{OlderRelease.Version}", StringComparison.Ordinal))
                .Order(StringComparer.Ordinal),
        ];
}
