using System.Management.Automation;

namespace ArchAzure.SampleModule;

/// <summary>Works until it is stopped, then cleans up for a moment and leaves a file that proves it.</summary>
[Cmdlet(VerbsLifecycle.Wait, "Sample")]
public sealed class WaitSampleCommand : PSCmdlet, IDisposable
{
    private readonly CancellationTokenSource _stopping = new();

    /// <summary>The file written after the clean-up.</summary>
    [Parameter(Mandatory = true, Position = 0)]
    public string CleanedPath { get; set; } = "";

    /// <summary>How long the clean-up takes, in milliseconds.</summary>
    [Parameter]
    public int CleanUpMilliseconds { get; set; } = 200;

    /// <inheritdoc/>
    public void Dispose() => _stopping.Dispose();

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        var progress = new ProgressRecord(0, "Wait-Sample", "ready");
        WriteProgress(progress);
        _stopping.Token.WaitHandle.WaitOne();
        Thread.Sleep(CleanUpMilliseconds);
        File.WriteAllText(CleanedPath, "cleaned");
        throw new PipelineStoppedException();
    }

    /// <inheritdoc/>
    protected override void StopProcessing() => _stopping.Cancel();
}

/// <summary>Asks before it does anything.</summary>
[Cmdlet(VerbsCommon.Remove, "Sample", SupportsShouldProcess = true, ConfirmImpact = ConfirmImpact.High)]
[OutputType(typeof(string))]
public sealed class RemoveSampleCommand : PSCmdlet
{
    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        if (ShouldProcess("sample"))
        {
            WriteObject("removed");
        }
    }
}

/// <summary>Shows progress from 0 to 100 in many small updates.</summary>
[Cmdlet(VerbsCommon.Show, "SampleProgress")]
public sealed class ShowSampleProgressCommand : PSCmdlet
{
    /// <summary>Pause between the updates, in milliseconds.</summary>
    [Parameter]
    public int Pause { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        for (var i = 0; i <= 1000; i++)
        {
            WriteProgress(new ProgressRecord(0, "Sample", $"downloading {i} of 1000 KiB") { PercentComplete = i / 10 });
            Thread.Sleep(Pause);
        }

        WriteProgress(new ProgressRecord(0, "Sample", "unpacking"));
        WriteProgress(new ProgressRecord(0, "Sample", "done") { RecordType = ProgressRecordType.Completed });
    }
}
