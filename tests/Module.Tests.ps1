#Requires -Version 7.4
#Requires -Modules @{ ModuleName = 'Pester'; ModuleVersion = '5.3' }
# The module at a prompt, as far as no Docker engine is needed.

BeforeDiscovery {
    $outputs = [ordered]@{
        'New-ArchBootstrap'  = 'ArchAzure.Builds.ArchBuild'
        'New-ArchDisk'       = 'ArchAzure.Builds.ArchBuild'
        'Install-ArchBase'   = 'ArchAzure.Builds.ArchBuild'
        'Install-WaAgent'    = 'ArchAzure.Builds.ArchBuild'
        'ConvertTo-AzureVhd' = 'ArchAzure.Builds.ArchBuild', 'System.IO.FileInfo'
        'Invoke-ArchBuild'   = 'ArchAzure.Builds.ArchBuild'
        'Get-ArchBuild'      = 'ArchAzure.Builds.ArchBuild'
        'Remove-ArchBuild'   = @()
        'Enter-ArchTarget'   = @()
        'Invoke-ArchTarget'  = 'System.String'
        'Publish-AzureVhd'   = 'ArchAzure.Publishing.PublishedVhd'
        'Test-AzureVhd'      = 'ArchAzure.Readiness.ReadinessResult', 'ArchAzure.SimulatedAzure.BootReport', 'System.Boolean'
    }
    $cmdlets = $outputs.Keys.ForEach{ @{ Name = $_; Output = @($outputs[$_]) } }
    $changing = $cmdlets.Where{ $_.Name -notin 'Get-ArchBuild', 'Test-AzureVhd' }
    $building = $changing.Where{ $_.Name -ne 'Publish-AzureVhd' }
    $steps = $cmdlets[0..4]
    $helpTool = Get-Item "$PSScriptRoot/../tools/ArchAzure.Help/bin/*/net*/archazure-help.dll" | Sort-Object LastWriteTime | Select-Object -Last 1
    $oddNames = 'plain', 'two words', "it's", 'say "hi"', '$(exit 5)', 'a;b', 'größe 日本', '-dash', 'a`b', '[x]', 'a*b?' |
        ForEach-Object { @{ OddName = $_ } }
}

BeforeAll {
    . "$PSScriptRoot/PesterCommon.ps1"
    Import-Module $Manifest -Force
    $expected = 'ConvertTo-AzureVhd', 'Enter-ArchTarget', 'Get-ArchBuild', 'Install-ArchBase', 'Install-WaAgent', 'Invoke-ArchBuild',
        'Invoke-ArchTarget', 'New-ArchBootstrap', 'New-ArchDisk', 'Publish-AzureVhd', 'Remove-ArchBuild', 'Test-AzureVhd'
    # Nobody listens there: a cmdlet that comes to the engine says so, and one that should stop before does not.
    $dockerHost = $env:DOCKER_HOST
    $env:DOCKER_HOST = "unix://$TestDrive/no-engine.sock"
    $root = (Get-Item -LiteralPath $TestDrive).FullName
}

AfterAll {
    $env:DOCKER_HOST = $dockerHost
}

Describe 'The manifest' {
    It 'is valid and names what is there' {
        $manifest = Test-ModuleManifest $Manifest -ErrorAction Stop -WarningAction Stop
        $manifest.Name | Should -BeExactly 'ArchAzure'
        $manifest.CompatiblePSEditions | Should -Be 'Core'
        $manifest.PowerShellVersion | Should -Be ([version]'7.4')
    }

    It 'exports these cmdlets and nothing else' {
        $module = Get-Module ArchAzure
        @($module.ExportedCmdlets.Keys | Sort-Object) | Should -BeExactly $expected
        $module.ExportedFunctions.Count + $module.ExportedVariables.Count + $module.ExportedAliases.Count | Should -Be 0
        @(Get-Command -Module ArchAzure).Count | Should -Be $expected.Count
    }

    It 'names the exports itself, so that they are known before the module is loaded' {
        $data = Import-PowerShellDataFile -LiteralPath $Manifest
        @($data.CmdletsToExport | Sort-Object) | Should -BeExactly $expected
        $data.FunctionsToExport, $data.VariablesToExport, $data.AliasesToExport | ForEach-Object { @($_).Count | Should -Be 0 }
    }
}

Describe 'Loading' {
    It 'keeps the cmdlets when it is imported again by force' {
        Import-Module $Manifest -Force
        Import-Module $Manifest -Force
        @(Get-Command -Module ArchAzure).Count | Should -Be $expected.Count
        (Get-ErrorOf { Get-ArchBuild "$TestDrive/none" @args }).FullyQualifiedErrorId | Should -BeLike 'BuildNotFound,*'
    }

    It 'keeps the dependencies out of the context that all modules share' {
        # The Docker client is loaded as soon as an engine is looked for.
        (Get-ErrorOf { New-ArchBootstrap "$TestDrive/none" @args }).FullyQualifiedErrorId | Should -BeLike 'DockerEngineNotFound,*'

        $own = [System.Runtime.Loader.AssemblyLoadContext]::All.Where{ $_.Name -eq 'ArchAzure' }
        $own.Count | Should -Be 1
        $own[0].Assemblies.ForEach{ $_.GetName().Name } | Should -Contain 'Docker.DotNet'
        $shared = [System.Runtime.Loader.AssemblyLoadContext]::Default.Assemblies.ForEach{ $_.GetName().Name }
        $engine = (Get-ChildItem (Join-Path (Split-Path $Manifest) 'bin/engine/*.dll')).BaseName
        $engine.Count | Should -BeGreaterThan 3
        $own[0].Assemblies.ForEach{ $_.GetName().Name } | Where-Object { $_ -in $engine } | Should -Not -BeNullOrEmpty
        $engine.Where{ $_ -match '^(ArchAzure|Docker|BouncyCastle|Polly|ZstdSharp)' }.Where{ $_ -in $shared } | Should -BeNullOrEmpty
    }

    It 'works in a fresh session by its path alone, without writing anything' {
        $text = pwsh -NoProfile -NonInteractive -Command "Import-Module '$($Manifest -replace "'", "''")'; (Get-Command -Module ArchAzure).Count" 2>&1
        $LASTEXITCODE | Should -Be 0
        $text | Should -Be $expected.Count
    }
}

