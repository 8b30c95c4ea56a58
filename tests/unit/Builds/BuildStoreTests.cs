using System.Text.Json;
using System.Text.RegularExpressions;
using ArchAzure.Builds;
using ArchAzure.Disks;

namespace ArchAzure.UnitTests.Builds;

public sealed partial class BuildStoreTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private WorkDirectory Directory => new(_folder.Path);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void What_is_saved_is_loaded()
    {
        var build = Sample();

        BuildStore.Save(Directory, build);
        var loaded = BuildStore.Load(Directory);

        // Records compare lists by reference: their text is the same if all in them is.
        Assert.Equal(HomeLine().Replace(File.ReadAllText(Directory.BuildFile), ""), HomeLine().Replace(Saved(loaded), ""));
        Assert.Equal(build.Disk!.Partitions, loaded.Disk!.Partitions);
        Assert.Equal(_folder.Path, loaded.WorkDirectory);
        Assert.Equal("Europe/Berlin", loaded.Requested["TIME_ZONE"]);
        Assert.Equal(2, loaded.LastGoodStep);
        Assert.Equal("next: 3 Install-ArchBase", loaded.Status);
        Assert.Equal(["build.json"], System.IO.Directory.GetFiles(_folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public void Steps_after_one_that_ran_again_are_stale()
    {
        var build = Sample().WithStaleAfter(1);

        Assert.Equal(StepState.Stale, build.StepState(2));
        Assert.Equal(1, build.LastGoodStep);
        Assert.Null(build.StepState(3));
    }

    [Fact]
    public void A_folder_without_a_build_is_said_to_have_none()
    {
        Assert.Null(BuildStore.TryLoad(Directory));
        var error = Assert.Throws<ArchAzureException>(() => BuildStore.Load(Directory));
        Assert.Equal("BuildNotFound", error.ErrorId);
        Assert.Contains(_folder.Path, error.Message, StringComparison.Ordinal);
        Assert.Contains("New-ArchBootstrap", error.Message, StringComparison.Ordinal);
    }

    /// <summary>build.json as each schema's own version wrote it; a sample is never changed, only added.</summary>
    [Theory]
    [InlineData("schema-1.json")]
    [InlineData("schema-2.json")]
    [InlineData("schema-3.json")]
    [InlineData("schema-4.json")]
    public void Every_schema_since_the_first_is_carried_over_whole(string sample)
    {
        var stored = StoredSample(sample);
        _folder.Write("build.json", stored);

        var build = BuildStore.Load(Directory);
        Assert.Equal(stored, File.ReadAllText(Directory.BuildFile));
        BuildStore.Save(Directory, build);

        // The file is unchanged except for its schema number and its path.
        var saved = File.ReadAllText(Directory.BuildFile);
        Assert.Contains($"  \"home\": \"{_folder.Path}\",\n", saved, StringComparison.Ordinal);
        Assert.Equal(
            HomeLine().Replace(SchemaLine().Replace(stored, $"\"schema\": {ArchBuild.CurrentSchema},", 1), ""),
            HomeLine().Replace(saved, ""));
        Assert.Equal(ArchBuild.CurrentSchema, build.Schema);
        Assert.Equal("done", build.Status);
    }

    [Fact]
    public void There_is_a_sample_of_every_schema() =>
        Assert.All(
            Enumerable.Range(ArchBuild.OldestSchema, ArchBuild.CurrentSchema),
            schema => Assert.Contains($"\"schema\": {schema},", StoredSample($"schema-{schema}.json"), StringComparison.Ordinal));

    [Fact]
    public void A_vhd_of_an_older_schema_lacks_what_was_not_recorded_then()
    {
        using var sample = JsonDocument.Parse(StoredSample("schema-4.json"));
        _folder.Write("build.json", StoredSample("schema-4.json"));
        var vhd = BuildStore.Load(Directory).Vhd!;

        Assert.Equal(sample.RootElement.GetProperty("vhd").GetProperty("sha256").GetString(), vhd.Sha256);
        Assert.Equal(sample.RootElement.GetProperty("vhd").GetProperty("fsVerity").GetString(), vhd.FsVerity);
        _folder.Write("build.json", StoredSample("schema-3.json"));
        Assert.Equal(vhd with { FsVerity = null }, BuildStore.Load(Directory).Vhd);
        _folder.Write("build.json", StoredSample("schema-1.json"));
        Assert.Equal(vhd with { FsVerity = null, Sha256 = null }, BuildStore.Load(Directory).Vhd);
    }

    [Fact]
    public void A_copy_of_a_work_directory_has_an_identity_of_its_own()
    {
        using var other = new TempFolder();
        var original = Sample();
        BuildStore.Save(Directory, original);
        var copied = new WorkDirectory(other["copy"]);
        System.IO.Directory.CreateDirectory(copied.Path);
        File.Copy(Directory.BuildFile, copied.BuildFile);

        var copy = BuildStore.Load(copied);
        Assert.NotEqual(original.Id, copy.Id);
        Assert.Equal(copy.Id, BuildStore.Load(copied).Id);
        Assert.Equal(original.Id, BuildStore.Load(Directory).Id);

        // It keeps it, also when the original is gone.
        BuildStore.Save(copied, copy);
        File.Delete(Directory.BuildFile);
        Assert.Equal(copy.Id, BuildStore.Load(copied).Id);
    }

    [Fact]
    public void A_work_directory_that_was_moved_keeps_its_identity()
    {
        using var other = new TempFolder();
        var original = Sample();
        BuildStore.Save(Directory, original);
        var moved = new WorkDirectory(other["moved"]);
        System.IO.Directory.CreateDirectory(moved.Path);
        File.Move(Directory.BuildFile, moved.BuildFile);

        Assert.Equal(original.Id, BuildStore.Load(moved).Id);
    }

    [Fact]
    public void A_link_to_a_work_directory_is_no_copy()
    {
        using var other = new TempFolder();
        var original = Sample();
        BuildStore.Save(Directory, original);
        File.CreateSymbolicLink(other["link"], Directory.Path);

        Assert.Equal(original.Id, BuildStore.Load(new WorkDirectory(other["link"])).Id);
    }

    [Fact]
    public void A_newer_schema_is_refused_named_and_left_as_it_is()
    {
        var stored = StoredSample("schema-newer.json");
        _folder.Write("build.json", stored);

        var error = Assert.Throws<ArchAzureException>(() => BuildStore.Load(Directory));

        Assert.Equal("BuildFileTooNew", error.ErrorId);
        Assert.Equal(ErrorKind.InvalidData, error.Kind);
        Assert.Equal(Directory.BuildFile, error.Target);
        Assert.All(
            [Directory.BuildFile, "schema 1000", $"knows {ArchBuild.CurrentSchema}", "Update the module"], part =>
                Assert.Contains(part, error.Message, StringComparison.Ordinal));
        Assert.Equal(stored, File.ReadAllText(Directory.BuildFile));
        Assert.Equal(["build.json"], System.IO.Directory.GetFileSystemEntries(_folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public void A_file_cut_short_anywhere_is_refused_and_never_half_read()
    {
        BuildStore.Save(Directory, Sample());
        var text = File.ReadAllText(Directory.BuildFile).TrimEnd();
        for (var length = 0; length < text.Length; length++)
        {
            _folder.Write("build.json", text[..length]);
            Assert.Equal("BuildFileDamaged", Assert.Throws<ArchAzureException>(() => BuildStore.Load(Directory)).ErrorId);
        }
    }

    [Theory]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("{\"schema\":\"1\"}")]
    [InlineData("{\"schema\":0,\"id\":\"6b1f0c7e-2f5d-4c1b-9a53-5a3f6b8e0f4d\"}")]
    [InlineData("{\"schema\":1}")]
    [InlineData("{\"schema\":1,\"id\":\"6b1f0c7e-2f5d-4c1b-9a53-5a3f6b8e0f4d\",\"steps\":null}")]
    [InlineData("{\"schema\":1,\"id\":\"6b1f0c7e-2f5d-4c1b-9a53-5a3f6b8e0f4d\",\"bootstrap\":{\"version\":null}}")]
    [InlineData("{\"schema\":1,\"id\":\"6b1f0c7e-2f5d-4c1b-9a53-5a3f6b8e0f4d\",\"disk\":{\"partitions\":[]}}")]
    [InlineData("{\"schema\":1,\"id\":\"6b1f0c7e-2f5d-4c1b-9a53-5a3f6b8e0f4d\",\"surprise\":1}")]
    [InlineData("{\"schema\":1,\"id\":\"6b1f0c7e-2f5d-4c1b-9a53-5a3f6b8e0f4d\",\"requested\":{\"KERNEL\":null}}")]
    [InlineData("{\"schema\":1,\"id\":\"6b1f0c7e-2f5d-4c1b-9a53-5a3f6b8e0f4d\","
        + "\"steps\":[{\"number\":6,\"name\":\"x\",\"state\":\"Done\",\"inputs\":\"\"}]}")]
    [InlineData("{\"schema\":1,\"id\":\"6b1f0c7e-2f5d-4c1b-9a53-5a3f6b8e0f4d\",\"vhd\":{\"path\":\"a\\u0000\"}}")]
    [InlineData("{\"schema\":1,\"id\":\"6b1f0c7e-2f5d-4c1b-9a53-5a3f6b8e0f4d\","
        + "\"steps\":[{\"number\":1,\"name\":\"x\",\"state\":\"Done\",\"inputs\":\"\",\"seconds\":1e999}]}")]
    public void What_is_no_build_is_refused(string text)
    {
        _folder.Write("build.json", text);

        Assert.Equal("BuildFileDamaged", Assert.Throws<ArchAzureException>(() => BuildStore.Load(Directory)).ErrorId);
    }

    [Fact]
    public void What_a_file_holds_does_not_reach_the_terminal()
    {
        _folder.Write("build.json", "\u001b[2J\0{}");

        Assert.DoesNotContain(Assert.Throws<ArchAzureException>(() => BuildStore.Load(Directory)).Message, char.IsControl);
    }

    [Fact]
    public void One_run_at_a_time_and_the_other_is_named()
    {
        using (BuildLock.Take(Directory))
        {
            var error = Assert.Throws<ArchAzureException>(() => BuildLock.Take(Directory));
            Assert.Equal("WorkDirectoryInUse", error.ErrorId);
            Assert.Contains($"process {Environment.ProcessId}", error.Message, StringComparison.Ordinal);
        }

        BuildLock.Take(Directory).Dispose();
    }

    [Fact]
    public void A_lock_file_of_a_dead_run_is_taken_over()
    {
        _folder.Write("build.lock", "4194303\n");

        using (BuildLock.Take(Directory))
        {
        }
    }

    [Theory]
    [InlineData("1", 1)]
    [InlineData("5", 5)]
    [InlineData("install-waagent", 4)]
    public void Steps_go_by_number_and_name(string step, int number) => Assert.Equal(number, StepName.Parse(step));

    [Theory]
    [InlineData("0")]
    [InlineData("6")]
    [InlineData("-1")]
    [InlineData("+1")]
    [InlineData("")]
    [InlineData("Get-ArchBuild")]
    public void Other_steps_do_not_exist(string step) =>
        Assert.Equal("UnknownStep", Assert.Throws<ArchAzureException>(() => StepName.Parse(step)).ErrorId);

    private static string StoredSample(string name) => File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Builds", "samples", name));

    [GeneratedRegex(@"\n  ""home"": ""[^""]*"",", RegexOptions.None, 1000)]
    private static partial Regex HomeLine();

    [GeneratedRegex(@"""schema"": \d+,", RegexOptions.None, 1000)]
    private static partial Regex SchemaLine();

    private static string Saved(ArchBuild build)
    {
        using var other = new TempFolder();
        BuildStore.Save(new WorkDirectory(other.Path), build);
        return File.ReadAllText(other["build.json"]);
    }

    private ArchBuild Sample() => new()
    {
        Id = Guid.NewGuid(),
        WorkDirectory = _folder.Path,
        Requested = new(StringComparer.Ordinal) { ["TIME_ZONE"] = "Europe/Berlin" },
        Steps =
        [
            new(1, StepName.Bootstrap, StepState.Done, "aa", DateTimeOffset.UtcNow, 12.3),
            new(2, StepName.Disk, StepState.Done, "bb", DateTimeOffset.UtcNow, 0.5),
        ],
        Bootstrap = new("2026.11.01", "archlinux-bootstrap-2026.11.01-x86_64.tar.zst", "00", "11", "archazure/bootstrap:2026.11.01",
            "archazure/builder:2026.11.01-abc"),
        Disk = PartitionPlan.Create(2048, 2048, "ext4", Guid.NewGuid),
    };
}
