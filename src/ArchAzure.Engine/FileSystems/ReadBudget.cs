namespace ArchAzure.FileSystems;

/// <summary>What reading an image costs, time aside.</summary>
internal enum ReadCost
{
    /// <summary>Bytes read from the disk, and bytes that compressed ones unpack to.</summary>
    Bytes,

    /// <summary>Bytes of memory for texts, names and paths, about what they take once they are parsed.</summary>
    Memory,

    /// <summary>Names in directories and archives.</summary>
    Names,

    /// <summary>Steps along paths, one for each name in a path.</summary>
    Lookups,

    /// <summary>Names that match a pattern.</summary>
    Matches,
}

/// <summary>
/// The most that one check of an image may cost. What an honest image asks for: Arch's largest initramfs (the fallback one with all
/// firmware) has 100 MB and unpacks to 300 MB with some 8,000 files; modules.dep has 1 MiB in 6,500 lines; the directories that rules
/// list have some 10,000 names together. A desktop has 200,000 files, but no rule looks at all of them. One rule may use half of what
/// is left; half of each limit is at least twice what the costliest rule, which unpacks the initramfs, needs of it.
/// </summary>
internal sealed record ReadLimits
{
    /// <summary>Bytes.</summary>
    public long Bytes { get; init; } = 2L << 30;

    /// <summary>
    /// Bytes. What is garbage by then, the decoder's window of 128 MiB at most and the readers' caches come on top: 256 MiB in all.
    /// </summary>
    public long Memory { get; init; } = 96L << 20;

    /// <summary>A count.</summary>
    public long Names { get; init; } = 500_000;

    /// <summary>A count.</summary>
    public long Lookups { get; init; } = 1_000_000;

    /// <summary>A count.</summary>
    public long Matches { get; init; } = 100_000;

    /// <summary>The whole check. The largest initramfs takes a second of it; the rest is for slow disks and busy machines.</summary>
    public TimeSpan Time { get; init; } = TimeSpan.FromSeconds(18);
}

/// <summary>
/// What one check may still cost. All readers and parsers of the check spend from the same object, before they allocate or read;
/// it also carries the user's cancellation, since whoever spends is at a place where the work can end.
/// Not safe for use by several threads at once.
/// </summary>
internal sealed class ReadBudget
{
    private readonly ReadLimits _limits;
    private readonly CancellationToken _cancellationToken;
    private readonly TimeProvider _clock;
    private readonly long _start;

    // By ReadCost: what is left, and what the present rule must leave to the others.
    private readonly long[] _left;
    private readonly long[] _floor;
    private readonly long[] _share;
    private TimeSpan _shareOfTime;
    private TimeSpan _end;

    /// <summary>Creates an untouched budget; time counts from now.</summary>
    /// <param name="limits">The limits; null for the usual ones.</param>
    /// <param name="clock">What tells the time; null for the system's.</param>
    /// <param name="cancellationToken">Ends the work with <see cref="OperationCanceledException"/> at the next spending.</param>
    public ReadBudget(ReadLimits? limits = null, TimeProvider? clock = null, CancellationToken cancellationToken = default)
    {
        _limits = limits ?? new ReadLimits();
        _cancellationToken = cancellationToken;
        _clock = clock ?? TimeProvider.System;
        _start = _clock.GetTimestamp();
        _left = [_limits.Bytes, _limits.Memory, _limits.Names, _limits.Lookups, _limits.Matches];
        _floor = new long[_left.Length];
        _share = [.. _left];
        _end = _shareOfTime = _limits.Time;
    }

    /// <summary>
    /// Begins a new share, for one rule: half of what is left of everything. So whatever a rule wastes, there is always something
    /// left for those behind it, and most need next to nothing.
    /// </summary>
    public void BeginShare()
    {
        for (var cost = 0; cost < _left.Length; cost++)
        {
            _floor[cost] = _left[cost] / 2;
            _share[cost] = _left[cost] - _floor[cost];
        }

        var elapsed = _clock.GetElapsedTime(_start);
        _shareOfTime = (_limits.Time - elapsed) / 2;
        _end = elapsed + _shareOfTime;
    }

    /// <summary>Pays for something that is about to be read or kept.</summary>
    /// <exception cref="ArchAzureException"><c>CheckLimitReached</c>: it is more than what is left, or the time is up.</exception>
    public void Spend(ReadCost cost, long amount)
    {
        CheckTime();
        if (_left[(int)cost] - amount < _floor[(int)cost])
        {
            throw LimitReached(Text(cost, _share[(int)cost]), Text(cost, Limit(cost)));
        }

        _left[(int)cost] -= amount;
    }

    /// <summary>To be called where work goes on for long without costing anything else.</summary>
    /// <exception cref="ArchAzureException"><c>CheckLimitReached</c>: the time is up.</exception>
    public void CheckTime()
    {
        _cancellationToken.ThrowIfCancellationRequested();
        if (_clock.GetElapsedTime(_start) > _end)
        {
            throw LimitReached($"{Math.Max(_shareOfTime.TotalSeconds, 0):0.#} s", $"{_limits.Time.TotalSeconds:0.#} s");
        }
    }

    private long Limit(ReadCost cost) => cost switch
    {
        ReadCost.Bytes => _limits.Bytes,
        ReadCost.Memory => _limits.Memory,
        ReadCost.Names => _limits.Names,
        ReadCost.Lookups => _limits.Lookups,
        _ => _limits.Matches,
    };

    private static string Text(ReadCost cost, long amount) => cost switch
    {
        ReadCost.Bytes => $"{amount >> 20} MiB read and unpacked",
        ReadCost.Memory => $"{amount >> 20} MiB of texts and names",
        ReadCost.Names => $"{amount} names in directories and archives",
        ReadCost.Lookups => $"{amount} steps along paths",
        _ => $"{amount} matches of patterns",
    };

    private static ArchAzureException LimitReached(string share, string limit) =>
        new(
            "CheckLimitReached",
            ErrorKind.InvalidData,
            $"The image cannot be looked into: the check stops after {share} for one rule, {limit} in all. Check it by hand.");
}