Describe '<Name>' -ForEach $cmdlets {
    BeforeAll {
        $command = Get-Command $Name
        $help = Get-Help $Name -Full
        $common = [System.Management.Automation.PSCmdlet]::CommonParameters
    }

    It 'says what goes down the pipe' {
        @($command.OutputType.Name | Sort-Object -Unique) | Should -Be @($Output | Sort-Object)
    }

    It 'has help: synopsis, description, inputs, outputs' {
        $help.Synopsis | Should -Not -BeNullOrEmpty
        $help.Synopsis | Should -Not -Match "^\s*$Name" # what PowerShell makes up where there is none
        ($help.description.Text -join '').Length | Should -BeGreaterThan 80
        @($help.inputTypes.inputType)[0].type.name | Should -Not -BeNullOrEmpty
        foreach ($type in $Output) { @($help.returnValues.returnValue.type.name) | Should -Contain $type }
    }

    It 'has help for every parameter, and for none that is not there' {
        $documented = @{}
        foreach ($parameter in $help.parameters.parameter) { $documented[$parameter.name] = $parameter }
        $parameters = @($command.Parameters.Values.Where{ $_.Name -notin $common })
        @($documented.Keys | Sort-Object) | Should -Be @($parameters.Name | Sort-Object)
        foreach ($parameter in $parameters) {
            ($documented[$parameter.Name].description.Text -join '').Trim().Length | Should -BeGreaterThan 12 -Because $parameter.Name
            $documented[$parameter.Name].type.name | Should -Be $parameter.ParameterType.Name -Because $parameter.Name
        }
    }

    It 'has the syntax in its help that it has' {
        $describe = {
            param($parameters, $nameOf, $requiredOf, $positionOf, $pipeOf)
            ($parameters | ForEach-Object { '{0} {1} {2} {3}' -f (& $nameOf $_), (& $requiredOf $_), (& $positionOf $_), (& $pipeOf $_) } | Sort-Object) -join '; '
        }
        $real = foreach ($set in $command.ParameterSets) {
            & $describe $set.Parameters.Where{ $_.Name -notin $common } { $args[0].Name } { "$($args[0].IsMandatory)".ToLowerInvariant() } {
                $args[0].Position -ge 0 ? "$($args[0].Position)" : 'named'
            } { "$($args[0].ValueFromPipeline -or $args[0].ValueFromPipelineByPropertyName)".ToLowerInvariant() }
        }
        $written = foreach ($item in $help.syntax.syntaxItem) {
            & $describe $item.parameter { $args[0].name } { $args[0].required } { $args[0].position } { ($args[0].pipelineInput -split ' ')[0] }
        }
        @($written | Sort-Object) | Should -Be @($real | Sort-Object)
    }

    It 'has it in the order and the form in which Get-Command shows it' {
        # Types are written in two ways, and help tells the values that are possible.
        $bare = { $args[0] -replace ' (<(?!CommonParameters)[^>]+>|\{[^}]+\})', ' VALUE' }
        $written = ($help.syntax | Out-String -Width 4096) -split '\r?\n' | Where-Object { $_.Trim() } | ForEach-Object { & $bare $_.Trim() }
        @($written) | Should -BeExactly @($command.ParameterSets | ForEach-Object { & $bare "$Name $_" })
        foreach ($parameter in $help.syntax.syntaxItem.parameter) {
            $real = $command.Parameters[$parameter.name]
            $type = $real.ParameterType.GetElementType() ?? $real.ParameterType
            $values = $type.IsEnum ? [enum]::GetNames($type) : $real.Attributes.Where{ $_ -is [ValidateSet] }.ValidValues.Where{ $_ }
            @($parameter.parameterValueGroup.parameterValue) -ne $null | Should -Be @($values) -Because $parameter.name
        }
    }

    It 'shows the text of each parameter once, with its default and its aliases' {
        $text = ($help | Out-String -Width 4096) -replace '\s+', ' '
        foreach ($parameter in $help.parameters.parameter) {
            [regex]::Matches($text, [regex]::Escape($parameter.description.Text)).Count | Should -Be 1 -Because $parameter.name
            $parameter.defaultValue | Should -Not -BeNullOrEmpty -Because $parameter.name
            $parameter.aliases | Should -Be ($command.Parameters[$parameter.name].Aliases -join ', ' | ForEach-Object { $_ ? $_ : 'none' }) -Because $parameter.name
        }
    }

    It 'tells of a parameter that is a setting what the setting tells' {
        $settings = (Get-Command Get-ArchBuild).OutputType.Type.Assembly.GetType('ArchAzure.Settings.SettingDefinition')::All
        foreach ($parameter in $help.parameters.parameter) {
            $setting = $settings.Where{ $_.Parameter -ceq $parameter.name }[0]
            if (-not $setting) { continue }
            $told = ($setting.Documentation -replace '\n', ' ') + " Setting $($setting.Key). The build remembers it "
            $parameter.description.Text.StartsWith($told, 'Ordinal') | Should -BeTrue -Because $parameter.description.Text
            $parameter.defaultValue | Should -Be ($setting.DefaultValue ? $setting.DefaultValue : 'None')
        }
    }

    It 'has two examples at least, with commands and parameters that exist' {
        $examples = @($help.examples.example)
        $examples.Count | Should -BeGreaterOrEqual 2
        foreach ($example in $examples) {
            $example.title | Should -Match '^-+ Example \d+: \w.* -+$'
            ($example.remarks.Text -join '').Trim() | Should -Not -BeNullOrEmpty
            $problems = $null
            $script = [System.Management.Automation.Language.Parser]::ParseInput($example.code, [ref]$null, [ref]$problems)
            $problems | Should -BeNullOrEmpty -Because $example.code
            $commands = $script.FindAll({ $args[0] -is [System.Management.Automation.Language.CommandAst] }, $true)
            @($commands.GetCommandName()) | Should -Contain $Name
            foreach ($used in $commands) {
                $known = Get-Command $used.GetCommandName() -ErrorAction Stop
                foreach ($parameter in $used.CommandElements.Where{ $_ -is [System.Management.Automation.Language.CommandParameterAst] }) {
                    $known.Parameters.Keys | Should -Contain $parameter.ParameterName -Because $example.code
                }
            }
        }
    }
}

