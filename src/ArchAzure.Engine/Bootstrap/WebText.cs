using System.Text;

namespace ArchAzure.Bootstrap;

/// <summary>How addresses and text from elsewhere are shown in messages.</summary>
internal static class WebText
{
    /// <summary>An address without its user name and password.</summary>
    public static string Show(Uri uri) => uri.IsAbsoluteUri && uri.UserInfo.Length > 0
        ? new UriBuilder(uri) { UserName = "", Password = "" }.Uri.AbsoluteUri.Replace("://", "://***@", StringComparison.Ordinal)
        : uri.ToString();

    /// <summary>Foreign text cut to a line's length, control characters replaced, so that it cannot write to a terminal.</summary>
    public static string Plain(string text)
    {
        var result = new StringBuilder();
        foreach (var c in text.Length > 120 ? text.AsSpan(0, 120) : text)
        {
            result.Append(char.IsControl(c) ? '?' : c);
        }

        return text.Length > 120 ? result.Append("...").ToString() : result.ToString();
    }

    /// <summary>A number of bytes for people.</summary>
    public static string Size(long bytes) => bytes switch
    {
        < 1024 => $"{bytes} bytes",
        < 1 << 20 => $"{bytes / 1024.0:0.0} KiB",
        < 1 << 30 => $"{bytes / (double)(1 << 20):0.0} MiB",
        _ => $"{bytes / (double)(1 << 30):0.00} GiB",
    };
}
