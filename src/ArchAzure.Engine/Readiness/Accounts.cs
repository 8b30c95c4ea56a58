using System.Globalization;
using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>An account of the image.</summary>
/// <param name="Name">Its name.</param>
/// <param name="UserId">Its number.</param>
/// <param name="Home">Its home directory.</param>
/// <param name="Password">The password field in effect: a hash, empty for none needed, or something that matches no password.</param>
internal sealed record Account(string Name, uint UserId, string Home, string Password)
{
    /// <summary>Whether no password can open it. '!' before a hash and anything that no hash can be lock an account (shadow(5)).</summary>
    public bool IsLocked => Password.StartsWith('!') || Password.StartsWith('*') || Password is "x";

    /// <summary>Whether a password is set.</summary>
    public bool HasHash => !IsLocked && Password.Length > 0;
}

/// <summary>The image's accounts.</summary>
/// <remarks>Source: passwd(5), shadow(5).</remarks>
internal sealed class Accounts(IReadOnlyList<Account> all)
{
    public IReadOnlyList<Account> All { get; } = all;

    public static Accounts Read(IFileSystemView root)
    {
        if (root.ReadText("/etc/passwd") is not { } passwd)
        {
            throw DiskErrors.Unsupported("there is no /etc/passwd.");
        }

        var shadow = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var line in root.ReadLines("/etc/shadow"))
        {
            if (line.Split(':') is [var name, var password, ..])
            {
                shadow.TryAdd(name, password);
            }
        }

        var accounts = new List<Account>();
        foreach (var line in root.Lines(passwd))
        {
            if (line.Split(':') is [var name, var password, var id, _, _, var home, ..]
                && uint.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out var userId))
            {
                // Only 'x' sends to shadow; without a line there the account cannot be opened.
                accounts.Add(new(name, userId, home, password == "x" ? shadow.GetValueOrDefault(name, "x") : password));
            }
        }

        return new(accounts);
    }
}