Describe '<Name>' -ForEach $changing {
    It 'asks before it changes anything, where it is asked to' {
        (Get-Command $Name).Parameters.Keys | Should -Contain 'WhatIf'
        (Get-Command $Name).Parameters.Keys | Should -Contain 'Confirm'
    }

}

Describe '<Name>' -ForEach $building {
    It 'does nothing with -WhatIf' {
        $folder = Join-Path $root 'whatif'
        $more = $Name -eq 'Invoke-ArchTarget' ? @{ Command = 'true' } : @{}
        & $Name -WorkDirectory $folder -WhatIf @more | Should -BeNullOrEmpty
        Test-Path -LiteralPath $folder | Should -BeFalse
    }
}

Describe 'about_ArchAzure' {
    BeforeAll {
        $about = Get-Help about_ArchAzure
        $lines = $about -split '\r?\n'
        $definitions, $obsolete = (Get-Command Get-ArchBuild).OutputType.Type.Assembly.GetType('ArchAzure.Settings.SettingDefinition')::All.Where({ -not $_.Obsolete }, 'Split')
    }

    It 'tells of every cmdlet' {
        foreach ($name in $expected) { $about | Should -BeLike "*$name*" }
    }

    It 'has every setting with its parameter and its default' {
        $definitions.Count | Should -BeGreaterThan 15
        foreach ($setting in $definitions) {
            $line = @($lines.Where{ $_ -cmatch "^    $($setting.Key) " })
            $line.Count | Should -Be 1 -Because $setting.Key
            $row = @($setting.Key; if ($setting.Parameter) { "-$($setting.Parameter)" }; $setting.DefaultValue ? $setting.DefaultValue : 'none')
            $line[0].Trim() -split '\s+' | Should -BeExactly $row
        }
        $about | Should -Not -BeLike '*{{*'
        $obsolete.Count | Should -BeGreaterThan 0
        foreach ($setting in $obsolete) { $about | Should -Not -BeLike "*$($setting.Key)*" }
    }

    It 'and each of those parameters is one of a cmdlet' {
        $parameters = (Get-Command -Module ArchAzure).ForEach{ $_.Parameters.Keys }
        foreach ($setting in $definitions.Where{ $_.Parameter }) { $parameters | Should -Contain $setting.Parameter }
    }
}

