# Runs the pipeline for build.sh; use the module itself from a prompt or a script of yours.
param(
    [Parameter(Mandatory)] [string] $Module,
    [Parameter(Mandatory)] [string] $WorkDirectory,
    [string] $First,
    [string] $Last
)

$ErrorActionPreference = 'Stop'
$stopped = $true
try {
    Import-Module $Module
    $steps = @{}
    if ($First) { $steps.First = $First }
    if ($Last) { $steps.Last = $Last }
    $build = Invoke-ArchBuild -WorkDirectory $WorkDirectory @steps
    # One at a time: two types in one stream would share the first one's table.
    $build.Steps | Out-Default
    $build | Out-Default
    $stopped = $false
}
catch {
    $stopped = $false
    if ($_.FullyQualifiedErrorId -notmatch '^(Download(Failed|NotFound|Denied)|PackageDownloadFailed|AgentSourceUnreachable),') { throw }
    $Host.UI.WriteErrorLine("ERROR: $_")
    exit 69 # EX_UNAVAILABLE of sysexits.h: build.sh names the ways out
}
finally {
    # Ctrl-C. pwsh itself would end with 0.
    if ($stopped) { [Environment]::Exit(130) }
}
