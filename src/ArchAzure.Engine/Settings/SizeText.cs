using System.Globalization;
using System.Text.RegularExpressions;

namespace ArchAzure.Settings;

/// <summary>Recognises a size written with a unit, so that an error can say which number to write instead.</summary>
internal static partial class SizeText
{
    /// <summary>The size in whole MiB, null where it is not a whole number of them.</summary>
    internal readonly record struct Size(long? MiB);

    /// <summary>Reads <c>30G</c>, <c>30GiB</c>, <c>30 GB</c>, <c>1.5T</c>; null when the text is not a number with a unit.</summary>
    /// <remarks>People write GB for what disks tools call GiB; both are taken as binary here, it is only a hint.</remarks>
    internal static Size? WithUnit(string text)
    {
        var match = Pattern().Match(text);
        if (!match.Success
            || !decimal.TryParse(
                match.Groups["number"].ValueSpan, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            || number > 1_000_000_000_000m)
        {
            return null;
        }

        var bytes = number * char.ToUpperInvariant(match.Groups["unit"].Value[0]) switch
        {
            'K' => 1L << 10,
            'M' => 1L << 20,
            'G' => 1L << 30,
            'T' => 1L << 40,
            'S' => 512,
            _ => 1,
        };
        var mib = bytes / (1L << 20);
        return new Size(mib == decimal.Truncate(mib) && mib <= long.MaxValue ? (long)mib : null);
    }

    [GeneratedRegex(
        @"^(?<number>[0-9]{1,12}(?:\.[0-9]{1,6})?)\s*(?<unit>[KMGT](?:i?B)?|B|bytes|s|sectors?)\z",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Pattern();
}
