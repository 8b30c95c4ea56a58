namespace ArchAzure.Target;

/// <summary>Step 3: the target with Arch on it.</summary>
/// <param name="Kernel">The kernel's package.</param>
/// <param name="PackageCount">How many packages are installed.</param>
/// <param name="Layers">The layers laid, in order.</param>
public sealed record TargetProduct(string Kernel, int PackageCount, IReadOnlyList<string> Layers);
