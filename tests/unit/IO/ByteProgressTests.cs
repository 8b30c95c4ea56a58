namespace ArchAzure.UnitTests.IO;

public sealed class ByteProgressTests
{
    [Fact]
    public async Task Tells_percent_and_time_left_and_not_more_than_a_display_can_show()
    {
        var reporter = new RecordingReporter();
        var progress = new ByteProgress(reporter, "activity", "status", 4000);

        progress.Report(0);
        progress.Report(10);
        await Task.Delay(1100);
        progress.Report(1000);
        progress.Report(4001);
        await Task.Delay(260);
        progress.Report(4001);

        var updates = reporter.Updates.ToArray();
        Assert.Equal([0, 25, 100], updates.Select(update => update.Percent));
        Assert.Null(updates[0].SecondsRemaining);
        Assert.InRange(updates[1].SecondsRemaining!.Value, 4, 60);
        Assert.Equal(0, updates[2].SecondsRemaining);
        Assert.All(updates, update => Assert.Equal(("activity", "status"), (update.Activity, update.Status)));
    }
}
