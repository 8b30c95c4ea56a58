namespace ArchAzure.Readiness.Rules;

/// <summary>Both copies of the GPT are there and right.</summary>
internal sealed class PartitionTable : ReadinessRule
{
    public override string Wanted => "a valid GPT with its backup at the disk's end";

    public override string Source => Sources.UefiSpecification + ", chapter 5";

    public override Finding Check(CheckedDisk disk)
    {
        const string Remedy = "Repair it with gdisk (commands r, then b or e), or make the disk again.";
        try
        {
            var table = disk.PartitionTable;
            return table.Problems.Count == 0
                ? Pass($"GPT, {table.Partitions.Count} partitions")
                : Fail(string.Join(" ", table.Problems), Remedy);
        }
        catch (ArchAzureException e) when (e.ErrorId is "PartitionTableDamaged" or "PartitionTableNotFound")
        {
            return Fail(e.Message, Remedy);
        }
    }
}
