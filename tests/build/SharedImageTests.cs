using ArchAzure.Builds;

namespace ArchAzure.BuildTests;

/// <summary>
/// Builds of one release share their Docker images, and copies of a work directory their past: none takes what another uses.
/// </summary>
[Collection(Pipeline.Name)]
public sealed class SharedImageTests(Pipeline pipeline)
{
    [Fact]
    public async Task An_image_goes_with_the_last_build_that_uses_it()
    {
        await using var images = await OwnImages.MakeAsync(pipeline);
        await using var first = await BuildAsync(images);
        await using var second = await BuildAsync(images);
        await first.RunAsync(2);
        await second.RunAsync(2);

        await RemoveAsync(first);
        Assert.Equal([true, true], await images.ExistAsync());
        Assert.Equal(2, first.Reporter.Lines.Count(text => text.Contains("another build uses it", StringComparison.Ordinal)));
        await second.RunAsync(2);
        Assert.Contains(second.Reporter.Lines, text => text.Contains("nothing has changed", StringComparison.Ordinal));

        var id = second.State.Id;
        await RemoveAsync(second);
        Assert.Equal([false, false], await images.ExistAsync());
        Assert.Equal("", await Tool.RunAsync("docker", "image", "ls", "--quiet", $"archazure/build:{id:N}*"));
    }

    [Fact]
    public async Task An_image_in_use_stays_and_the_rest_goes()
    {
        await using var images = await OwnImages.MakeAsync(pipeline);
        await using var build = await BuildAsync(images);
        await build.RunAsync(2);
        var container = (await Tool.RunAsync("docker", "run", "--detach", "--network=none", "--interactive", images.Builder)).Trim();
        try
        {
            await RemoveAsync(build);
        }
        finally
        {
            await Tool.RunAsync("docker", "rm", "--force", container);
        }

        Assert.Equal([true, false], await images.ExistAsync());
        Assert.Contains(build.Reporter.Warnings, text => text.Contains($"docker image rm {images.Builder}", StringComparison.Ordinal));
        Assert.False(File.Exists(build.Directory.BuildFile));
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task The_same_image_made_again_stales_nothing()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 5);
        var before = build.State;
        await using var other = await TestBuild.SmallAfterStepAsync(pipeline, 2);
        await other.RunAsync(2);
        var old = await ImageIdAsync(before.Bootstrap!.BuilderImage);

        await build.RunAsync(1, new() { Force = true });

        Assert.Equal(before.Bootstrap, build.State.Bootstrap);
        Assert.Equal(5, build.State.LastGoodStep);

        // The other build uses the new one too, and keeps its hold on it.
        var made = await ImageIdAsync(before.Bootstrap.BuilderImage);
        Assert.NotEqual(old, made);
        Assert.Equal(made, await ImageIdAsync($"archazure/build:{other.State.Id:N}-builder"));
        Assert.Equal(made, await ImageIdAsync($"archazure/build:{build.State.Id:N}-builder"));
    }

    private static async Task<string> ImageIdAsync(string image) =>
        await Tool.RunAsync("docker", "image", "inspect", "--format", "{{.Id}}", image);

    [Fact]
    public async Task What_killed_runs_have_left_goes_with_the_build()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 4);
        var vhd = build.Directory.Vhd(build.State.Version!);
        string[] left =
        [
            vhd + ".part", vhd + ".root.part", vhd + ".cdx.json.part", Path.Combine(build.Directory.Path, "SHA256SUMS.part"),
            Path.Combine(build.Directory.Path, "FSVERITYSUMS.part"), vhd + ".zst.part",
            build.Directory.Snapshot(4) + ".part", build.Directory.Disk + ".part", build.Directory.BuildFile + ".part",
        ];
        Array.ForEach(left, file => File.WriteAllText(file, ""));

        await BuildRemoval.RunAsync(build.Directory, includeVhd: false, keepImages: true, build.Reporter, default);

        Assert.Equal(["settings.env"], Directory.EnumerateFileSystemEntries(build.Directory.Path).Select(Path.GetFileName));
    }

    [Fact]
    public async Task A_copy_of_a_work_directory_leaves_the_builder_of_the_original_alone()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        await using var copy = await TestBuild.AfterStepAsync(pipeline, 1);
        Directory.Delete(copy.Directory.Path, recursive: true);
        await Tool.RunAsync("cp", "--archive", "--sparse=always", build.Directory.Path, copy.Directory.Path);
        var builder = (await Tool.RunAsync(
            "docker", "run", "--detach", "--network=none", "--interactive", "--label", $"archazure.build={build.State.Id}",
            pipeline.ImageBuild.Bootstrap!.BuilderImage)).Trim();

        await copy.RunAsync(2, new() { Force = true });
        await RemoveAsync(copy);

        Assert.Equal("true", (await Tool.RunAsync("docker", "inspect", "--format", "{{.State.Running}}", builder)).Trim());
    }

    private async Task<TestBuild> BuildAsync(OwnImages images)
    {
        var build = await TestBuild.AfterStepAsync(pipeline, 2);
        var state = build.State;
        BuildStore.Save(
            build.Directory,
            state with { Bootstrap = state.Bootstrap! with { BuilderImage = images.Builder, BootstrapImage = images.Bootstrap } });
        return build;
    }

    private static Task<int> RemoveAsync(TestBuild build) =>
        BuildRemoval.RunAsync(build.Directory, includeVhd: true, keepImages: false, build.Reporter, default);

    /// <summary>Images that no build but the test's own has ever used.</summary>
    private sealed class OwnImages : IAsyncDisposable
    {
        private readonly string _tag = Guid.NewGuid().ToString("N");

        public string Builder => $"archazure/builder:test-{_tag}";

        public string Bootstrap => $"archazure/bootstrap:test-{_tag}";

        public static async Task<OwnImages> MakeAsync(Pipeline pipeline)
        {
            var images = new OwnImages();
            var sources = new[]
            {
                (images.Builder, pipeline.ImageBuild.Bootstrap!.BuilderImage),
                (images.Bootstrap, pipeline.ImageBuild.Bootstrap!.BootstrapImage),
            };
            foreach (var (name, source) in sources)
            {
                // Another label is another image.
                var container = (await Tool.RunAsync("docker", "create", "--network=none", source, "true")).Trim();
                await Tool.RunAsync("docker", "commit", "--change", $"LABEL test={images._tag}", container, name);
                await Tool.RunAsync("docker", "rm", container);
            }

            return images;
        }

        public async Task<IReadOnlyList<bool>> ExistAsync() =>
            (bool[])
            [
                (await Tool.TryAsync("docker", ["image", "inspect", Builder])).ExitCode == 0,
                (await Tool.TryAsync("docker", ["image", "inspect", Bootstrap])).ExitCode == 0,
            ];

        public async ValueTask DisposeAsync() => await Tool.TryAsync("docker", ["image", "rm", Builder, Bootstrap]);
    }
}
