namespace ArchAzure.Publishing;

/// <summary>The commands that make a virtual machine of what was published.</summary>
/// <remarks>
/// The security type is named: Trusted Launch, with Secure Boot, is what a new machine of generation 2 has by default, and it does not start a
/// boot loader that Microsoft has not signed (https://learn.microsoft.com/azure/virtual-machines/trusted-launch).
/// </remarks>
internal static class NextSteps
{
    /// <summary>From a page blob.</summary>
    public static IReadOnlyList<string> OfBlob(string uri, string vhdPath, int generation) =>
        OfImageSource(uri, Path.GetFileNameWithoutExtension(vhdPath), generation, "-BlobUri");

    /// <summary>From a managed disk.</summary>
    public static IReadOnlyList<string> OfDisk(string id, string name, int generation) => OfImageSource(id, name, generation, "-ManagedDiskId");

    private static IReadOnlyList<string> OfImageSource(string source, string name, int generation, string parameter) =>
    [
        "# Azure CLI; GROUP is a resource group in the region of the source",
        $"az image create --resource-group GROUP --name {name} --source '{source}' --os-type Linux --hyper-v-generation V{generation}",
        $"az vm create --resource-group GROUP --name VM --image {name} --security-type Standard --admin-username azureuser --generate-ssh-keys",
        "# Az PowerShell",
        $"$image = New-AzImageConfig -Location REGION -HyperVGeneration V{generation} | "
            + $"Set-AzImageOsDisk -OsType Linux -OsState Generalized {parameter} '{source}'",
        $"New-AzImage -ResourceGroupName GROUP -ImageName {name} -Image $image",
        $"New-AzVM -ResourceGroupName GROUP -Name VM -Image {name} -SecurityType Standard -Credential (Get-Credential) -GenerateSshKey "
            + "-SshKeyName VM",
    ];
}
