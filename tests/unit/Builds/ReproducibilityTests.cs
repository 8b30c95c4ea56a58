using ArchAzure.Builds;
using ArchAzure.Disks;
using ArchAzure.Settings;

namespace ArchAzure.UnitTests.Builds;

public sealed class ReproducibilityTests
{
    private static readonly Reproducibility s_one = Of("one", "2026.11.15");

    [Fact]
    public void The_epoch_is_the_snapshots_day()
    {
        Assert.Equal(new DateTimeOffset(2026, 11, 15, 0, 0, 0, TimeSpan.Zero), s_one.Epoch);
        Assert.Equal("1794700800", s_one.EpochSeconds);
        Assert.Equal("1794700800", s_one.Environment["SOURCE_DATE_EPOCH"]);
    }

    [Fact]
    public void A_build_that_need_not_be_the_same_has_none()
    {
        Assert.Null(Reproducibility.Of(BuildSettings.Default));
        Assert.Null(Reproducibility.Of(BuildSettings.Default.With("SNAPSHOT", "2026.11.15")));
    }

    [Fact]
    public void Identities_are_the_same_for_the_same_seed_day_and_purpose_only()
    {
        Assert.Equal(Row(s_one, "disk"), Row(Of("one", "2026.11.15"), "disk"));
        List<Guid> all =
        [
            .. Row(s_one, "disk"), .. Row(s_one, "vhd"), .. Row(Of("two", "2026.11.15"), "disk"), .. Row(Of("one", "2026.11.16"), "disk"),
        ];
        Assert.Equal(all.Count, all.Distinct().Count());

        // As blkid and others read them: RFC 9562, section 4.
        Assert.All(all, id =>
        {
            Assert.Equal('8', id.ToString()[14]);
            Assert.Contains(id.ToString()[19], "89ab");
        });
    }

    [Fact]
    public void A_disk_of_the_same_seed_has_the_same_identities()
    {
        DiskProduct Disk(Reproducibility same) => PartitionPlan.Create(2048, 2048, "ext4", same.Identities("disk"));
        Assert.Equal(Text(Disk(s_one)), Text(Disk(Of("one", "2026.11.15"))));
        Assert.NotEqual(Text(Disk(s_one)), Text(Disk(Of("two", "2026.11.15"))));

        static string Text(DiskProduct disk) => System.Text.Json.JsonSerializer.Serialize(disk);
    }

    [Theory]
    [InlineData("mke2fs 1.47.1 (20-May-2024)", true)]
    [InlineData("mke2fs 1.47.4 (6-Mar-2025)", true)]
    [InlineData("mke2fs 1.48.0", true)]
    [InlineData("mke2fs 1.47.0 (5-Feb-2023)", false)]
    [InlineData("mke2fs 1.46.6 (1-Feb-2023)", false)]
    [InlineData("mke2fs next (today)", false)]
    [InlineData("", false)]
    public void An_mke2fs_that_keeps_the_trees_times_is_refused(string version, bool isGood)
    {
        var error = Record.Exception(() => Reproducibility.RequireMke2fs(version));
        Assert.Equal(isGood ? null : "SnapshotTooOld", (error as ArchAzureException)?.ErrorId);
        Assert.Equal(isGood, error is null);
    }

    private static Reproducibility Of(string seed, string day) =>
        Reproducibility.Of(BuildSettings.Default.With("SNAPSHOT", day).With("REPRODUCIBLE", "true").With("SEED", seed))!;

    private static List<Guid> Row(Reproducibility same, string purpose)
    {
        var next = same.Identities(purpose);
        return [.. Enumerable.Range(0, 20).Select(_ => next())];
    }
}
