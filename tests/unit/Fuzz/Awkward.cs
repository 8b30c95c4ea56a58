using CsCheck;

namespace ArchAzure.UnitTests.Fuzz;

/// <summary>Names and paths that break what is careless: spaces, quotes, shell syntax, options, line breaks, other scripts.</summary>
internal static class Awkward
{
    private static readonly string[] s_pieces =
    [
        " ", "\t", "'", "\"", "`", "`id`", "$(id)", "$HOME", "${x}", "\\", "\\n", "\n", "\r", "\0", "\u001b[2J", ";", "|", "&&", ">", "<",
        "(", ")", "*", "?", "[a]", "{b}", "~", "!", "#", "%", "%s", "%00",
        "-", "--", "--root=/", "-Rns", "=", ",", ":", "@", "+", "..", ".", "/", "//",
        "é", "ß", "日本", "Ω", "\u00a0", "\u2028", "\u202e",
        "\ud83d\ude00", "a", "vim", "linux", "etc", "0", "9",
    ];

    /// <summary>Texts with several of them.</summary>
    public static Gen<string> Text { get; } = Gen.Int[0, s_pieces.Length - 1].Array[0, 6]
        .Select(picks => string.Concat(picks.Select(i => s_pieces[i])));
}
