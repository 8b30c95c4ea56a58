@{
    RootModule           = 'bin/ArchAzure.PowerShell.dll'
    # Loaded before the root module: gives the engine and its dependencies a load context of their own.
    NestedModules        = @('bin/ArchAzure.Loader.dll')
    ModuleVersion        = '0.1.0'
    CompatiblePSEditions = @('Core')
    GUID                 = '6b1f0c7e-2f5d-4c1b-9a53-5a3f6b8e0f4d'
    Author               = 'The ArchAzure authors'
    CompanyName          = 'The ArchAzure authors'
    Copyright            = '(c) The ArchAzure authors. ISC licence.'
    Description          = 'Builds Arch Linux disk images (fixed VHDs) that boot, provision and stay reachable on Azure.'
    PowerShellVersion    = '7.4'
    FormatsToProcess     = @('ArchAzure.Format.ps1xml')
    FunctionsToExport    = @()
    CmdletsToExport      = @(
        'New-ArchBootstrap'
        'New-ArchDisk'
        'Install-ArchBase'
        'Install-WaAgent'
        'ConvertTo-AzureVhd'
        'Test-AzureVhd'
        'Publish-AzureVhd'
        'Invoke-ArchBuild'
        'Get-ArchBuild'
        'Remove-ArchBuild'
        'Enter-ArchTarget'
        'Invoke-ArchTarget'
    )
    VariablesToExport    = @()
    AliasesToExport      = @()
    PrivateData          = @{
        PSData = @{
            Tags       = @('Arch', 'ArchLinux', 'Azure', 'VHD', 'Docker', 'Linux', 'MacOS', 'Windows')
            LicenseUri = ''
            ProjectUri = ''
        }
    }
}
