#!/usr/bin/env pwsh
# Runs the Pester tests: the assembled module as its users see it.
#   ARCHAZURE_MODULE        folder of the assembled module (artifacts/ArchAzure)
#   ARCHAZURE_STANDIN       folder of the stand-in mirror; Pipeline needs it served at ARCHAZURE_STANDIN_URL
param(
    [ValidateSet('Module', 'Pipeline')] [string[]] $Name = @('Module', 'Pipeline'),
    [ValidateSet('None', 'Normal', 'Detailed')] [string] $Output = 'Detailed',
    # The module, by its folder where it is not installed.
    [string] $Pester = 'Pester'
)

$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue' # the cmdlets' lines in a log are not the tests'
Import-Module $Pester -MinimumVersion 5.3

$configuration = New-PesterConfiguration
$configuration.Run.Path = @($Name | ForEach-Object { Join-Path $PSScriptRoot "$_.Tests.ps1" })
$configuration.Run.PassThru = $true
$configuration.Output.Verbosity = $Output
$configuration.Output.CIFormat = 'None'
$configuration.Output.RenderMode = 'Plaintext'
$result = Invoke-Pester -Configuration $configuration

# A block or a file that does not even come to its tests is a failure too.
$failed = $result.FailedCount + $result.FailedBlocksCount + $result.FailedContainersCount
Write-Output "$($result.PassedCount) passed, $failed failed"
if ($result.PassedCount -eq 0) { Write-Output 'No test has run.' }
exit [int]($failed -gt 0 -or $result.PassedCount -eq 0)