# The build makes the help; here it is made of pages with a mistake in them.
Describe 'A page that does not fit its cmdlet' -Skip:(-not $helpTool) -ForEach @{ HelpTool = $helpTool } {
    BeforeAll {
        $pages = "$PSScriptRoot/../docs/en-US"
        $cmdlets = Join-Path (Split-Path $Manifest) 'bin/ArchAzure.PowerShell.dll'
        function Write-Help([string] $Docs) { dotnet exec $HelpTool write $cmdlets $Docs (Join-Path $Docs out) 2>&1 }
    }

    BeforeEach {
        $docs = Join-Path $root "pages $([guid]::NewGuid())"
        Copy-Item -Recurse -LiteralPath $pages -Destination $docs
    }

    It 'is not among ours, and the help in the module is what they make' {
        Write-Help $docs | Should -BeNullOrEmpty
        $LASTEXITCODE | Should -Be 0
        foreach ($file in Get-ChildItem -LiteralPath (Join-Path $docs out)) {
            Get-Content -Raw -LiteralPath $file | Should -BeExactly (Get-Content -Raw -LiteralPath (Join-Path (Split-Path $Manifest) "en-US/$($file.Name)"))
        }
    }

    It 'is told with file and line: <Case>' -ForEach @(
        @{ Case = 'a parameter that does not exist'; Page = 'New-ArchDisk'; From = '### -Force'; To = '### -Forse'; Message = 'New-ArchDisk has no parameter -Forse.' }
        @{ Case = 'a parameter without text'; Page = 'Enter-ArchTarget'; From = 'Throw away what is changed.'; To = ''; At = '### -Discard'; Message = '-Discard has no text.' }
        @{ Case = 'a parameter left out'; Page = 'New-ArchDisk'; From = '### -Force'; To = ''; At = '## PARAMETERS'; Message = 'there is no text for -Force.' }
        @{ Case = 'a text of a setting'; Page = 'New-ArchDisk'; From = '### -Force'; To = '### -SizeMiB'; Message = '-SizeMiB is the setting DISK_SIZE*' }
        @{ Case = 'a text of -WhatIf'; Page = 'New-ArchDisk'; From = '### -Force'; To = '### -WhatIf'; Message = '-WhatIf has a text*' }
        @{ Case = 'no examples'; Page = 'Enter-ArchTarget'; From = '(?s)### Example 1.*(?=## PARAMETERS)'; To = ''; At = '## EXAMPLES'; Message = 'there is no example*' }
        @{ Case = 'an example without code'; Page = 'Enter-ArchTarget'; From = '(?s)```powershell.*?```'; To = ''; At = '### Example 1'; Message = 'an example has a title*' }
        @{ Case = 'a fence that is not closed'; Page = 'Enter-ArchTarget'; From = '(?s)\A.*\z'; To = "# Enter-ArchTarget`n``````"; At = '```'; Message = '*never closed*' }
        @{ Case = 'no synopsis'; Page = 'New-ArchDisk'; From = '## SYNOPSIS'; To = '## SINOPSIS'; Message = '*SINOPSIS*is none of SYNOPSIS*' }
        @{ Case = 'another syntax'; Page = 'New-ArchDisk'; From = '\[-Force\] '; To = ''; At = '## SYNTAX'; Message = 'this is not the syntax of New-ArchDisk*' }
        @{ Case = 'a link to nothing'; Page = 'New-ArchDisk'; From = 'Invoke-ArchBuild.md'; To = 'Invoke-Build.md'; Message = '*Invoke-Build.md*' }
        @{ Case = 'a shared text that is not there'; Page = 'New-ArchDisk'; From = 'shared.md#steps'; To = 'shared.md#step'; Message = "shared.md has no heading 'step'." }
        @{ Case = 'an about topic without its table'; Page = 'about_ArchAzure'; Extension = 'help.txt'; From = '{{ settings }}'; To = ''; At = 'TOPIC'; Message = '*{{ settings }}*' }
    ) {
        $path = Join-Path $docs "$Page.$($Extension ?? 'md')"
        $text = Get-Content -Raw -LiteralPath $path
        $text | Should -Match $From
        Set-Content -NoNewline -LiteralPath $path ($text -replace $From, $To)
        $line = (Select-String -LiteralPath $path -SimpleMatch ($At ?? $To))[0].LineNumber
        $said = Write-Help $docs
        $LASTEXITCODE | Should -Be 1
        @($said -like "$([WildcardPattern]::Escape($path))($line): error HELP: $Message").Count | Should -Be 1 -Because "$said"
        Join-Path $docs out | Should -Not -Exist
    }

    It 'is told where it is not there, or its cmdlet is not' {
        Rename-Item -LiteralPath (Join-Path $docs 'New-ArchDisk.md') 'New-ArchDisc.md'
        $said = Write-Help $docs | Out-String -Width 4096
        $LASTEXITCODE | Should -Be 1
        $said | Should -Match "New-ArchDisk\.md\(1\): error HELP: New-ArchDisk has no page\."
        $said | Should -Match "New-ArchDisc\.md\(1\): error HELP: there is no cmdlet 'New-ArchDisc'\."
    }
}

Describe 'A build' {
    BeforeAll {
        $done = New-SampleBuild (Join-Path $root 'done')
        $stale = New-SampleBuild (Join-Path $root 'stale') stale
    }

    It 'is shown from its work directory, by name, by position, from the pipe and from the current folder' {
        Push-Location -LiteralPath $done
        try { $here = Get-ArchBuild } finally { Pop-Location }
        $builds = (Get-ArchBuild -WorkDirectory $done), (Get-ArchBuild $done), ($done | Get-ArchBuild), (Get-Item $done | Get-ArchBuild), $here
        foreach ($build in $builds) {
            $build.GetType().FullName | Should -Be 'ArchAzure.Builds.ArchBuild'
            $build.WorkDirectory | Should -BeExactly $done
            $build.Version | Should -Be '2026.11.01'
            $build.Status | Should -Be 'done'
            $build.VhdPath | Should -BeExactly (Join-Path $done 'ArchLinux-2026.11.01.vhd')
        }
    }

    It 'whose later steps no longer fit says what comes next' {
        (Get-ArchBuild $stale).Status | Should -Be 'next: 4 Install-WaAgent'
        (Get-ArchBuild $stale).Steps | ForEach-Object { "$($_.State)" } | Should -Be 'Done', 'Done', 'Done', 'Stale', 'Stale'
    }

    It 'goes down the pipe: <Name> takes it' -ForEach $building {
        # By its property the one, by value the others; the target of -WhatIf tells which build was meant.
        $more = $Name -eq 'Invoke-ArchTarget' ? ' -Command true' : ''
        $text = pwsh -NoProfile -NonInteractive -Command "Import-Module '$Manifest'; Get-ArchBuild '$done' | $Name -WhatIf$more" 2>&1 | Out-String
        $text | Should -BeLike "What if: *target ""$done""*"
    }

    It 'goes down the pipe: Publish-AzureVhd takes its VHD' {
        $blob = 'https://account.blob.core.windows.net/images/arch.vhd'
        $text = pwsh -NoProfile -NonInteractive -Command "Import-Module '$Manifest'; Get-ArchBuild '$done' | Publish-AzureVhd -BlobUri $blob`?sig=S -WhatIf" 2>&1 |
            Out-String
        $text.Trim() | Should -BeExactly "What if: Performing the operation ""Send '$done/ArchLinux-2026.11.01.vhd'"" on target ""$blob""."
    }

    It 'that is not there is an error for itself, and the others are shown' {
        $found = "$root/none", $done, "$root/nothing", $stale | Get-ArchBuild -ErrorAction SilentlyContinue -ErrorVariable missing
        $found.WorkDirectory | Should -Be $done, $stale
        $missing.TargetObject | Should -Be "$root/none", "$root/nothing"
    }

    It 'renders as a table with version, status, size and the whole path of the result' {
        $text = @(Get-ArchBuild $done) + @(Get-ArchBuild $stale) | Out-String -Width 160
        $rows = $text -split '\r?\n' | Where-Object { $_ }
        $rows[0] | Should -Match '^Version +Status +Size +Result'
        $rows[2] | Should -Match "^2026\.11\.01 done +3072 MiB $([regex]::Escape("$done/ArchLinux-2026.11.01.vhd"))\s*$"
        $rows[3] | Should -Match '^2026\.11\.01 next: 4 Install-WaAgent +3072 MiB '
        ((Get-ArchBuild $done | Out-String -Width 80) -replace '\s') | Should -BeLike '*ArchLinux-2026.11.01.vhd*'
    }

    It 'renders its steps as a table' {
        $rows = (Get-ArchBuild $stale).Steps | Out-String -Width 120 -Stream | Where-Object { $_ }
        $rows[0] | Should -Match '^Step Name +State +Seconds Finished'
        $rows.Count | Should -Be 7
        $rows[2] | Should -Match '^ +1 New-ArchBootstrap +Done +\d+\.\d \d{4}-\d\d-\d\d \d\d:\d\d:\d\d'
        $rows[6] | Should -Match '^ +5 ConvertTo-AzureVhd Stale '
    }

    It 'lives in a folder of any name: <OddName>' -ForEach $oddNames {
        $folder = New-SampleBuild (Join-Path $root "odd/$OddName")
        (Get-ArchBuild $folder).WorkDirectory | Should -BeExactly $folder
        (Get-ArchBuild $folder).VhdPath | Should -BeExactly (Join-Path $folder 'ArchLinux-2026.11.01.vhd')
        Push-Location -LiteralPath (Split-Path $folder)
        try { (Get-ArchBuild "./$OddName").WorkDirectory | Should -BeExactly $folder } finally { Pop-Location }
    }

    It 'is found from the home folder, a PowerShell drive and the current location, not from where the process was started' {
        (Get-ErrorOf { Get-ArchBuild '~/archazure none' @args }).TargetObject | Should -BeExactly (Join-Path $HOME 'archazure none')
        (Get-ArchBuild 'TestDrive:/done').WorkDirectory | Should -BeExactly $done
        Push-Location -LiteralPath (Join-Path $root 'stale')
        try { (Get-ArchBuild '../done').WorkDirectory | Should -BeExactly $done } finally { Pop-Location }
    }
}

