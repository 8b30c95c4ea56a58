namespace ArchAzure.Publishing;

/// <summary>The commands that make a virtual machine of what was published.</summary>
/// <remarks>
/// The security type is named: Trusted Launch, with Secure Boot, is what a new machine of generation 2 has by default, and it does not
/// start a boot loader that Microsoft has not signed (https://learn.microsoft.com/azure/virtual-machines/trusted-launch). A subscription
/// has to be registered once to name the type Standard (https://learn.microsoft.com/azure/virtual-machines/trusted-launch-faq).
/// </remarks>
internal static class NextSteps
{
    private const string Register =
        "# Once for each subscription: az feature register --namespace Microsoft.Compute --name UseStandardSecurityType; when it says "
        + "'Registered': az provider register --namespace Microsoft.Compute";

    /// <summary>From a page blob.</summary>
    public static IReadOnlyList<string> OfBlob(string uri, string vhdPath, int generation) =>
    [
        "# GROUP is a resource group in the region of the storage account, REGION",
        .. OfImageSource(uri, "-BlobUri", Path.GetFileNameWithoutExtension(vhdPath), generation, "GROUP", "REGION"),
    ];

    /// <summary>From a managed disk.</summary>
    public static IReadOnlyList<string> OfDisk(string id, DiskRequest disk, int generation) =>
        disk.TrustedLaunch
            ? OfTrustedDisk(id, disk)
            : OfImageSource(id, "-ManagedDiskId", disk.Name, generation, disk.ResourceGroup, disk.Location);

    /// <summary>A managed image has no security type: Trusted Launch needs a gallery.</summary>
    private static List<string> OfTrustedDisk(string id, DiskRequest disk)
    {
        var gallery = $"--resource-group '{disk.ResourceGroup}' --gallery-name GALLERY --gallery-image-definition '{disk.Name}'";
        return
        [
            "# Azure CLI; GALLERY is a Compute Gallery: az sig create",
            $"az sig image-definition create {gallery} --publisher ArchAzure --offer '{disk.Name}' --sku trusted --os-type Linux "
                + "--os-state Generalized --hyper-v-generation V2 --features SecurityType=TrustedLaunchSupported",
            $"az sig image-version create {gallery} --gallery-image-version 1.0.0 --os-snapshot '{id}'",
            $"az vm create --resource-group '{disk.ResourceGroup}' --location '{disk.Location}' --name VM --image "
                + $"\"$(az sig image-version show {gallery} --gallery-image-version 1.0.0 --query id --output tsv)\" "
                + "--security-type TrustedLaunch --admin-username azureuser --generate-ssh-keys",
        ];
    }

    /// <summary>From an image version in a gallery, which may be in another resource group than the machine.</summary>
    public static IReadOnlyList<string> OfImageVersion(string id, GalleryRequest image) =>
    [
        Register,
        "# Azure CLI",
        OfAzCli(id, image.ResourceGroup, image.Location),
        "# Az PowerShell",
        OfAzVm($"'{id}'", image.ResourceGroup, image.Location),
    ];

    private static List<string> OfImageSource(string source, string parameter, string name, int generation, string group, string region) =>
    [
        Register,
        "# Azure CLI",
        $"az image create --resource-group '{group}' --location '{region}' --name '{name}' --source '{source}' --os-type Linux "
            + $"--hyper-v-generation V{generation}",
        OfAzCli(name, group, region),
        "# Az PowerShell",
        $"$image = New-AzImageConfig -Location '{region}' -HyperVGeneration V{generation} | "
            + $"Set-AzImageOsDisk -OsType Linux -OsState Generalized {parameter} '{source}'",
        $"$made = New-AzImage -ResourceGroupName '{group}' -ImageName '{name}' -Image $image",
        OfAzVm("$made.Id", group, region),
    ];

    private static string OfAzCli(string image, string group, string region) =>
        $"az vm create --resource-group '{group}' --location '{region}' --name VM --image '{image}' --security-type Standard "
            + "--admin-username azureuser --generate-ssh-keys";

    private static string OfAzVm(string image, string group, string region) =>
        $"New-AzVM -ResourceGroupName '{group}' -Location '{region}' -Name VM -Image {image} -SecurityType Standard "
            + "-Credential (Get-Credential) -GenerateSshKey -SshKeyName VM";
}
