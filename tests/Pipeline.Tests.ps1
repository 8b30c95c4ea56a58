#Requires -Version 7.4
#Requires -Modules @{ ModuleName = 'Pester'; ModuleVersion = '5.3' }
# The whole pipe at a prompt, against the stand-in mirror (ARCHAZURE_STANDIN, served at ARCHAZURE_STANDIN_URL).

BeforeAll {
    . "$PSScriptRoot/PesterCommon.ps1"
    Import-Module $Manifest -Force
    if (-not ($env:ARCHAZURE_STANDIN -and $env:ARCHAZURE_STANDIN_URL)) { throw 'ARCHAZURE_STANDIN and ARCHAZURE_STANDIN_URL must name the stand-in mirror; test.sh sets them.' }

    $root = (New-Item -ItemType Directory -Path (Join-Path ([IO.Path]::GetTempPath()) "archazure-pester-$PID")).FullName
    # As users name folders; nothing of it may be executed or split.
    $work = Join-Path $root "größe 1 it's `$(touch x)"
    $settings = Join-Path $root 'stand-in.env'
    & "$PSScriptRoot/../artifacts/standin/archazure-standin" settings $env:ARCHAZURE_STANDIN $env:ARCHAZURE_STANDIN_URL | Set-Content -LiteralPath $settings
    if ($LASTEXITCODE -ne 0) { throw 'archazure-standin could not tell its settings.' }

    function Get-Container([guid] $Build) {
        $containers = @(docker ps --all --quiet --filter "label=archazure.build=$Build")
        if ($LASTEXITCODE -ne 0) { throw 'docker ps failed.' }
        $containers
    }

    # In a session of its own, so that progress and verbose messages can be looked at.
    $session = New-Session {
        New-ArchBootstrap -WorkDirectory $work -Settings $settings |
            New-ArchDisk -SizeMiB 2048 |
            Install-ArchBase -Package which -Keymap de-latin1 |
            Install-WaAgent |
            ConvertTo-AzureVhd -Verbose
    } @{ work = $work; settings = $settings }
    $output = $session.Invoke()
    $build = Get-ArchBuild $work
}

AfterAll {
    ${session}?.Dispose()
    if ($root) {
        # The images stay for the next run, as they do between a user's builds.
        Get-ChildItem -LiteralPath $root -Directory | Remove-ArchBuild -KeepImage -IncludeVhd -Confirm:$false -ErrorAction SilentlyContinue
        Remove-Item -LiteralPath $root -Recurse -Force
    }
}