Describe 'Errors' {
    It '<Case>: <Id>' -ForEach @(
        @{ Case = 'no build'; Script = { Get-ArchBuild "$root/none" @args }; Id = 'BuildNotFound'; Category = 'ObjectNotFound'; Target = 'none'; Message = "*none*New-ArchBootstrap*" }
        @{ Case = 'a step without its build'; Script = { New-ArchDisk "$root/none" @args }; Id = 'BuildNotFound'; Category = 'ObjectNotFound'; Target = 'none'; Message = '*New-ArchBootstrap*' }
        @{ Case = 'a step after stale ones'; Script = { ConvertTo-AzureVhd (New-SampleBuild "$root/e-stale" stale) @args }; Id = 'StepStale'; Category = 'ObjectNotFound'; Target = 'e-stale'; Message = '*Install-WaAgent*Invoke-ArchBuild*' }
        @{ Case = 'a damaged build.json'; Script = { Set-Content (Join-Path (New-SampleBuild "$root/bad") 'build.json') '{ "schema": 1, '; Get-ArchBuild "$root/bad" @args }; Id = 'BuildFileDamaged'; Category = 'InvalidData'; Target = 'bad/build.json'; Message = '*Remove-ArchBuild*' }
        @{ Case = 'a build of a newer version'; Script = { Set-Content (Join-Path (New-SampleBuild "$root/new") 'build.json') '{ "schema": 99 }'; Get-ArchBuild "$root/new" @args }; Id = 'BuildFileTooNew'; Category = 'InvalidData'; Target = 'new/build.json'; Message = '*99*Update the module*' }
        @{ Case = 'a path that is no file'; Script = { Get-ArchBuild 'env:HOME' @args }; Id = 'NotAFilePath'; Category = 'InvalidArgument'; Target = 'env:HOME'; Message = '*env:HOME*' }
        @{ Case = 'a step that does not exist'; Script = { Invoke-ArchBuild "$root/none" -First 6 @args }; Id = 'UnknownStep'; Category = 'InvalidArgument'; Target = '6'; Message = '*1 to 5*New-ArchDisk*' }
        @{ Case = 'steps out of order'; Script = { Invoke-ArchBuild "$root/none" -First 4 -Last New-ArchDisk @args }; Id = 'StepsOutOfOrder'; Category = 'InvalidArgument'; Target = '4'; Message = '*comes after*' }
        @{ Case = 'a size with a unit'; Script = { New-ArchDisk (New-SampleBuild "$root/unit") -SizeMiB 8GB @args }; Id = 'SettingWrongUnit'; Category = 'InvalidArgument'; Target = 'DISK_SIZE'; Message = '-SizeMiB: *8192*' }
        @{ Case = 'a mirror without $repo'; Script = { New-ArchBootstrap "$root/none" -Mirror 'https://example.org/' @args }; Id = 'InvalidSettingValue'; Category = 'InvalidArgument'; Target = 'MIRROR'; Message = '-Mirror: *$repo*' }
        @{ Case = 'a reproducible build of today'; Script = { New-ArchBootstrap "$root/none" -Reproducible @args }; Id = 'SettingsConflict'; Category = 'InvalidArgument'; Target = 'REPRODUCIBLE'; Message = '*SNAPSHOT*' }
        @{ Case = 'a day that is none'; Script = { New-ArchBootstrap "$root/none" -Snapshot 2026.11.31 @args }; Id = 'InvalidSettingValue'; Category = 'InvalidArgument'; Target = 'SNAPSHOT'; Message = '-Snapshot: *2026.11.31*' }
        @{ Case = 'a package with a shell command'; Script = { Install-ArchBase (New-SampleBuild "$root/package") -Package 'vim', '$(reboot)' @args }; Id = 'InvalidSettingValue'; Category = 'InvalidArgument'; Target = 'PACKAGES'; Message = '-Package: *$(reboot)*' }
        @{ Case = 'no settings file'; Script = { New-ArchBootstrap "$root/none" -Settings "$root/none.env" @args }; Id = 'SettingsFileNotFound'; Category = 'ObjectNotFound'; Target = 'none.env'; Message = '*does not exist*' }
        @{ Case = 'an unknown setting'; Script = { Set-Content "$root/s.env" 'DISK_SIZES=4096'; New-ArchBootstrap "$root/none" -Settings "$root/s.env" @args }; Id = 'UnknownSetting'; Category = 'InvalidArgument'; Target = 'DISK_SIZES'; Message = '*DISK_SIZES*DISK_SIZE*' }
        @{ Case = 'neither command nor script'; Script = { Invoke-ArchTarget $root @args }; Id = 'CommandOrScript'; Category = 'InvalidArgument'; Target = $null; Message = '*-Command*-ScriptPath*' }
        @{ Case = 'no such script'; Script = { Invoke-ArchTarget (New-SampleBuild "$root/script") -ScriptPath "$root/none.sh" @args }; Id = 'ScriptNotFound'; Category = 'ObjectNotFound'; Target = 'none.sh'; Message = '*none.sh*' }
        @{ Case = 'no raw image'; Script = { ConvertTo-AzureVhd -Path "$root/none.raw" @args }; Id = 'RawImageNotFound'; Category = 'ObjectNotFound'; Target = 'none.raw'; Message = '*none.raw*' }
        @{ Case = 'no build to bring QEMU'; Script = { Test-AzureVhd (New-SampleVhd "$root/alone").FullName -Boot -Qemu Builder @args }; Id = 'BuildNotFound'; Category = 'ObjectNotFound'; Target = $null; Message = '*-WorkDirectory*' }
        @{ Case = 'a disk smaller than the image'; Script = { $big = "$root/big.vhd"; [IO.File]::WriteAllBytes("$big.raw", [byte[]]::new(3MB)); $null = ConvertTo-AzureVhd -Path "$big.raw" -Destination $big; Test-AzureVhd $big -Boot -DiskSizeMiB 2 @args }; Id = 'DiskSizeTooSmall'; Category = 'InvalidArgument'; Target = 2; Message = '*3 MiB*' }
        @{ Case = 'a disk controller of the other generation'; Script = { Test-AzureVhd (New-SampleVhd "$root/controller").FullName -Boot -Generation 1 -DiskController NVMe @args }; Id = 'ControllerOfOtherGeneration'; Category = 'InvalidArgument'; Target = $null; Message = '*generation 2*' }
        @{ Case = 'no engine for the QEMU of a build'; Script = { $vhd = New-SampleVhd "$root/beside"; Get-ArchBuild (New-SampleBuild "$root/qemu") | Test-AzureVhd -Path $vhd.FullName -Boot -Qemu Builder @args }; Id = 'DockerEngineNotFound'; Category = 'ConnectionError'; Target = $null; Message = '*no-engine.sock*' }
        @{ Case = 'no Docker engine'; Script = { New-ArchBootstrap "$root/none" @args }; Id = 'DockerEngineNotFound'; Category = 'ConnectionError'; Target = $null; Message = '*no-engine.sock*Start Docker*DOCKER_HOST*' }
    ) {
        $failure = Get-ErrorOf $Script
        $failure.FullyQualifiedErrorId | Should -BeLike "$Id,ArchAzure.PowerShell.Commands.*Command"
        $failure.CategoryInfo.Category | Should -Be $Category
        "$failure" | Should -BeLike $Message
        "$failure" | Should -Match '[.?]$'
        if ($null -ne $Target) { ($failure.TargetObject -replace "^$([regex]::Escape($root))/") | Should -Be $Target }
        Test-Path -LiteralPath "$root/none" | Should -BeFalse
    }

    It 'of Get-ArchBuild leave the script running, unless told to stop' {
        $after = & { Get-ArchBuild "$root/none" -ErrorAction SilentlyContinue; 'went on' }
        $after | Should -Be 'went on'
        { Get-ArchBuild "$root/none" -ErrorAction Stop } | Should -Throw -ErrorId 'BuildNotFound,*'
    }

    It 'of a step end the pipe it stands in' {
        $reached = $false
        { New-ArchDisk "$root/none" | ForEach-Object { $reached = $true } } | Should -Throw -ErrorId 'BuildNotFound,*'
        $reached | Should -BeFalse
    }

    It 'of parameters name the values that are possible' {
        { Install-ArchBase $root -Kernel linux-zen } | Should -Throw -ErrorId 'ParameterArgumentValidationError,*' -ExpectedMessage '*linux-lts*'
        { Install-WaAgent $root -Agent other } | Should -Throw -ErrorId 'ParameterArgumentValidationError,*' -ExpectedMessage '*cloud-init*'
        { Test-AzureVhd "$root/none.vhd" -Boot -Qemu podman } | Should -Throw -ErrorId 'CannotConvertArgumentNoMessage,*' -ExpectedMessage '*Auto*Host*Builder*'
        { New-ArchDisk $root -RootFileSystem xfs } | Should -Throw -ErrorId 'ParameterArgumentValidationError,*' -ExpectedMessage '*btrfs*'
        { Get-ArchBuild -WorkDirectory '' } | Should -Throw -ErrorId 'ParameterArgumentValidationError,*'
        { $null | New-ArchDisk } | Should -Throw -ErrorId 'ParameterArgumentValidationError*'
        { 'text' | New-ArchDisk } | Should -Throw -ErrorId 'InputObjectNotBound,*'
    }

    It 'are one readable line at the prompt' {
        $text = pwsh -NoProfile -NonInteractive -Command "`$PSStyle.OutputRendering = 'PlainText'; Import-Module '$Manifest'; Get-ArchBuild '$root/none'" 2>&1 | Out-String
        $LASTEXITCODE | Should -Be 1
        $text.Trim() | Should -BeExactly "Get-ArchBuild: There is no build in '$root/none' (no build.json). Begin one with New-ArchBootstrap '$root/none', or name the right work directory."
    }

    It 'Remove-ArchBuild asks, and where nobody can answer removes nothing' {
        $folder = New-SampleBuild "$root/ask"
        $null = pwsh -NoProfile -NonInteractive -Command "Import-Module '$Manifest'; Remove-ArchBuild '$folder'" 2>&1
        $LASTEXITCODE | Should -Be 1
        "$folder/build.json" | Should -Exist
    }
}

