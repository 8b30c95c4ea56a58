using System.Diagnostics;

namespace ArchAzure.ModuleTests;

public sealed class HostTests : IDisposable
{
    private const int Sigint = 2;
    private const int Sigterm = 15;

    private readonly string _folder = Directory.CreateTempSubdirectory("archazure-host-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("'fine'", 0)]
    [InlineData("exit 7", 7)]
    [InlineData("throw 'broken'", 1)]
    [InlineData("$ErrorActionPreference = 'Stop'; Write-Error 'broken'; 'not reached'", 1)]
    [InlineData("Write-Error 'broken'; 'goes on'", 0)]
    [InlineData("sh -c 'exit 5'; 'goes on'", 0)]
    [InlineData("sh -c 'exit 5'; Write-Error 'broken'", 0)]
    [InlineData("if (", 1)]
    [InlineData("function f { exit 9 }; f; 'not reached'", 9)]
    [InlineData("try { exit 4 } finally { Write-Host 'cleaned' }", 4)]
    public async Task A_script_ends_with_the_exit_code_of_pwsh(string script, int expected)
    {
        var result = await HostProcess.Run("-NoProfile", "-NonInteractive", "-File", Script(script));

        Assert.Equal(expected, result.ExitCode);
        Assert.DoesNotContain("not reached", result.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("'fine'", 0)]
    [InlineData("'fine' # comment", 0)]
    [InlineData("Write-Error 'broken'", 1)]
    [InlineData("Write-Error 'broken'; 'fine'", 0)]
    [InlineData("Get-NoSuchCommand", 1)]
    [InlineData("exit 3", 3)]
    public async Task A_command_ends_with_the_exit_code_of_pwsh(string command, int expected)
    {
        var result = await HostProcess.Run("-Command", command);

        Assert.Equal(expected, result.ExitCode);
    }

    [Theory]
    [InlineData("-NoSuchOption")]
    [InlineData("-File")]
    [InlineData("-Command")]
    [InlineData("missing.ps1")]
    public async Task A_bad_command_line_is_refused_with_the_usage(string argument)
    {
        var result = await HostProcess.Run(argument);

        Assert.Equal(64, result.ExitCode);
        Assert.Contains("Usage: archazure-host", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Arguments_bind_as_they_do_in_pwsh_and_are_never_evaluated()
    {
        var script = Script(
            """
            param([string]$Text, [switch]$On, [switch]$Off, [int]$Number, [string]$Dash, [Parameter(Position = 0)][string]$First)
            "$Text|$On|$Off|$Number|$Dash|$First"
            """);

        var result = await HostProcess.Run(
            "-File", script, "-text", "two words \"quoted\" 'ü' $(exit 5) `n", "-On", "-Off:$false", "-Number", "42", "-Dash:-x", "plain*");

        Assert.Equal("two words \"quoted\" 'ü' $(exit 5) `n|True|False|42|-x|plain*", Assert.Single(result.OutputLines));
        Assert.Equal(0, result.ExitCode);
    }

    [Fact]
    public async Task An_unknown_parameter_is_an_error_that_names_it()
    {
        var result = await HostProcess.Run("-File", Script("[CmdletBinding()]param([string]$Known) 'not reached'"), "-Unknwon", "x");

        Assert.Equal(1, result.ExitCode);
        Assert.Contains("Unknwon", result.Error, StringComparison.Ordinal);
        Assert.Empty(result.Output);
    }

    [Fact]
    public async Task A_script_may_have_any_path()
    {
        var folder = Directory.CreateDirectory(Path.Combine(_folder, "a [b] ü $x `'")).FullName;
        var script = Path.Combine(folder, "it's.ps1");
        await File.WriteAllTextAsync(script, "$PSScriptRoot");

        var result = await HostProcess.Run("-File", script);

        Assert.Equal(folder, Assert.Single(result.OutputLines));
    }

    [Fact]
    public async Task Errors_and_warnings_go_to_standard_error_with_id_and_without_stack()
    {
        var result = await HostProcess.Run(
            "-Command", "Write-Warning 'careful'; Write-Error 'the disk is full' -ErrorId DiskFull; Write-Verbose 'detail' -Verbose; 'result'");

        Assert.Equal(["WARNING: careful", "ERROR: the disk is full [DiskFull]"], result.ErrorLines);
        Assert.Equal(["VERBOSE: detail", "result"], result.OutputLines);
    }

    [Fact]
    public async Task Tracing_adds_the_exception()
    {
        using var process = HostProcess.Start(
            ["-Command", "[int]::Parse('x')"], new Dictionary<string, string>(StringComparer.Ordinal) { ["ARCHAZURE_TRACE"] = "1" });

        var result = await HostProcess.Finish(process);

        Assert.Contains("System.FormatException", result.Error, StringComparison.Ordinal);
        Assert.Contains("   at System.", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_redirected_table_is_plain_text_that_fits_120_columns()
    {
        var result = await HostProcess.Run("-Command", "[pscustomobject]@{ Name = 'n' * 40; Value = 'v' * 200 }");

        Assert.DoesNotContain('\x1b', result.Output);
        Assert.Equal(119, result.OutputLines.Max(line => line.Length));
        Assert.StartsWith("Name ", result.OutputLines[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Redirected_progress_is_a_line_for_each_status_and_each_ten_percent()
    {
        var result = await RunWithModule("Show-SampleProgress");

        Assert.Empty(result.Output);
        Assert.Equal(
            [
                "Sample: downloading 0 of 1000 KiB (0%)", "Sample: downloading 100 of 1000 KiB (10%)",
                "Sample: downloading 200 of 1000 KiB (20%)", "Sample: downloading 300 of 1000 KiB (30%)",
                "Sample: downloading 400 of 1000 KiB (40%)", "Sample: downloading 500 of 1000 KiB (50%)",
                "Sample: downloading 600 of 1000 KiB (60%)", "Sample: downloading 700 of 1000 KiB (70%)",
                "Sample: downloading 800 of 1000 KiB (80%)", "Sample: downloading 900 of 1000 KiB (90%)",
                "Sample: downloading 1000 of 1000 KiB (100%)", "Sample: unpacking",
            ],
            result.ErrorLines);
    }

    [Theory]
    [InlineData("")]
    [InlineData("-NonInteractive")]
    public async Task A_question_nobody_can_answer_is_an_error_that_names_the_way_out(string option)
    {
        string[] options = option.Length > 0 ? [option] : [];
        var result = await HostProcess.Run([.. options, "-Command", $"Import-Module '{HostProcess.SampleModule}'; Remove-Sample"]);

        Assert.Equal(1, result.ExitCode);
        Assert.Contains("-Confirm:$false", result.Error, StringComparison.Ordinal);
        Assert.Empty(result.Output);
    }

    [Fact]
    public async Task Confirmation_can_be_given_beforehand()
    {
        var result = await RunWithModule("Remove-Sample -Confirm:$false");

        Assert.Equal("removed", Assert.Single(result.OutputLines));
        Assert.Equal(0, result.ExitCode);
    }

    [Theory]
    [InlineData(Sigint, 130)]
    [InlineData(Sigterm, 143)]
    public async Task A_signal_stops_the_script_after_its_clean_up(int signal, int exitCode)
    {
        var cleaned = Path.Combine(_folder, "cleaned");
        var script = Script($"Import-Module '{HostProcess.SampleModule}'; try {{ Wait-Sample '{cleaned}' }} finally {{ Write-Host 'finally' }}; 'not reached'");
        using var process = HostProcess.Start(["-File", script]);
        await HostProcess.NextErrorLine(process);

        var clock = Stopwatch.StartNew();
        HostProcess.Signal(process, signal);
        var result = await HostProcess.Finish(process);

        Assert.Equal(exitCode, result.ExitCode);
        Assert.Equal("cleaned", await File.ReadAllTextAsync(cleaned));
        Assert.Equal("finally", Assert.Single(result.OutputLines));
        Assert.InRange(clock.Elapsed, TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(2));
    }

    [Fact]
    public async Task A_second_signal_does_not_wait_for_the_clean_up()
    {
        var cleaned = Path.Combine(_folder, "cleaned");
        using var process = HostProcess.Start(
            ["-Command", $"Import-Module '{HostProcess.SampleModule}'; Wait-Sample '{cleaned}' -CleanUpMilliseconds 20000"]);
        await HostProcess.NextErrorLine(process);
        HostProcess.Signal(process, Sigint);
        Assert.StartsWith("Stopping", await HostProcess.NextErrorLine(process), StringComparison.Ordinal);

        HostProcess.Signal(process, Sigint);
        var result = await HostProcess.Finish(process);

        Assert.Equal(130, result.ExitCode);
        Assert.False(File.Exists(cleaned));
    }

    [Fact]
    public async Task A_busy_script_without_cmdlets_stops_too()
    {
        using var process = HostProcess.Start(
            ["-Command", "try { Write-Warning 'ready'; while ($true) { [Threading.Thread]::Sleep(20) } } finally { Write-Host 'finally' }"]);
        await HostProcess.NextErrorLine(process);

        HostProcess.Signal(process, Sigint);
        var result = await HostProcess.Finish(process);

        Assert.Equal(130, result.ExitCode);
        Assert.Equal("finally", Assert.Single(result.OutputLines));
    }

    private static Task<HostResult> RunWithModule(string command) =>
        HostProcess.Run("-NonInteractive", "-Command", $"Import-Module '{HostProcess.SampleModule}'; {command}");

    private string Script(string text)
    {
        var path = Path.Combine(_folder, "script.ps1");
        File.WriteAllText(path, text);
        return path;
    }
}
