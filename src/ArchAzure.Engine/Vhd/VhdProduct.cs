namespace ArchAzure.Vhd;

/// <summary>Step 5: the VHD.</summary>
/// <param name="Path">Its path; relative to the work directory if it lies within.</param>
/// <param name="SizeMiB">The disk's size in MiB, without the footer.</param>
/// <param name="UniqueId">The identity in its footer.</param>
/// <param name="Sha256">
/// The SHA-256 of the whole file in lower-case hex, as <c>SHA256SUMS</c> next to it has it; null if it was not asked for.
/// </param>
/// <param name="FsVerity">
/// Its fs-verity digest in lower-case hex, as <c>FSVERITYSUMS</c> next to it has it; null if it was made under a schema before 4.
/// </param>
public sealed record VhdProduct(string Path, long SizeMiB, Guid UniqueId, string? Sha256 = null, string? FsVerity = null);
