namespace ArchAzure.PublishTests;

/// <summary>The cmdlet's parameters for disks and galleries, and what it shows.</summary>
public sealed class PublishCmdletTests(Azurite azurite) : IClassFixture<Azurite>, IDisposable
{
    private readonly TestVhd _vhd = new();

    public void Dispose() => _vhd.Dispose();

    [Fact]
    public async Task WhatIf_tells_all_and_needs_no_identity()
    {
        var result = await Pwsh.RunAsync(
            $$"""
            $common = @{
                Path = {{Pwsh.Quote(_vhd.Path)}}; ResourceGroup = 'images'; Location = 'westeurope'; SkipTest = $true; WhatIf = $true
            }
            Publish-AzureVhd @common -GalleryImage arch/arch-gen2/2026.12.1 -TargetRegion northeurope, eastus `
                -Replica 2 -EndOfLife 2099-01-01
            Publish-AzureVhd @common -DiskName arch-disk -Sku Premium_LRS -SecurityType TrustedLaunch -Force
            """);
        Assert.True(result.ExitCode == 0, result.All);
        string[] expected =
        [
            "What if: Publish '", "gallery 'arch'", "definition 'arch-gen2'", "IsHibernateSupported=False", "disk 'arch-gen2-2026.12.1'",
            "version '2026.12.1' of that disk in westeurope, northeurope, eastus, with 2 replicas each, end of life 2099-01-01",
            "Delete the managed disk", "disk 'arch-disk'", "48 MiB, Premium_LRS", "security type TrustedLaunch", "is deleted before",
            "revoke the access",
        ];
        Assert.All(expected, text => Assert.Contains(text, result.Output, StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_result_shows_the_next_commands_whole()
    {
        var blob = azurite.NewBlob();
        var result = await Pwsh.RunAsync(
            $"Publish-AzureVhd {Pwsh.Quote(_vhd.Path)} -BlobUri {Pwsh.Quote(Azurite.WithSas(blob).AbsoluteUri)} -SkipTest "
            + "| Out-String -Width 80");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.Contains($"Published : {blob}", result.Output, StringComparison.Ordinal);
        var output = string.Concat(result.Output.Split('\n').Select(line => line.Trim() + " "));
        Assert.Contains("--security-type Standard", output, StringComparison.Ordinal);
        Assert.Contains("New-AzVM", output, StringComparison.Ordinal);
        Assert.Contains("-SshKeyName VM", output, StringComparison.Ordinal);
        Assert.DoesNotContain("sig=", result.All, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("-DiskName 'arch disk' -ResourceGroup images -Location westeurope", "'arch disk' is not the name of a managed disk")]
    [InlineData("-GalleryImage arch/arch/1.0 -ResourceGroup images -Location westeurope", "Major.Minor.Patch")]
    [InlineData("-DiskName arch -ResourceGroup images -Location westeurope -SecurityType TrustedLaunch -Generation 1", "generation 2 only")]
    public async Task Bad_names_end_it_before_anybody_has_to_sign_in(string parameters, string message)
    {
        var result = await Pwsh.RunAsync($"Publish-AzureVhd {Pwsh.Quote(_vhd.Path)} -SkipTest {parameters}");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains(message, result.All, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_an_identity_it_says_how_to_sign_in()
    {
        // Only the environment is looked at: the whole chain asks for a managed identity on the network.
        var result = await Pwsh.RunAsync(
            "$env:AZURE_TOKEN_CREDENTIALS = 'EnvironmentCredential'; "
            + $"Publish-AzureVhd {Pwsh.Quote(_vhd.Path)} -SkipTest -DiskName arch -ResourceGroup images -Location westeurope",
            "env", "-u", "AZURE_CLIENT_ID", "-u", "AZURE_CLIENT_SECRET", "-u", "AZURE_TENANT_ID");
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("there is no credential for Azure here", result.All, StringComparison.Ordinal);
        Assert.Contains("az login", result.All, StringComparison.Ordinal);
    }
}
