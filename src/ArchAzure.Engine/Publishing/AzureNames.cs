using System.Globalization;
using System.Text.RegularExpressions;

namespace ArchAzure.Publishing;

/// <summary>The rules of names in Azure, known before anything is asked of it.</summary>
/// <remarks>https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules.</remarks>
internal static partial class AzureNames
{
    /// <summary>The most characters in the name of a disk.</summary>
    public const int LongestDisk = 80;

    /// <summary>Requires the name of a managed disk.</summary>
    /// <exception cref="ArchAzureException"><c>NameInvalid</c>.</exception>
    public static string Disk(string name) =>
        Require(
            name, "managed disk", Disk(),
            "1 to 80 letters, digits, '_', '-' and '.', with a letter or digit first and a letter, digit or '_' last");

    /// <summary>Requires the name of a resource group.</summary>
    /// <exception cref="ArchAzureException"><c>NameInvalid</c>.</exception>
    public static string ResourceGroup(string name) =>
        Require(name, "resource group", ResourceGroup(), "1 to 90 letters, digits, '_', '-', '.', '(' and ')', with no '.' last");

    /// <summary>Requires the name of a region, as in 'westeurope' or 'West Europe'.</summary>
    /// <exception cref="ArchAzureException"><c>NameInvalid</c>.</exception>
    public static string Region(string name) =>
        Require(
            name, "region", Region(),
            "letters, digits and spaces, as in 'westeurope'; az account list-locations --output table lists them");

    /// <summary>Requires a part of what an image definition is known by: publisher, offer or SKU.</summary>
    /// <exception cref="ArchAzureException"><c>NameInvalid</c>.</exception>
    public static string ImagePart(string name, string part) =>
        Require(name, part, ImagePart(), "1 to 64 letters, digits, '_', '-' and '.', with no '.' last");

    /// <summary>Takes 'gallery/definition/version' apart.</summary>
    /// <exception cref="ArchAzureException"><c>GalleryImageInvalid</c> or <c>NameInvalid</c>.</exception>
    public static (string Gallery, string Definition, string Version) GalleryImage(string image)
    {
        if (image.Split('/') is not [var gallery, var definition, var version])
        {
            throw new ArchAzureException(
                "GalleryImageInvalid",
                ErrorKind.InvalidInput,
                $"'{image}' does not name an image version. Write gallery/definition/version, as in 'arch/arch-gen2/2026.12.1'.",
                image);
        }

        Require(gallery, "gallery", Gallery(), "1 to 80 letters, digits, '_' and '.' (no '-'), with a letter or digit first and last");
        Require(
            definition, "image definition", Definition(),
            "1 to 80 letters, digits, '_', '-' and '.', with a letter or digit first and last");
        Require(
            version, "image version",
            version.Split('.') is [var major, var minor, var patch] && IsNumber(major) && IsNumber(minor) && IsNumber(patch),
            "three numbers, Major.Minor.Patch, without leading zeros, as in '2026.12.1'");
        return (gallery, definition, version);
    }

    /// <summary>A 32-bit number as Azure writes it back.</summary>
    private static bool IsNumber(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value)
        && text == value.ToString(CultureInfo.InvariantCulture);

    private static string Require(string name, string what, Regex rule, string want) => Require(name, what, rule.IsMatch(name), want);

    private static string Require(string name, string what, bool isValid, string want) =>
        isValid
            ? name
            : throw new ArchAzureException(
                "NameInvalid", ErrorKind.InvalidInput, $"'{name}' is not the name of a {what}: Azure takes {want}.", name);

    [GeneratedRegex(@"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?\z", RegexOptions.None, 1000)]
    private static partial Regex Disk();

    [GeneratedRegex(@"^[\p{L}\p{N}_().-]{0,89}[\p{L}\p{N}_()-]\z", RegexOptions.None, 1000)]
    private static partial Regex ResourceGroup();

    [GeneratedRegex(@"^[A-Za-z][A-Za-z0-9 ]{0,59}\z", RegexOptions.None, 1000)]
    private static partial Regex Region();

    [GeneratedRegex(@"^[A-Za-z0-9_.-]{0,63}[A-Za-z0-9_-]\z", RegexOptions.None, 1000)]
    private static partial Regex ImagePart();

    [GeneratedRegex(@"^[A-Za-z0-9]([A-Za-z0-9_.]{0,78}[A-Za-z0-9])?\z", RegexOptions.None, 1000)]
    private static partial Regex Gallery();

    [GeneratedRegex(@"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9])?\z", RegexOptions.None, 1000)]
    private static partial Regex Definition();
}
