namespace ArchAzure.ModuleTests;

/// <summary>build.ps1 under the host, as build.sh runs it where there is no pwsh.</summary>
public sealed class BuildScriptTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("archazure-script-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_server_that_does_not_answer_is_told_by_the_exit_code()
    {
        using var engine = new StandInEngine();
        var server = $"http://127.0.0.1:{StandInEngine.FreePort()}/iso/";
        await File.WriteAllTextAsync(Path.Combine(_folder, "settings.env"), $"RELEASE_URL={server}\n");

        var result = await Run(engine.Address);

        Assert.Equal(69, result.ExitCode);
        Assert.Contains(result.ErrorLines, line => line.StartsWith("ERROR: ", StringComparison.Ordinal) && line.Contains(server, StringComparison.Ordinal));
        Assert.Empty(result.Output);
    }

    [Theory]
    [InlineData("DISK_SIZE=30G", "DISK_SIZE", "30720")]
    [InlineData("NO_SUCH_KEY=1", "NO_SUCH_KEY", "settings.env:1")]
    [InlineData("MIRROR=$(reboot)", "MIRROR", "settings.env:1")]
    public async Task Bad_settings_end_it_before_anything_is_touched(string line, string key, string remedy)
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "settings.env"), line + "\n");

        var result = await Run($"unix://{_folder}/no-engine.sock");

        Assert.Equal(1, result.ExitCode);
        Assert.Contains(key, result.Error, StringComparison.Ordinal);
        Assert.Contains(remedy, result.Error, StringComparison.Ordinal);
        Assert.Empty(result.Output);
        Assert.Single(Directory.EnumerateFileSystemEntries(_folder));
    }

    [Fact]
    public async Task Steps_that_do_not_exist_and_an_engine_that_is_not_there_are_plain_errors()
    {
        var step = await Run($"unix://{_folder}/no-engine.sock", "-First", "7");
        var engine = await Run($"unix://{_folder}/no-engine.sock");

        Assert.Equal((1, 1), (step.ExitCode, engine.ExitCode));
        Assert.Contains("There is no step '7'", step.Error, StringComparison.Ordinal);
        Assert.Contains("no-engine.sock", engine.Error, StringComparison.Ordinal);
    }

    private async Task<HostResult> Run(string dockerHost, params string[] arguments)
    {
        var script = Path.Combine(HostProcess.Checkout, "build.ps1");
        var process = HostProcess.Start(
            ["-NonInteractive", "-File", script, "-Module", ModuleSession.Manifest, "-WorkDirectory", _folder, .. arguments],
            new Dictionary<string, string>(StringComparer.Ordinal) { ["DOCKER_HOST"] = dockerHost });
        
        // A server that does not answer is asked again, with growing pauses, for a minute.
        return await HostProcess.Finish(process, limitSeconds: 180);
    }
}
