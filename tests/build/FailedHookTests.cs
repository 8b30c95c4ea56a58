namespace ArchAzure.BuildTests;

/// <summary>pacman ends with 0 whatever becomes of its packages' hooks: the user is told all the same.</summary>
[Collection(Pipeline.Name)]
public sealed class FailedHookTests(Pipeline pipeline)
{
    [Fact]
    [Trait("Speed", "slow")]
    public async Task What_an_initramfs_lacks_is_told_with_its_meaning()
    {
        using var folder = new TempFolder();
        var drop = folder["mine/files/etc/mkinitcpio.conf.d/wrong.conf"];
        Directory.CreateDirectory(Path.GetDirectoryName(drop)!);
        await File.WriteAllTextAsync(drop, "MODULES+=(no_such_module)\n");
        await File.WriteAllTextAsync(folder["mine/configure"], "echo '==> ERROR: file not found: \"/of/the/layer\"' >&2\n");
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        build.AddSettings($"LAYERS={folder["mine"]}");

        await build.RunAsync(3);

        // Not fatal: some errors of mkinitcpio are harmless.
        Assert.Equal(3, build.State.LastGoodStep);
        var hook = Assert.Single(
            build.Reporter.Warnings, warning => warning.Contains("module not found: 'no_such_module'", StringComparison.Ordinal));
        Assert.StartsWith("The hook '", hook, StringComparison.Ordinal);
        Assert.All(
            ["correct MODULES", "may not be complete", "Test-AzureVhd", build.Directory.Log(3)],
            part => Assert.Contains(part, hook, StringComparison.Ordinal));
        var script = Assert.Single(build.Reporter.Warnings, warning => warning.Contains("/of/the/layer", StringComparison.Ordinal));
        Assert.Contains($"{folder["mine/configure"]}' of the layer 'mine'", script, StringComparison.Ordinal);
        Assert.Contains("WARNING: The hook '", await File.ReadAllTextAsync(build.Directory.Log(3)), StringComparison.Ordinal);
        await build.NothingLeftAsync();
    }
}
