using Azure.Core;
using Azure.ResourceManager.Compute;
using Azure.ResourceManager.Compute.Models;

namespace ArchAzure.Publishing;

/// <summary>What an image definition says of its images: only what is shown of this one.</summary>
/// <remarks>https://learn.microsoft.com/azure/virtual-machines/shared-image-galleries#image-definitions.</remarks>
internal static class ImageFeatures
{
    private const string Accelerated = "IsAcceleratedNetworkSupported";
    private const string Controllers = "DiskControllerTypes";
    private const string Hibernation = "IsHibernateSupported";
    private const string Security = "SecurityType";

    /// <summary>The features of a new definition.</summary>
    public static IReadOnlyList<(string Name, string Value)> Of(PublishEvidence evidence)
    {
        List<(string, string)> features = [(Accelerated, Text(evidence.AcceleratedNetworking)), (Hibernation, Text(false))];
        if (evidence.DiskControllers.Count > 0)
        {
            features.Add((Controllers, string.Join(", ", evidence.DiskControllers)));
        }

        // Without this feature machines are of the security type Standard.
        if (evidence.TrustedLaunch)
        {
            features.Add((Security, "TrustedLaunchSupported"));
        }

        return features;

        static string Text(bool value) => value ? "True" : "False";
    }

    /// <summary>Refuses a definition for other images, or one that promises what nothing has shown of this one.</summary>
    /// <param name="what">The definition, for the message.</param>
    /// <param name="definition">The definition in the gallery.</param>
    /// <param name="generation">1 or 2.</param>
    /// <param name="evidence">What is known of the image.</param>
    /// <exception cref="ArchAzureException"><c>DefinitionMismatch</c> or <c>DefinitionClaimsMore</c>.</exception>
    public static void RequireTrue(string what, GalleryImageData definition, int generation, PublishEvidence evidence)
    {
        RequireEqual(what, "operating system", $"{definition.OSType}", "Linux");
        RequireEqual(what, "state", $"{definition.OSState}", "Generalized");
        RequireEqual(what, "generation", $"{definition.HyperVGeneration ?? HyperVGeneration.V1}", $"V{generation}");
        RequireEqual(what, "architecture", $"{definition.Architecture ?? ArchitectureType.X64}", $"{ArchitectureType.X64}");
        foreach (var feature in definition.Features)
        {
            var (isClaimed, isShown, remedy) = feature.Name.ToUpperInvariant() switch
            {
                "ISACCELERATEDNETWORKSUPPORTED" => (
                    IsTrue(feature), evidence.AcceleratedNetworking,
                    "The rules VirtualFunctionsUnmanaged and HyperVModules of Test-AzureVhd show it: publish without -SkipTest"),
                "DISKCONTROLLERTYPES" => (
                    feature.Value.Contains("NVMe", StringComparison.OrdinalIgnoreCase), evidence.DiskControllers.Contains("NVMe"),
                    "A boot from an NVMe disk can show it: pipe Test-AzureVhd -Boot -DiskController NVMe to this command"),
                "SECURITYTYPE" => (
                    !string.Equals(feature.Value, "Standard", StringComparison.OrdinalIgnoreCase), evidence.TrustedLaunch,
                    "Only a boot under Secure Boot can show it, with a boot loader that is signed"),
                "ISHIBERNATESUPPORTED" => (IsTrue(feature), false, "Images of this module do not hibernate"),
                _ => (false, true, ""),
            };
            if (isClaimed && !isShown)
            {
                throw new ArchAzureException(
                    "DefinitionClaimsMore",
                    ErrorKind.InvalidInput,
                    $"{what} promises {feature.Name}={feature.Value}, which nothing has shown of this VHD. {remedy}; or name another "
                    + "definition, which is made with what is known.",
                    feature.Name);
            }
        }

        static bool IsTrue(GalleryImageFeature feature) => string.Equals(feature.Value, "True", StringComparison.OrdinalIgnoreCase);
    }

    private static void RequireEqual(string what, string property, string there, string wanted)
    {
        if (!string.Equals(there, wanted, StringComparison.OrdinalIgnoreCase))
        {
            throw new ArchAzureException(
                "DefinitionMismatch",
                ErrorKind.InvalidInput,
                $"{what} is for images of another kind: its {property} is {there}, this VHD's {wanted}. A definition cannot be "
                + "changed: name another.",
                property);
        }
    }
}
