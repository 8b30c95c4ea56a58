namespace ArchAzure.Readiness;

/// <summary>Compares versions, and names that hold them, as people read them: 6.10 is newer than 6.9.</summary>
internal static class Versions
{
    /// <summary>Negative if the first is older.</summary>
    public static int Compare(string first, string second)
    {
        for (int i = 0, j = 0; ;)
        {
            if (i == first.Length || j == second.Length)
            {
                return (first.Length - i).CompareTo(second.Length - j);
            }

            var order = char.IsAsciiDigit(first[i]) && char.IsAsciiDigit(second[j])
                ? CompareNumbers(Number(first, ref i), Number(second, ref j))
                : first[i++].CompareTo(second[j++]);
            if (order != 0)
            {
                return order;
            }
        }
    }

    private static int CompareNumbers(string first, string second) =>
        first.Length != second.Length ? first.Length.CompareTo(second.Length) : string.CompareOrdinal(first, second);

    /// <summary>The digits from a place on, without zeros before them; the place is then behind them.</summary>
    private static string Number(string text, ref int at)
    {
        var start = at;
        while (at < text.Length && char.IsAsciiDigit(text[at]))
        {
            at++;
        }

        return text[start..at].TrimStart('0');
    }
}
