using System.Globalization;
using ArchAzure.Builds;
using ArchAzure.StandIn;
using ArchAzure.Steps;

namespace ArchAzure.BuildTests;

/// <summary>Each error says what, why and what to do, and leaves no container and no half file.</summary>
[Collection(Pipeline.Name)]
public sealed class BadInputTests(Pipeline pipeline) : IDisposable
{
    // An account of this range belongs to nobody; its files go with the test.
    private const int OtherUser = 47011;

    public void Dispose() => pipeline.Mirror.ClearFaults();

    [Fact]
    public async Task No_docker_engine()
    {
        await using var build = TestBuild.Empty(pipeline);
        using var folder = new TempFolder();
        using (new DockerHostVariable($"unix://{folder["nothing.sock"]}"))
        {
            var error = await Assert.ThrowsAsync<ArchAzureException>(() => build.RunAsync(1));
            Assert.Equal("DockerEngineNotFound", error.ErrorId);
            Assert.Contains(folder["nothing.sock"], error.Message, StringComparison.Ordinal);
            Assert.Contains("Start Docker", error.Message, StringComparison.Ordinal);
            Assert.Contains("DOCKER_HOST", error.Message, StringComparison.Ordinal);
        }

        Assert.False(File.Exists(build.Directory.BuildFile));
        await build.NothingLeftAsync();
    }

    [Fact]
    public async Task No_permission_on_the_docker_socket()
    {
        await using var user = await OtherUserHost.CreateAsync(pipeline, OtherUser, mayUseDocker: false);
        var result = await user.RunAsync($"New-ArchBootstrap {Pwsh.Quote(user.WorkDirectory)}");
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains("You may not use the Docker engine at", result.Error, StringComparison.Ordinal);
        Assert.Contains("usermod -aG docker", result.Error, StringComparison.Ordinal);
        Assert.Equal(["settings.env"], Directory.EnumerateFileSystemEntries(user.WorkDirectory).Select(Path.GetFileName));
    }

    [Fact]
    public async Task Work_directory_not_writable()
    {
        await using var user = await OtherUserHost.CreateAsync(pipeline, OtherUser, mayUseDocker: true);
        using var folder = new TempFolder();
        File.SetUnixFileMode(
            folder.Path,
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        var result = await user.RunAsync(
            $"New-ArchBootstrap {Pwsh.Quote(folder.Path)} -Settings {Pwsh.Quote(Path.Combine(user.WorkDirectory, "settings.env"))}");
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains(
            $"The work directory '{folder.Path}' cannot be written", result.Error.ReplaceLineEndings(" "), StringComparison.Ordinal);
        Assert.Contains("Change its permissions", result.Error.ReplaceLineEndings(" "), StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFileSystemEntries(folder.Path));
    }

    [Fact]
    public async Task Work_directory_is_a_file()
    {
        using var folder = new TempFolder();
        var file = folder.Write("file", "text");
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () =>
                new BuildRunner(TestSetup.Layers, new RecordingReporter())
                    .RunAsync(new WorkDirectory(file), 1, 1, new StepRequest(), default));
        Assert.Equal("WorkDirectoryIsFile", error.ErrorId);
        Assert.Contains(file, error.Message, StringComparison.Ordinal);
        Assert.Equal("text", await File.ReadAllTextAsync(file));
    }

