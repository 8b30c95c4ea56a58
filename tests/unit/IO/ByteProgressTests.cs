namespace ArchAzure.UnitTests.IO;

public sealed class ByteProgressTests
{
    [Fact]
    public async Task Tells_percent_and_time_left_and_not_more_than_a_display_can_show()
    {
        var reporter = new RecordingReporter();
        var progress = new ByteProgress(reporter, "activity", "status", 4000L << 20);

        progress.Report(0);
        progress.Report(10 << 20);
        await Task.Delay(1100);
        progress.Report(1000L << 20);
        progress.Report(4001L << 20);
        await Task.Delay(260);
        progress.Report(4001L << 20);

        var updates = reporter.Updates.ToArray();
        Assert.Equal([0, 25, 100], updates.Select(update => update.Percent));
        Assert.Null(updates[0].SecondsRemaining);
        Assert.InRange(updates[1].SecondsRemaining!.Value, 4, 60);
        Assert.Equal(0, updates[2].SecondsRemaining);
        Assert.Equal("0 of 4000 MiB", updates[0].Detail);
        Assert.Matches(@"^1000 of 4000 MiB, \d{2,3}\.\d MiB/s$", updates[1].Detail);
        Assert.All(updates, update => Assert.Equal(("activity", "status"), (update.Activity, update.Status)));
    }
}
