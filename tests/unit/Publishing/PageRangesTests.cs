using ArchAzure.IO;
using ArchAzure.Publishing;
using CsCheck;

namespace ArchAzure.UnitTests.Publishing;

public sealed class PageRangesTests
{
    private const int Size = 64;

    /// <summary>Runs in order and apart, within 64 bytes, as a set of bytes and as a list.</summary>
    private static readonly Gen<List<DataExtent>> s_runs = Gen.Bool.Array[Size].Select(Runs);

    [Fact]
    public void What_is_outside_of_known_runs() =>
        Gen.Select(s_runs, s_runs).Sample(
            (known, ranges) => Bytes(PageUpload.Outside(known, ranges)).SetEquals(Bytes(ranges).Except(Bytes(known))));

    [Fact]
    public void A_run_is_covered_if_all_of_it_is_in_the_ranges() =>
        Gen.Select(s_runs, Gen.Int[0, Size - 1], Gen.Int[1, 9]).Sample(
            (ranges, offset, length) =>
                PageUpload.Covers(ranges, new DataExtent(offset, length))
                == Bytes([new DataExtent(offset, length)]).IsSubsetOf(Bytes(ranges)));

    private static List<DataExtent> Runs(bool[] bytes)
    {
        List<DataExtent> runs = [];
        for (var i = 0; i < bytes.Length; i++)
        {
            if (bytes[i])
            {
                var start = i;
                while (i < bytes.Length && bytes[i])
                {
                    i++;
                }

                runs.Add(new DataExtent(start, i - start));
            }
        }

        return runs;
    }

    private static HashSet<long> Bytes(IEnumerable<DataExtent> runs) =>
        [.. runs.SelectMany(run => Enumerable.Range((int)run.Offset, (int)run.Length).Select(i => (long)i))];
}