    [Fact]
    public async Task Too_little_room_for_the_disk()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 1);
        await using var small = await SmallFileSystem.MountAsync(build.Directory.Path, "16m");
        await build.FailsAsync(2, "NotEnoughSpace", [build.Directory.Path, "MiB free", "Free some room"]);
        Assert.False(File.Exists(build.Directory.Disk));
    }

    [Fact]
    public async Task Too_little_room_in_the_middle_of_a_step()
    {
        // 64 MiB hold the package cache of no step 3: pacman meets the end of the disk.
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        await using var small = await SmallFileSystem.MountAsync(build.Directory.Path, "64m");
        await build.FailsAsync(3, "NotEnoughSpace", [build.Directory.Log(3), "no space left", "Free some room"]);
        Assert.Equal(2, build.State.LastGoodStep);
        Assert.False(File.Exists(build.Directory.Snapshot(3)));
    }

    [Fact]
    public async Task A_folder_for_temporary_files_that_is_not_there_is_told_and_not_made()
    {
        using var folder = new TempFolder();
        var result = await Pwsh.RunAsync(
            $"$env:TMPDIR = {Pwsh.Quote(folder["none"])}; Test-AzureVhd {Pwsh.Quote(pipeline.ImageBuild.VhdPath!)} -Boot -Qemu Host");
        Assert.NotEqual(0, result.ExitCode);
        Assert.All(
            [folder["none"], "does not exist", "TMPDIR"],
            part => Assert.Contains(part, result.Error.ReplaceLineEndings(" "), StringComparison.Ordinal));
        Assert.False(Directory.Exists(folder["none"]));
    }

    [Theory]
    [InlineData("KEYMAP", "no-such-map", "-Keymap")]
    [InlineData("TIME_ZONE", "Europe/Berlln", "-TimeZone")]
    [InlineData("TARGET_LANG", "xx_XX.UTF-8", "-Locale")]
    public async Task A_name_that_arch_does_not_know_is_refused_before_any_package_and_not_remembered(
        string key, string value, string parameter)
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);

        await build.FailsAsync(
            3,
            "InvalidSettingValue",
            [key, value, parameter],
            new() { Parameters = new Dictionary<string, string>(StringComparer.Ordinal) { [key] = value } });

        Assert.DoesNotContain("> pacman", await File.ReadAllTextAsync(build.Directory.Log(3)), StringComparison.Ordinal);
        Assert.Empty(build.State.Requested);
        Assert.Contains(build.Reporter.Warnings, text => text.StartsWith($"{parameter} will not be remembered", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_remembered_key_that_is_gone_is_named_as_such_and_can_be_taken_back()
    {
        using var folder = new TempFolder();
        File.Copy(pipeline.Settings.ReleaseKey!, folder["key.asc"]);
        await using var build = await TestBuild.AfterStepAsync(pipeline, 1);
        await build.RunAsync(1, new() { Parameters = Given(folder["key.asc"]) });
        Assert.Equal(folder["key.asc"], build.State.Requested["RELEASE_KEY"]);
        File.Delete(folder["key.asc"]);

        await build.FailsAsync(
            1,
            "ReleaseKeyNotFound",
            [folder["key.asc"], "what -ReleaseKey asked for in an earlier run", "-ReleaseKey ''"],
            new() { Force = true });

        await build.RunAsync(1, new() { Parameters = Given("") });
        Assert.DoesNotContain("RELEASE_KEY", build.State.Requested.Keys);
        await build.NothingLeftAsync();

        static Dictionary<string, string> Given(string key) => new(StringComparer.Ordinal) { ["RELEASE_KEY"] = key };
    }

    [Theory]
    [InlineData("MIROR=https://mirror.example.org/$repo/os/$arch", "UnknownSetting", "settings.env:", "MIROR", "Did you mean MIRROR?")]
    [InlineData("DISK_SIZE=30G", "SettingWrongUnit", "settings.env:", "DISK_SIZE", "write 30720")]
    [InlineData("DISK_SIZE=1024", "InvalidSettingValue", "settings.env:", "DISK_SIZE", "2048")]
    [InlineData("DISK_SIZE=2048.5", "InvalidSettingValue", "settings.env:", "DISK_SIZE", "whole number of MiB")]
    [InlineData("TIME_ZONE=$(touch /tmp/archazure-was-here)", "SettingNotExecuted", "settings.env:", "TIME_ZONE", "never executed")]
    [InlineData("KEYMAP=`touch /tmp/archazure-was-here`", "SettingNotExecuted", "settings.env:", "KEYMAP", "never executed")]
    public async Task Settings(string line, string errorId, params string[] named)
    {
        await using var build = TestBuild.Empty(pipeline, line);
        await build.FailsAsync(1, errorId, named);
        Assert.False(File.Exists(build.Directory.BuildFile));
        Assert.False(File.Exists("/tmp/archazure-was-here"));
    }

    [Theory]
    [InlineData("1024", "InvalidSettingValue", "2048")]
    [InlineData("2 GB", "SettingWrongUnit", "MiB")]
    public async Task Size_as_a_parameter(string size, string errorId, string named)
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 1);
        await build.FailsAsync(2, errorId, ["-SizeMiB", named], Request("DISK_SIZE", size));
        Assert.False(File.Exists(build.Directory.Disk));
        Assert.Empty(build.State.Requested);
    }

    [Fact]
    public async Task Unknown_version()
    {
        await using var build = TestBuild.Empty(pipeline, "ARCH_VERSION=2026.09.01");
        await build.FailsAsync(
            1, "UnknownVersion", ["2026.09.01", "It offers 2026.11.01, 2026.10.01", pipeline.Settings.ReleaseUrl.AbsoluteUri]);
    }

    [Fact]
    public async Task Step_without_its_predecessor()
    {
        await using (var build = TestBuild.Empty(pipeline))
        {
            await build.FailsAsync(3, "BuildNotFound", [build.Directory.Path, "New-ArchBootstrap"]);
        }

        await using (var build = await TestBuild.AfterStepAsync(pipeline, 2))
        {
            await build.FailsAsync(
                4, "StepMissing", ["Install-WaAgent (step 4)", "Install-ArchBase (step 3)", "has not been run", "Invoke-ArchBuild"]);
            BuildStore.Save(build.Directory, (await Full()).WithStaleAfter(2));
            await build.FailsAsync(
                5, "StepStale", ["ConvertTo-AzureVhd (step 5)", "Install-ArchBase (step 3)", "no longer fits", "Invoke-ArchBuild"]);

            Task<ArchBuild> Full() => Task.FromResult(pipeline.ImageBuild with { Id = build.State.Id });
        }
    }

    [Fact]
    public async Task Build_file_of_a_newer_version()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 1);
        var text = (await File.ReadAllTextAsync(build.Directory.BuildFile))
            .Replace($"\"schema\": {ArchBuild.CurrentSchema}", $"\"schema\": {ArchBuild.CurrentSchema + 1}", StringComparison.Ordinal);
        await File.WriteAllTextAsync(build.Directory.BuildFile, text);
        await build.FailsAsync(
            2, "BuildFileTooNew", [build.Directory.BuildFile, $"schema {ArchBuild.CurrentSchema + 1}", "Update the module"]);
        Assert.Equal(text, await File.ReadAllTextAsync(build.Directory.BuildFile));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(200)]
    [InlineData(-3)]
    public async Task Build_file_cut_short(int length)
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 1);
        var text = await File.ReadAllTextAsync(build.Directory.BuildFile);
        await File.WriteAllTextAsync(build.Directory.BuildFile, length < 0 ? text[..^-length] : text[..length]);
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => build.RunAsync(2));
        Assert.Equal("BuildFileDamaged", error.ErrorId);
        Assert.Contains(build.Directory.BuildFile, error.Message, StringComparison.Ordinal);
        Assert.Contains("Remove-ArchBuild", error.Message, StringComparison.Ordinal);
        Assert.Empty(await build.ContainersAsync());
    }

    [Fact]
    public async Task Package_that_does_not_exist()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        await build.FailsAsync(
            3, "PackageNotFound", ["no-such-package", "PACKAGES", build.Directory.Log(3)], Request("PACKAGES", "no-such-package"));
        Assert.Equal(2, build.State.LastGoodStep);
        Assert.False(File.Exists(build.Directory.Snapshot(3)));
    }

    [Fact]
    public async Task Mirror_without_one_of_its_packages()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        pipeline.Mirror.AddFault(new MirrorFault("*/sudo-*", MirrorFaultKind.NotFound));
        await build.FailsAsync(3, "PackageDownloadFailed", ["sudo-", "404", "MIRROR", "what is downloaded is kept"]);
        Assert.Equal(2, build.State.LastGoodStep);
    }

    [Fact]
    public async Task Mirror_with_an_altered_package()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        pipeline.Mirror.AddFault(new MirrorFault("*/sudo-*.pkg.tar.???", MirrorFaultKind.Corrupt) { AfterBytes = 1000 });
        await build.FailsAsync(3, "PackageNotTrusted", ["sudo", "MIRROR", "Use another mirror"]);
        Assert.Equal(2, build.State.LastGoodStep);
    }

    [Fact]
    public async Task Local_bootstrap_that_is_missing_or_has_no_date()
    {
        await using var build = TestBuild.Empty(pipeline);
        using var folder = new TempFolder();
        await build.FailsAsync(
            1, "BootstrapNotFound", [folder["none.tar.zst"], "-BootstrapPath"], Request("BOOTSTRAP_PATH", folder["none.tar.zst"]));
        var file = folder.Write("archlinux-bootstrap-x86_64.tar.zst", "x");
        await build.FailsAsync(1, "BootstrapVersionUnknown", [file, "-Version"], Request("BOOTSTRAP_PATH", file));
    }

    [Fact]
    public async Task Layer_that_is_missing_or_none()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        using var folder = new TempFolder();
        await build.FailsAsync(3, "LayerNotFound", [folder["none"]], Request("LAYERS", folder["none"]));
        folder.Write("bad/packages", "vim; rm -rf /\n");
        await build.FailsAsync(3, "LayerInvalid", [folder["bad"], "vim; rm -rf /"], Request("LAYERS", folder["bad"]));
    }

    [Fact]
    public async Task Two_runs_at_once()
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 2);
        var working = new TaskCompletionSource();
        using var stop = new CancellationTokenSource();
        build.Reporter.Watch = status =>
        {
            if (status.Contains("installing packages", StringComparison.Ordinal))
            {
                working.TrySetResult();
            }
        };
        var first = build.RunAsync(3, cancellationToken: stop.Token);
        Assert.Same(working.Task, await Task.WhenAny(working.Task, first));

        var second = new BuildRunner(TestSetup.Layers, new RecordingReporter());
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => second.RunAsync(build.Directory, 3, 3, new StepRequest(), default));
        Assert.Equal("WorkDirectoryInUse", error.ErrorId);
        Assert.Contains(build.Directory.Path, error.Message, StringComparison.Ordinal);
        Assert.Contains($"process {Environment.ProcessId.ToString(CultureInfo.InvariantCulture)}", error.Message, StringComparison.Ordinal);
        Assert.False(first.IsCompleted, "The second run has disturbed the first.");
        Assert.NotEmpty(await build.ContainersAsync());

        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
        await build.NothingLeftAsync();
    }

    private static StepRequest Request(string key, string value) =>
        new() { Parameters = new Dictionary<string, string>(StringComparer.Ordinal) { [key] = value } };
}