Describe 'Completion' {
    It 'of <Parameter> <Word>' -ForEach @(
        @{ Parameter = 'First'; Word = ''; Expected = 'New-ArchBootstrap', 'New-ArchDisk', 'Install-ArchBase', 'Install-WaAgent', 'ConvertTo-AzureVhd' }
        @{ Parameter = 'First'; Word = 'inst'; Expected = 'Install-ArchBase', 'Install-WaAgent' }
        @{ Parameter = 'Last'; Word = 'C'; Expected = 'ConvertTo-AzureVhd' }
    ) {
        $line = "Invoke-ArchBuild ./w -$Parameter $Word"
        $found = (TabExpansion2 $line $line.Length).CompletionMatches
        $found.CompletionText | Should -Be $Expected
        $found.ToolTip | Should -Match '^step [1-5]$'
    }

    It 'of values that are fixed' {
        $line = 'Install-WaAgent -Agent '
        (TabExpansion2 $line $line.Length).CompletionMatches.CompletionText | Should -Be 'cloud-init', 'waagent'
    }
}

Describe 'ConvertTo-AzureVhd -Path' {
    BeforeEach {
        $folder = (New-Item -ItemType Directory -Path (Join-Path $root ("raw " + [guid]::NewGuid()))).FullName
        # 3 MiB and a bit: it has to be rounded up.
        $raw = Join-Path $folder "it's [a] größe.raw"
        $bytes = [byte[]]::new(3 * 1MB + 1000)
        [Random]::new(1).NextBytes($bytes)
        [IO.File]::WriteAllBytes($raw, $bytes)
        $hash = (Get-FileHash -LiteralPath $raw).Hash
    }

    It 'copies: the raw image stays, the VHD is whole MiB and a footer' {
        $vhd = ConvertTo-AzureVhd -Path $raw
        $vhd | Should -BeOfType System.IO.FileInfo
        $vhd.FullName | Should -BeExactly ($raw -replace '\.raw$', '.vhd')
        $vhd.Length | Should -Be (4MB + 512)
        $made = [IO.File]::ReadAllBytes($vhd)
        [Linq.Enumerable]::SequenceEqual([byte[]]$made[0..($bytes.Length - 1)], $bytes) | Should -BeTrue
        [Text.Encoding]::ASCII.GetString($made, 4MB, 8) | Should -BeExactly 'conectix'
        (Get-FileHash -LiteralPath $raw).Hash | Should -Be $hash
    }

    It 'turns the image itself into the VHD with -InPlace' {
        $vhd = Get-Item -LiteralPath $raw | ConvertTo-AzureVhd -InPlace
        $vhd.Length | Should -Be (4MB + 512)
        $raw | Should -Not -Exist
        @(Get-ChildItem -LiteralPath $folder).Count | Should -Be 1
    }

    It 'takes a relative destination from the current location' {
        Push-Location -LiteralPath $folder
        try { (ConvertTo-AzureVhd -Path $raw -Destination './other.vhd').FullName | Should -BeExactly (Join-Path $folder 'other.vhd') }
        finally { Pop-Location }
    }

    It 'does nothing with -WhatIf' {
        ConvertTo-AzureVhd -Path $raw -InPlace -WhatIf | Should -BeNullOrEmpty
        @(Get-ChildItem -LiteralPath $folder).Name | Should -BeExactly (Split-Path -Leaf $raw)
        (Get-FileHash -LiteralPath $raw).Hash | Should -Be $hash
    }

    It 'does not replace a file unless forced, and goes on with the next image' {
        $second = Join-Path $folder 'b.raw'
        Copy-Item -LiteralPath $raw -Destination $second
        Set-Content -LiteralPath ($raw -replace '\.raw$', '.vhd') 'mine'
        $made = Get-ChildItem -LiteralPath $folder -Filter *.raw | Sort-Object { $_.Name -eq 'b.raw' } | ConvertTo-AzureVhd -ErrorAction SilentlyContinue -ErrorVariable failed
        $made.Name | Should -Be 'b.vhd'
        $failed.FullyQualifiedErrorId | Should -BeLike 'DestinationExists,*'
        (ConvertTo-AzureVhd -Path $raw -Force).Length | Should -Be (4MB + 512)
    }

    It 'refuses what is a VHD already' {
        $vhd = ConvertTo-AzureVhd -Path $raw
        { ConvertTo-AzureVhd -Path $vhd.FullName -Destination "$folder/twice.vhd" -ErrorAction Stop } | Should -Throw -ErrorId 'NotARawImage,*'
        "$folder/twice.vhd" | Should -Not -Exist
        "$folder/twice.vhd.part" | Should -Not -Exist
    }
}

