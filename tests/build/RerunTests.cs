using System.Diagnostics;
using ArchAzure.Builds;
using ArchAzure.Steps;
using ArchAzure.Target;

namespace ArchAzure.BuildTests;

/// <summary>What runs again and what does not.</summary>
[Collection(Pipeline.Name)]
public sealed class RerunTests(Pipeline pipeline)
{
    [Fact]
    public async Task A_second_run_says_that_all_is_done()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 5);
        var before = build.State;
        var written = File.GetLastWriteTimeUtc(before.VhdPath!);
        var clock = Stopwatch.StartNew();
        var result = await Pwsh.RunAsync($"(Invoke-ArchBuild {Pwsh.Quote(build.Directory.Path)}).Status");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.True(clock.Elapsed < TimeSpan.FromSeconds(30), $"It took {clock.Elapsed}.");
        Assert.Contains("done", result.Output, StringComparison.Ordinal);
        foreach (var (name, index) in StepName.All.Select((name, index) => (name, index)))
        {
            Assert.Contains($"{index + 1} {name}: nothing has changed since", result.All, StringComparison.Ordinal);
        }

        Assert.Equal(before.Steps, build.State.Steps);
        Assert.Equal(written, File.GetLastWriteTimeUtc(before.VhdPath!));
        await build.NothingLeftAsync();
    }

    [Fact]
    public async Task No_other_run_comes_between_two_steps()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 5);
        var ends = 0;
        build.Reporter.Watch = status =>
        {
            if (status == "done")
            {
                ends++;
                Assert.Equal("WorkDirectoryInUse", Assert.Throws<ArchAzureException>(() => BuildLock.Take(build.Directory)).ErrorId);
            }
        };
        await build.RunAllAsync();
        Assert.Equal(5, ends);
    }

    /// <summary>The partition plan and the options of mke2fs are in no setting and no layer: they are code.</summary>
    [Fact]
    public async Task A_module_with_other_code_runs_the_steps_again_that_shape_the_image()
    {
        using var folder = new TempFolder();
        await Tool.RunAsync("cp", "--recursive", TestSetup.Module, folder["ArchAzure"]);
        var engine = Directory.EnumerateFiles(folder["ArchAzure"], "ArchAzure.Engine.dll", SearchOption.AllDirectories).Single();
        var code = await File.ReadAllBytesAsync(engine);
        var id = typeof(BuildRunner).Module.ModuleVersionId.ToByteArray();
        code[code.AsSpan().IndexOf(id)] ^= 1;
        await File.WriteAllBytesAsync(engine, code);
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 5);

        var result = await Pwsh.RunModuleAsync(
            folder["ArchAzure"], $"(Invoke-ArchBuild {Pwsh.Quote(build.Directory.Path)} -Last 2).Status");

        Assert.True(result.ExitCode == 0, result.All);
        Assert.Contains("1 New-ArchBootstrap: nothing has changed since", result.All, StringComparison.Ordinal);
        Assert.DoesNotContain("2 New-ArchDisk: nothing", result.All, StringComparison.Ordinal);
        Assert.Equal(2, build.State.LastGoodStep);
    }

    [Fact]
    public async Task A_finished_build_gets_its_checksum_and_is_compressed_once_and_its_vhd_stays()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 5);
        var (before, vhd) = (build.State, build.State.VhdPath!);
        var written = File.GetLastWriteTimeUtc(vhd);

        var first = await Pwsh.RunAsync($"(ConvertTo-AzureVhd {Pwsh.Quote(build.Directory.Path)} -Checksum -Compress).Vhd.Sha256");
        Assert.True(first.ExitCode == 0, first.All);
        var sha256 = first.Output.TrimEnd().Split('\n')[^1];
        Assert.Equal((await Tool.RunAsync("sha256sum", vhd))[..64], sha256);
        await Tool.RunAsync("env", $"--chdir={build.Directory.Path}", "sha256sum", "--check", "--strict", "SHA256SUMS");
        var sums = File.GetLastWriteTimeUtc(Path.Combine(build.Directory.Path, "SHA256SUMS"));
        Assert.True(File.Exists(vhd + ".zst"));

        // The build remembers it.
        await build.RunAllAsync();
        Assert.Equal(written, File.GetLastWriteTimeUtc(vhd));
        Assert.Equal(sums, File.GetLastWriteTimeUtc(Path.Combine(build.Directory.Path, "SHA256SUMS")));
        Assert.Equal(before.Steps, build.State.Steps);
        Assert.Equal(sha256, build.State.Vhd!.Sha256);
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task From_step_4_on_only_4_and_5_are_redone()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 5);
        var before = build.State;
        var written = File.GetLastWriteTimeUtc(before.VhdPath!);
        var disk = File.GetLastWriteTimeUtc(build.Directory.Disk);
        var target = File.GetLastWriteTimeUtc(build.Directory.Snapshot(3));
        var result = await Pwsh.RunAsync($"$null = Invoke-ArchBuild {Pwsh.Quote(build.Directory.Path)} -First 4");
        Assert.True(result.ExitCode == 0, result.All);
        var after = build.State;
        Assert.Equal(before.Steps.Take(3), after.Steps.Take(3));
        Assert.All([3, 4], index => Assert.True(after.Steps[index].Finished > before.Steps[index].Finished));
        Assert.Equal(5, after.LastGoodStep);
        Assert.Equal(disk, File.GetLastWriteTimeUtc(build.Directory.Disk));
        Assert.Equal(target, File.GetLastWriteTimeUtc(build.Directory.Snapshot(3)));
        Assert.True(File.GetLastWriteTimeUtc(after.VhdPath!) > written);
        Assert.DoesNotContain("New-ArchDisk", result.All, StringComparison.Ordinal);
        await build.NothingLeftAsync();
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task A_changed_setting_redoes_its_step_and_marks_the_later_ones()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 5);
        var before = build.State;
        build.AddSettings("RESOURCE_DISK_SWAP=512");
        await build.RunAllAsync(1, 3);
        Assert.Equal(before.Steps, build.State.Steps);

        var after = await build.RunAsync(4);
        Assert.True(after.Steps[3].Finished > before.Steps[3].Finished);
        Assert.Equal(
            [StepState.Done, StepState.Done, StepState.Done, StepState.Done, StepState.Stale], after.Steps.Select(record => record.State));
        Assert.Equal(after.Steps, build.State.Steps);
        var swap = await RunInTargetAsync(build, ["grep", "^ResourceDisk.SwapSizeMB=", "/etc/waagent.conf"], keep: false);
        Assert.Equal("ResourceDisk.SwapSizeMB=512", swap.Trim());
        await build.NothingLeftAsync();
    }

    [Fact]
    [Trait("Speed", "slow")]
    public async Task What_is_done_in_the_target_by_hand_goes_into_the_next_vhd_unless_discarded()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 4);
        var directory = Pwsh.Quote(build.Directory.Path);
        var result = await Pwsh.RunAsync(
            $$"""
            Invoke-ArchTarget {{directory}} -Command sh, -c, 'echo "kept $1" | tee /etc/kept', sh, 'a b'
            (Invoke-ArchTarget {{directory}} -Command printf, 'one\n\ntwo\rthree\r\n') -join '|'
            Invoke-ArchTarget {{directory}} -Command sh, -c, 'echo discarded > /etc/discarded' -Discard
            $null = ConvertTo-AzureVhd -WorkDirectory {{directory}}
            """);
        Assert.True(result.ExitCode == 0, result.All);
        Assert.Contains("kept a b", result.Output, StringComparison.Ordinal);
        Assert.Contains("one||two|three\n", result.Output, StringComparison.Ordinal);
        var root = $"{build.State.VhdPath}?offset={build.State.Disk!.Partitions[Disks.PartitionPlan.Root].Offset}";
        Assert.Equal("kept a b\n", await Tool.RunAsync("debugfs", "-R", "cat /etc/kept", root));
        Assert.Contains(
            "File not found", (await Tool.TryAsync("debugfs", ["-R", "stat /etc/discarded", root])).All, StringComparison.Ordinal);
        await build.NothingLeftAsync();
    }

    [Fact]
    public async Task A_command_that_fails_in_the_target_changes_nothing()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 4);
        var before = await File.ReadAllTextAsync(build.Directory.BuildFile);
        var snapshot = File.GetLastWriteTimeUtc(build.Directory.Snapshot(4));
        var error = await Assert.ThrowsAnyAsync<ArchAzureException>(
            () => RunInTargetAsync(build, ["sh", "-c", "touch /etc/half; echo out of luck >&2; exit 3"], keep: true));
        Assert.Equal("CommandFailed", error.ErrorId);
        Assert.Contains("status 3", error.Message, StringComparison.Ordinal);
        Assert.Contains("out of luck", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, await File.ReadAllTextAsync(build.Directory.BuildFile));
        Assert.Equal(snapshot, File.GetLastWriteTimeUtc(build.Directory.Snapshot(4)));
        await build.NothingLeftAsync();
    }

    [Fact]
    public async Task Remove_leaves_the_settings_and_the_vhd()
    {
        await using var build = await TestBuild.SmallAfterStepAsync(pipeline, 5);
        Directory.CreateDirectory(build.Directory.PackageCache);
        await File.WriteAllTextAsync(build.Directory.Snapshot(4) + ".part", "left by a killed run");
        await File.WriteAllTextAsync(build.Directory.BuildFile + ".part", "left by a killed run");
        var before = build.State;
        var vhd = before.VhdPath!;

        // The image is shared with the other tests.
        var result = await Pwsh.RunAsync($"Remove-ArchBuild {Pwsh.Quote(build.Directory.Path)} -KeepImage -Confirm:$false");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.Equal(
            new[]
            {
                build.Directory.SettingsFile, vhd, vhd + ".cdx.json", Path.Combine(build.Directory.Path, "SHA256SUMS"),
                Path.Combine(build.Directory.Path, "FSVERITYSUMS"),
            }.Order(StringComparer.Ordinal), Directory.EnumerateFileSystemEntries(build.Directory.Path).Order(StringComparer.Ordinal));
        Assert.NotEmpty(await Tool.RunAsync("docker", "image", "ls", "--quiet", before.Bootstrap!.BuilderImage));
    }

    [Fact]
    public async Task A_product_that_is_gone_is_made_again()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        var before = build.State;
        File.Delete(build.Directory.Disk);
        var after = await build.RunAsync(2);
        Assert.True(after.Steps[1].Finished > before.Steps[1].Finished);
        Assert.NotEqual(before.Disk!.DiskGuid, after.Disk!.DiskGuid);
        Assert.Equal(before.Disk.SizeMiB << 20, new FileInfo(build.Directory.Disk).Length);
        await build.NothingLeftAsync();
    }

    private static async Task<string> RunInTargetAsync(TestBuild build, string[] command, bool keep) =>
        (await new TargetAccess(build.Directory, build.Reporter).RunAsync(command, null, keep, (_, _) => { }, default)).Output;
}