Describe 'The pipe' {
    It 'gives one build, done' {
        $session.HadErrors | Should -BeFalse
        $output.Count | Should -Be 1
        $output[0].Status | Should -Be 'done'
        $output[0].WorkDirectory | Should -BeExactly $work
    }

    It 'ends in a VHD of whole MiB with a footer' {
        $file = Get-Item -LiteralPath $build.VhdPath
        $file.Name | Should -Be "ArchLinux-$($build.Version).vhd"
        $file.Length | Should -Be (2GB + 512)
        $stream = [IO.File]::OpenRead($file)
        try {
            $null = $stream.Seek(-512, 'End')
            $footer = [byte[]]::new(512)
            $stream.ReadExactly($footer, 0, 512)
        }
        finally { $stream.Dispose() }
        [Text.Encoding]::ASCII.GetString($footer, 0, 8) | Should -BeExactly 'conectix'
    }

    It 'records what was asked for and what each step made' {
        $build.Requested['KEYMAP'] | Should -Be 'de-latin1'
        $build.Requested['PACKAGES'] | Should -Be 'which'
        $build.Disk.SizeMiB | Should -Be 2048
        $build.Disk.Partitions.TypeCode | Should -Be 'ef02', 'ef00', '8304'
        $build.Base.Layers | Should -Be 'base', 'azure'
        $build.Agent.Name | Should -Be 'waagent'
        $build.Steps.Name | Should -Be 'New-ArchBootstrap', 'New-ArchDisk', 'Install-ArchBase', 'Install-WaAgent', 'ConvertTo-AzureVhd'
    }

    It 'shows its progress: each step, a percentage where there is one, and its end' {
        ($session.Streams.Progress | Select-Object Activity -Unique).Activity | Should -Be 'New-ArchBootstrap', 'New-ArchDisk', 'Install-ArchBase', 'Install-WaAgent', 'ConvertTo-AzureVhd'
        foreach ($step in $session.Streams.Progress | Group-Object Activity) {
            $step.Group[-1].RecordType | Should -Be 'Completed' -Because $step.Name
            $step.Group.StatusDescription | ForEach-Object { $_ | Should -Not -BeNullOrEmpty }
            $step.Group.PercentComplete | ForEach-Object { $_ | Should -BeIn (-1..100) }
        }
        ($session.Streams.Progress.Where{ $_.Activity -eq 'Install-ArchBase' }.PercentComplete | Measure-Object -Maximum).Maximum | Should -BeGreaterThan 50
    }

    It 'shows each command of the step that is asked to be verbose, and of no other' {
        $session.Streams.Verbose.Message | Where-Object { $_ -like 'mke2fs *' } | Should -HaveCount 1
        $session.Streams.Verbose.Message | Where-Object { $_ -match '^pacman |setup\.py' } | Should -BeNullOrEmpty
    }

    It 'leaves no container, and nothing but the work directory' {
        Get-Container $build.Id | Should -BeNullOrEmpty
        @(Get-ChildItem -LiteralPath $root).Name | Sort-Object | Should -Be @((Split-Path -Leaf $work), 'stand-in.env' | Sort-Object)
        Get-ChildItem -LiteralPath $work -Recurse -Filter *.part | Should -BeNullOrEmpty
    }
}

Describe 'Run again' {
    It 'says of each step that nothing has changed' {
        $before = Get-ArchBuild $work
        $again = Invoke-ArchBuild $work -InformationVariable said 6> $null
        "$said" | Should -BeLike '*5 ConvertTo-AzureVhd: nothing has changed since*skipped.*'
        @($said).Count | Should -Be 5
        $again.Steps.Finished | Should -Be $before.Steps.Finished
    }

    It 'build.ps1 breaks no line and has no colours: the table, the path of the VHD, an error' {
        $script = { pwsh -NoProfile -NonInteractive -File "$PSScriptRoot/../build.ps1" -Module $Manifest @args 2>&1 }
        $text = & $script -WorkDirectory $work
        $LASTEXITCODE | Should -Be 0
        $text | Should -Not -Match "`e"
        $text | Should -Contain "done: $((Get-ArchBuild $work).VhdPath)"
        $text -match 'New-ArchBootstrap|ConvertTo-AzureVhd' | Should -Not -BeNullOrEmpty

        $long = Join-Path $root ('long' * 50)
        $null = New-Item -ItemType Directory $long
        Set-Content -LiteralPath (Join-Path $long 'settings.env') 'DISK_SIZE=30G'
        $text = @(& $script -WorkDirectory $long)
        $LASTEXITCODE | Should -Be 1
        $text | Should -HaveCount 1
        "$text" | Should -BeLike "ERROR: $long/settings.env:1: *DISK_SIZE*"
    }

    It 'runs a step again whose parameter has changed, and the later ones no longer fit' {
        $changed = Get-ArchBuild $work | New-ArchDisk -SizeMiB 2304
        $changed.Disk.SizeMiB | Should -Be 2304
        $changed.Status | Should -Be 'next: 3 Install-ArchBase'
        (Get-ErrorOf { ConvertTo-AzureVhd $work @args }).FullyQualifiedErrorId | Should -BeLike 'StepStale,*'
    }
}

Describe 'In a log' {
    BeforeAll {
        function Get-Log([string] $Before, [string] $After) {
            $text = pwsh -NoProfile -NonInteractive -Command "Import-Module '$Manifest'; $Before `$null = New-ArchDisk '$($work -replace "'", "''")' -Force $After" 2>&1
            $LASTEXITCODE | Should -Be 0
            @($text)
        }
    }

    It 'the parts of a step and its end are lines with the time' {
        $lines = Get-Log
        $lines.Count | Should -Be 2
        $lines[0] | Should -Match '^\d\d:\d\d:\d\d New-ArchDisk: partitioning a disk of \d+ MiB$'
        $lines[1] | Should -Match '^\d\d:\d\d:\d\d New-ArchDisk: done after \d+\.\d s$'
    }

    It 'there are none for who wants no progress' {
        Get-Log -After '-ProgressAction SilentlyContinue' | Should -BeNullOrEmpty
        Get-Log -Before '$ProgressPreference = "SilentlyContinue";' | Should -BeNullOrEmpty
    }
}

