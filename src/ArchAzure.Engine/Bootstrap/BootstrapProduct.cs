namespace ArchAzure.Bootstrap;

/// <summary>Step 1: the Arch release and the images made of it.</summary>
/// <param name="Version">YYYY.MM.DD.</param>
/// <param name="FileName">The bootstrap archive's name.</param>
/// <param name="Sha256">Its SHA-256 in lower-case hex.</param>
/// <param name="SignedBy">The OpenPGP fingerprint that signed it.</param>
/// <param name="BootstrapImage">The Docker image of the archive.</param>
/// <param name="BuilderImage">The Docker image the other steps run in.</param>
public sealed record BootstrapProduct(
    string Version, string FileName, string Sha256, string SignedBy, string BootstrapImage, string BuilderImage);
