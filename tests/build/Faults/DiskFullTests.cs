namespace ArchAzure.BuildTests.Faults;

/// <summary>A work directory without room, at several points of each step; then there is room, and the next run ends right.</summary>
[Collection(Pipeline.Name)]
public sealed class DiskFullTests(Pipeline pipeline)
{
    // One of them must be in the error.
    private static readonly string[] s_words = ["space", "room", "MiB free"];

    [Theory]
    [InlineData(5, 150)]
    public Task Work_directory_without_room(int step, int freeMiB) => WithoutRoomAsync(step, freeMiB);

    [Theory]
    [Trait("Speed", "long")]
    [InlineData(1, 0)]
    [InlineData(1, 10)]
    [InlineData(2, 16)]
    [InlineData(3, 0)]
    [InlineData(3, 40)]
    [InlineData(3, 140)]
    [InlineData(4, 20)]
    [InlineData(4, 60)]
    [InlineData(5, 0)]
    [InlineData(5, 30)]
    public Task Work_directory_without_room_of_the_long_matrix(int step, int freeMiB) => WithoutRoomAsync(step, freeMiB);

    private async Task WithoutRoomAsync(int step, int freeMiB)
    {
        await using var run = await FaultRun.PrepareAsync(pipeline, step, cache: false);
        await using var small = await SmallFileSystem.MountAsync(run.Build.Directory.Path, "4g");
        await small.LeaveAsync(freeMiB);
        using var process = run.Start();
        var end = await FaultRun.EndAsync(process, () => Task.CompletedTask, TimeSpan.FromMinutes(5));
        Assert.True(
            end.ExitCode == 1 && s_words.Any(word => end.Text.Contains(word, StringComparison.OrdinalIgnoreCase)),
            $"The step ended with {end.ExitCode}: {end.Text}");
        await run.StateIsGoodAsync(step - 1);
        await small.GrowAsync();
        await run.EndsRightAsync();
    }
}