Describe 'Ended in the middle' {
    BeforeAll {
        $stopped = New-Session { Invoke-ArchBuild $work } @{ work = $work }
        $null = $stopped.BeginInvoke()
        Wait-Until { $stopped.Streams.Progress.StatusDescription -match '^installing ' } -What 'packages are being installed'
        $containers = Get-Container $build.Id
        $clock = [Diagnostics.Stopwatch]::StartNew()
        $stopped.Stop()
        $clock.Stop()
    }

    AfterAll { ${stopped}?.Dispose() }

    It 'ends within seconds, with its container' {
        $containers.Count | Should -Be 1
        $stopped.InvocationStateInfo.State | Should -Be 'Stopped'
        $clock.Elapsed.TotalSeconds | Should -BeLessThan 20
        Get-Container $build.Id | Should -BeNullOrEmpty
    }

    It 'keeps the last good step and no half file' {
        (Get-ArchBuild $work).Status | Should -Be 'next: 3 Install-ArchBase'
        Get-ChildItem -LiteralPath $work -Recurse -Filter *.part | Should -BeNullOrEmpty
    }

    It 'goes on from there' {
        (Invoke-ArchBuild $work -Last Install-ArchBase 6> $null).Status | Should -Be 'next: 4 Install-WaAgent'
    }
}

