# Runs the pipeline for build.sh, under pwsh or src/ArchAzure.Host; use the module itself from a prompt or a script of yours.
param(
    [Parameter(Mandatory)] [string] $Module,
    [Parameter(Mandatory)] [string] $WorkDirectory,
    [string] $First,
    [string] $Last
)

$ErrorActionPreference = 'Stop'
Import-Module $Module

$steps = @{}
if ($First) { $steps.First = $First }
if ($Last) { $steps.Last = $Last }
try {
    $build = Invoke-ArchBuild -WorkDirectory $WorkDirectory @steps
}
catch {
    if ($_.FullyQualifiedErrorId -notmatch '^(Download(Failed|NotFound|Denied)|PackageDownloadFailed|AgentSourceUnreachable),') { throw }
    $Host.UI.WriteErrorLine("ERROR: $_")
    exit 69 # EX_UNAVAILABLE of sysexits.h: build.sh names the ways out
}
# One at a time: two types in one stream would share the first one's table.
$build.Steps | Out-Default
$build | Out-Default
