namespace ArchAzure.Vhd;

/// <summary>Step 5: the VHD.</summary>
/// <param name="Path">Its path; relative to the work directory if it lies within.</param>
/// <param name="SizeMiB">The disk's size in MiB, without the footer.</param>
/// <param name="UniqueId">The identity in its footer.</param>
/// <param name="Sha256">
/// The SHA-256 of the whole file in lower-case hex, as <c>SHA256SUMS</c> beside it has it; null if it was made under schema 1, without
/// checksums and package list.
/// </param>
public sealed record VhdProduct(string Path, long SizeMiB, Guid UniqueId, string? Sha256 = null);
