# Dot-sourced by the tests: where the module is, and runs of it in a session of their own.

$ModulePath = $env:ARCHAZURE_MODULE ? $env:ARCHAZURE_MODULE : (Join-Path $PSScriptRoot '../artifacts/ArchAzure')
$Manifest = Join-Path (Resolve-Path -LiteralPath $ModulePath).ProviderPath 'ArchAzure.psd1'
$Samples = Join-Path $PSScriptRoot 'module/samples'

# This very PowerShell, as a process of its own.
function pwsh {
    $program = [Environment]::ProcessPath
    if ((Split-Path -LeafBase $program) -eq 'dotnet') { & $program "$PSHOME/pwsh.dll" @args } else { & $program @args }
}

# A work directory whose build.json is one of the stored samples (done, stale).
function New-SampleBuild {
    param([string] $Path, [string] $Sample = 'done')
    $null = New-Item -ItemType Directory -Force -Path $Path
    Copy-Item -LiteralPath (Join-Path $Samples "$Sample.json") -Destination (Join-Path $Path 'build.json')
    $Path
}

# A VHD of 1 MiB of nothing.
function New-SampleVhd {
    param([string] $Path)
    [IO.File]::WriteAllBytes("$Path.raw", [byte[]]::new(1MB))
    ConvertTo-AzureVhd -Path "$Path.raw" -InPlace
}

# The error that a piece of script ends with or writes; fails where there is none.
function Get-ErrorOf {
    param([scriptblock] $Script)
    try { $null = & $Script -ErrorAction Stop } catch { return $_ }
    throw "no error: $Script"
}

# A session of its own with the module in it, whose streams and whose end can be looked at.
function New-Session {
    param([string] $Script, [hashtable] $Variables = @{})
    $session = [powershell]::Create()
    $null = $session.AddScript("`$ErrorActionPreference = 'Stop'; `$ProgressPreference = 'Continue'; Import-Module '$($Manifest -replace "'", "''")'").Invoke()
    if ($session.HadErrors) { throw $session.Streams.Error[0] }
    $session.Streams.ClearStreams()
    $session.Commands.Clear()
    foreach ($name in $Variables.Keys) { $session.Runspace.SessionStateProxy.SetVariable($name, $Variables[$name]) }
    $session.AddScript($Script)
}

# Waits for a condition; fails after the time limit.
function Wait-Until {
    param([scriptblock] $Condition, [int] $Seconds = 120, [string] $What = "$Condition")
    $limit = [DateTime]::UtcNow.AddSeconds($Seconds)
    while (-not (& $Condition)) {
        if ([DateTime]::UtcNow -gt $limit) { throw "not within $Seconds s: $What" }
        Start-Sleep -Milliseconds 100
    }
}
