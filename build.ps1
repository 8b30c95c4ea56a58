# Runs the pipeline for build.sh; use the module itself from a prompt or a script of yours.
param(
    [Parameter(Mandatory)] [string] $Module,
    [Parameter(Mandatory)] [string] $WorkDirectory,
    [string] $First,
    [string] $Last
)

$ErrorActionPreference = 'Stop'
# pwsh keeps its colours in a file.
if ([Console]::IsOutputRedirected -or $env:CI -eq 'true') { $PSStyle.OutputRendering = 'PlainText' }
$stopped = $true
try {
    Import-Module $Module
    $steps = @{}
    if ($First) { $steps.First = $First }
    if ($Last) { $steps.Last = $Last }
    $build = Invoke-ArchBuild -WorkDirectory $WorkDirectory @steps
    $build.Steps | Out-Default
    # No table: its column would break the path.
    $build.Status -eq 'done' ? "done: $($build.VhdPath)" : $build.Status
    $stopped = $false
}
catch {
    $stopped = $false
    # One line, whatever the width. What is no error of the module's own is a fault of it: then all that is known.
    $Host.UI.WriteErrorLine("ERROR: $_")
    if ($_.FullyQualifiedErrorId -notlike '*,ArchAzure.PowerShell.*') { $Host.UI.WriteErrorLine("$($_.ScriptStackTrace)`n$($_.Exception)") }
    # 69, EX_UNAVAILABLE of sysexits.h: build.sh names the ways out.
    exit ($_.FullyQualifiedErrorId -match '^(Download(Failed|NotFound|Denied)|PackageDownloadFailed|AgentSourceUnreachable),' ? 69 : 1)
}
finally {
    # Ctrl-C. pwsh itself would end with 0.
    if ($stopped) { [Environment]::Exit(130) }
}