Describe 'The target' {
    It 'runs a command as it is typed, each argument by itself' {
        Invoke-ArchTarget $work printf '<%s>\n' --query -l 'a  b' '$(touch /x)' 'größe' -Discard | Should -BeExactly '<--query>', '<-l>', '<a  b>', '<$(touch /x)>', '<größe>'
    }

    It 'throws away what is changed with -Discard, and keeps it without' {
        $null = Get-ArchBuild $work | Invoke-ArchTarget -Command touch, /opt/discarded -Discard
        $null = Get-ArchBuild $work | Invoke-ArchTarget -Command touch, /opt/kept
        Invoke-ArchTarget $work ls /opt -Discard | Should -Be 'kept'
    }

    It 'has what the parameters asked for' {
        Invoke-ArchTarget $work cat /etc/vconsole.conf -Discard | Should -Contain 'KEYMAP=de-latin1'
        Invoke-ArchTarget $work pacman --query --quiet which -Discard | Should -Be 'which'
    }

    It 'runs a script of this machine, and shows what it says on standard error' {
        $script = Join-Path $root "a script's name.sh"
        Set-Content -LiteralPath $script "cat /etc/os-release >&2`necho `$0 done"
        Invoke-ArchTarget $work -ScriptPath $script -Discard -InformationVariable said 6> $null | Should -BeLike '*done'
        "$said" | Should -BeLike '*PRETTY_NAME=*'
    }

    It 'keeps nothing of a command that fails, and says which one' {
        $failure = Get-ErrorOf { Invoke-ArchTarget $work -Command bash, -c, 'touch /opt/half; exit 7' @args }
        $failure.FullyQualifiedErrorId | Should -Be 'CommandFailed,ArchAzure.PowerShell.Commands.InvokeArchTargetCommand'
        $failure.CategoryInfo.Category | Should -Be 'InvalidResult'
        $failure.TargetObject | Should -Be 'bash'
        "$failure" | Should -BeLike "'bash -c touch /opt/half; exit 7' ended with status 7 in the target*target.log'."
        Invoke-ArchTarget $work ls /opt -Discard | Should -Be 'kept'
    }

    It 'gives no shell where there is no terminal' {
        (pwsh -NoProfile -NonInteractive -Command "Import-Module '$Manifest'; Enter-ArchTarget '$($work -replace "'", "''")'" 2>&1) -join "`n" | Should -BeLike '*needs a terminal*Invoke-ArchTarget*'
    }
}

Describe 'Errors' {
    It 'of a package that does not exist name it and the log' {
        $failure = Get-ErrorOf { Install-ArchBase $work -Package no-such-package @args }
        $failure.FullyQualifiedErrorId | Should -BeLike '*,ArchAzure.PowerShell.Commands.InstallArchBaseCommand'
        "$failure" | Should -BeLike "*no-such-package*3-Install-ArchBase.log'."
        Get-Container $build.Id | Should -BeNullOrEmpty
    }

    It 'of a mirror that does not answer name it' {
        $failure = Get-ErrorOf { New-ArchBootstrap (Join-Path $root 'none') -Settings $settings -ReleaseUrl 'http://127.0.0.1:9/iso/' @args }
        $failure.FullyQualifiedErrorId | Should -BeLike 'DownloadFailed,*'
        $failure.CategoryInfo.Category | Should -Be 'ConnectionError'
        "$failure" | Should -BeLike '*http://127.0.0.1:9/iso/*'
    }

    It 'of a server that does not answer end build.ps1 with 69, for which build.sh names the ways out' {
        $folder = (New-Item -ItemType Directory (Join-Path $root 'unreachable')).FullName
        Set-Content -LiteralPath (Join-Path $folder 'settings.env') 'RELEASE_URL=http://127.0.0.1:9/iso/'
        $text = pwsh -NoProfile -NonInteractive -File "$PSScriptRoot/../build.ps1" -Module $Manifest -WorkDirectory $folder 2>&1 | ForEach-Object { "$_" }
        $LASTEXITCODE | Should -Be 69
        $text[-1] | Should -Match '^ERROR: http://127\.0\.0\.1:9/iso/.+ The log is .+\.$'
    }

    It 'of a release signed by another key than the one asked for keep it out' {
        $failure = Get-ErrorOf { New-ArchBootstrap (Join-Path $root 'other key') -Settings $settings -ReleaseKey "$PSScriptRoot/../src/ArchAzure.Engine/Bootstrap/Keys/arch-release.asc" -Force @args }
        $failure.CategoryInfo.Category | Should -Be 'InvalidData'
        (Get-ArchBuild (Join-Path $root 'other key')).Bootstrap | Should -BeNullOrEmpty
    }

    It 'of a file as work directory say so' {
        $failure = Get-ErrorOf { New-ArchBootstrap $settings @args }
        $failure.FullyQualifiedErrorId | Should -BeLike 'WorkDirectoryIsFile,*'
    }

    It 'of two runs at once name the one at work' {
        $lock = [IO.File]::Open((Join-Path $work 'build.lock'), 'OpenOrCreate', 'ReadWrite', 'None')
        try { $failure = Get-ErrorOf { New-ArchDisk $work -Force @args } } finally { $lock.Dispose() }
        $failure.FullyQualifiedErrorId | Should -BeLike 'WorkDirectoryInUse,*'
        $failure.CategoryInfo.Category | Should -Be 'ResourceBusy'
        $failure.TargetObject | Should -BeExactly $work
    }
}

Describe 'Remove-ArchBuild' {
    It 'does nothing with -WhatIf' {
        Remove-ArchBuild $work -WhatIf
        (Get-ArchBuild $work).Id | Should -Be $build.Id
    }

    It 'leaves the VHD with its list of packages and checksums, the settings, and what is not ours' {
        Set-Content -LiteralPath (Join-Path $work 'mine.txt') 'mine'
        Get-ArchBuild $work | Remove-ArchBuild -KeepImage -Confirm:$false | Should -BeNullOrEmpty
        $vhd = "ArchLinux-$($build.Version).vhd"
        @(Get-ChildItem -LiteralPath $work).Name | Sort-Object | Should -Be @($vhd, "$vhd.cdx.json", 'FSVERITYSUMS', 'mine.txt', 'settings.env', 'SHA256SUMS' | Sort-Object)
        docker image ls --quiet $build.Bootstrap.BuilderImage | Should -Not -BeNullOrEmpty
    }
}
