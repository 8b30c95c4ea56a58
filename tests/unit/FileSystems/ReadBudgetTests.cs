using ArchAzure.FileSystems;

namespace ArchAzure.UnitTests.FileSystems;

public sealed class ReadBudgetTests
{
    [Fact]
    public void A_rule_that_wastes_its_share_leaves_half_to_the_others()
    {
        var budget = new ReadBudget(new() { Names = 1000 });

        budget.BeginShare();
        budget.Spend(ReadCost.Names, 500);
        var error = Assert.Throws<ArchAzureException>(() => budget.Spend(ReadCost.Names, 1));
        Assert.Equal("CheckLimitReached", error.ErrorId);
        Assert.Contains(
            "500 names in directories and archives for one rule, 1000 names in directories and archives in all",
            error.Message,
            StringComparison.Ordinal);

        budget.BeginShare();
        budget.Spend(ReadCost.Names, 250);
        Assert.Throws<ArchAzureException>(() => budget.Spend(ReadCost.Names, 1));
        budget.BeginShare();
        budget.Spend(ReadCost.Names, 125);
        Assert.Throws<ArchAzureException>(() => budget.Spend(ReadCost.Names, 1));
        budget.Spend(ReadCost.Lookups, 1);
    }

    [Fact]
    public void What_is_refused_costs_nothing_and_what_is_left_is_no_less()
    {
        var budget = new ReadBudget(new() { Bytes = 100 });
        Assert.Throws<ArchAzureException>(() => budget.Spend(ReadCost.Bytes, long.MaxValue));
        budget.Spend(ReadCost.Bytes, 100);
        Assert.Throws<ArchAzureException>(() => budget.Spend(ReadCost.Bytes, 1));
    }

    [Fact]
    public void Time_is_shared_too()
    {
        var clock = new Clock();
        var budget = new ReadBudget(new() { Time = TimeSpan.FromSeconds(18) }, clock);

        budget.BeginShare();
        clock.Now = TimeSpan.FromSeconds(9);
        budget.CheckTime();
        clock.Now = TimeSpan.FromSeconds(10);
        Assert.Contains(
            "9 s for one rule, 18 s in all",
            Assert.Throws<ArchAzureException>(() => budget.Spend(ReadCost.Lookups, 1)).Message,
            StringComparison.Ordinal);

        budget.BeginShare();
        clock.Now = TimeSpan.FromSeconds(14);
        budget.CheckTime();
        clock.Now = TimeSpan.FromSeconds(20);
        Assert.Throws<ArchAzureException>(budget.CheckTime);

        budget.BeginShare();
        Assert.Contains("0 s for one rule", Assert.Throws<ArchAzureException>(budget.CheckTime).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Whoever_spends_can_be_cancelled()
    {
        using var source = new CancellationTokenSource();
        var budget = new ReadBudget(cancellationToken: source.Token);
        budget.Spend(ReadCost.Names, 1);
        source.Cancel();
        Assert.Throws<OperationCanceledException>(() => budget.Spend(ReadCost.Names, 1));
    }

    private sealed class Clock : TimeProvider
    {
        public TimeSpan Now { get; set; }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Now.Ticks;
    }
}