Describe 'build.ps1, which build.sh runs' {
    BeforeEach {
        $folder = (New-Item -ItemType Directory -Path (Join-Path $root "script $([guid]::NewGuid())")).FullName
        function Invoke-BuildScript { pwsh -NoProfile -NonInteractive -File "$PSScriptRoot/../build.ps1" -Module $Manifest -WorkDirectory $folder @args 2>&1 | Out-String -Width 1000 }
    }

    It 'ends with 1 for the setting <Line>, before anything is touched' -ForEach @(
        @{ Line = 'DISK_SIZE=30G'; Message = '*DISK_SIZE*30720*' }
        @{ Line = 'NO_SUCH_KEY=1'; Message = '*settings.env:1*NO_SUCH_KEY*' }
        @{ Line = 'MIRROR=$(reboot)'; Message = '*settings.env:1*MIRROR*' }
    ) {
        Set-Content -LiteralPath (Join-Path $folder 'settings.env') $Line
        Invoke-BuildScript | Should -BeLike $Message
        $LASTEXITCODE | Should -Be 1
        @(Get-ChildItem -LiteralPath $folder).Name | Should -Be 'settings.env'
    }

    It 'ends with 1 for a step that does not exist' {
        Invoke-BuildScript -First 7 | Should -BeLike "*There is no step '7'*"
        $LASTEXITCODE | Should -Be 1
    }

    It 'ends with 1 for an engine that is not there' {
        Invoke-BuildScript | Should -BeLike '*no-engine.sock*'
        $LASTEXITCODE | Should -Be 1
    }
}

