using ArchAzure.Disks;

namespace ArchAzure.Readiness.Rules;

/// <summary>Both copies of the GPT are there and right.</summary>
internal sealed class PartitionTable : ReadinessRule
{
    public override string Wanted => "a valid GPT with its backup at the disk's end; for generation 1 alone, an MBR is enough";

    public override string Source => Sources.UefiSpecification + ", chapter 5";

    public override Finding Check(CheckedDisk disk)
    {
        const string Remedy = "Repair it with gdisk (commands r, then b or e), or make the disk again.";
        try
        {
            var table = disk.PartitionTable;
            return table.Problems.Count > 0 ? Fail(string.Join(" ", table.Problems), Remedy)
                : table is GuidPartitionTable ? Pass($"GPT, {table.Partitions.Count} partitions")
                : disk.Options.Generation == 1 ? Pass($"MBR, {table.Partitions.Count} partitions")
                : Fail(
                    $"MBR, {table.Partitions.Count} partitions: not for generation 2",
                    "Convert it with sgdisk --mbrtogpt, or use the image for generation 1 only (Test-AzureVhd -Generation 1).");
        }
        catch (ArchAzureException e) when (e.ErrorId is "PartitionTableDamaged" or "PartitionTableNotFound")
        {
            return Fail(e.Message, Remedy);
        }
    }
}