Describe 'Test-AzureVhd' {
    BeforeAll {
        $folder = (New-Item -ItemType Directory "$root/judged").FullName
        $one, $two = 'one', 'two[1]' | ForEach-Object { New-SampleVhd "$folder/$_" }
    }

    It 'takes wildcards, arrays, literal paths, files and builds' {
        @((Test-AzureVhd "$folder/*.vhd").VhdPath | Sort-Object -Unique) | Should -Be $one.FullName, $two.FullName
        @((Test-AzureVhd $one.FullName, "$folder/one.vhd").VhdPath | Sort-Object -Unique) | Should -Be $one.FullName
        @((Test-AzureVhd -LiteralPath $two.FullName).VhdPath | Sort-Object -Unique) | Should -Be $two.FullName
        @((Get-ChildItem "$folder/*.vhd" | Test-AzureVhd).VhdPath | Sort-Object -Unique) | Should -Be $one.FullName, $two.FullName

        $build = Get-ArchBuild (New-SampleBuild "$root/with")
        Copy-Item $one.FullName $build.VhdPath
        @(($build | Test-AzureVhd).VhdPath | Sort-Object -Unique) | Should -Be $build.VhdPath
        $state = Get-Content -Raw "$(New-SampleBuild "$root/without")/build.json" | ConvertFrom-Json -AsHashtable
        $state.Remove('vhd')
        $state.steps = @($state.steps | Where-Object number -LT 5)
        $state | ConvertTo-Json -Depth 9 | Set-Content "$root/without/build.json"
        (Get-ErrorOf { Get-ArchBuild "$root/without" | Test-AzureVhd @args }).Exception.Message |
            Should -BeLike '*has no VHD yet. Run ConvertTo-AzureVhd*'
    }

    It 'says of a missing file so, and goes on with the others' {
        $results = Test-AzureVhd "$folder/none.vhd", $one.FullName -ErrorAction SilentlyContinue -ErrorVariable missing
        $missing[0].FullyQualifiedErrorId | Should -BeLike 'VhdNotFound,*'
        @($results.VhdPath | Sort-Object -Unique) | Should -Be $one.FullName
        Test-AzureVhd "$folder/none.vhd", $one.FullName -Quiet -ErrorAction SilentlyContinue | Should -BeFalse
    }

    It 'has no true for what it has not seen' {
        $results = Test-AzureVhd $one.FullName
        $results.Outcome | Should -Contain Unknown
        Test-AzureVhd $one.FullName -Quiet | Should -BeFalse
    }

    It 'ends the table with the totals, and adds nothing to a pipe' {
        $null = Test-AzureVhd $one.FullName -InformationVariable told 6> $null
        $told | Should -HaveCount 1
        "$told" | Should -Match '^\d+ rules: \d+ passed, \d+ failed, \d+ unknown\.$'
        $null = Test-AzureVhd $one.FullName -InformationVariable none 6> $null | ConvertTo-Json
        $none | Should -BeNullOrEmpty
    }

    It 'gives words and a version to ConvertTo-Json' {
        $object = Test-AzureVhd $one.FullName | ConvertTo-Json | ConvertFrom-Json
        $object[0].SchemaVersion | Should -Be 1
        $object[0].Outcome | Should -Be Passed
        $object[0].PSObject.Properties.Name | Should -Be SchemaVersion, Rule, Outcome, Found, Wanted, Remedy, Source, VhdPath
    }

    It 'shows in a list what is wanted, found, to be done, and why' {
        $text = Test-AzureVhd $one.FullName | Select-Object -First 1 | Format-List | Out-String
        foreach ($label in 'Rule', 'Outcome', 'Wanted', 'Found', 'Remedy', 'Source') { $text | Should -Match "(?m)^$label +:" }
    }

    It 'tells what follows a footer' {
        $longer = "$folder/longer.bin"
        [IO.File]::WriteAllBytes($longer, [IO.File]::ReadAllBytes($one.FullName) + [byte[]]::new(700))
        (Get-ErrorOf { Test-AzureVhd $longer @args }).Exception.Message | Should -BeLike '*700 bytes follow its footer*truncate*'
    }
}
