namespace ArchAzure.Target;

/// <summary>A package as pacman's local database describes it.</summary>
internal sealed record InstalledPackage
{
    public required string Name { get; init; }

    /// <summary>Its full version: <c>[epoch:]version-release</c>.</summary>
    public required string Version { get; init; }

    /// <summary>What it was built for, <c>x86_64</c> or <c>any</c>; null where the database does not say.</summary>
    public string? Architecture { get; init; }

    /// <summary>One line on what it is.</summary>
    public string? Description { get; init; }

    /// <summary>The upstream project's address.</summary>
    public string? Url { get; init; }

    /// <summary>Who built it.</summary>
    public string? Packager { get; init; }

    /// <summary>Its licences, mostly by their SPDX identifiers.</summary>
    public IReadOnlyList<string> Licenses { get; init; } = [];

    /// <summary>The fields of <c>desc</c> that are read.</summary>
    public static IReadOnlyList<string> Fields { get; } = ["NAME", "VERSION", "ARCH", "DESC", "URL", "PACKAGER", "LICENSE"];

    /// <summary>Reads <c>desc</c> files of <c>/var/lib/pacman/local</c>, one after the other in one text.</summary>
    /// <remarks>
    /// libalpm, <c>lib/libalpm/be_local.c</c>: a line <c>%FIELD%</c>, its values a line each, an empty line. libalpm writes
    /// <c>%NAME%</c> first, so that each of them begins a package.
    /// </remarks>
    /// <returns>The packages by name.</returns>
    /// <exception cref="ArchAzureException"><c>PackageDatabaseDamaged</c>.</exception>
    public static IReadOnlyList<InstalledPackage> Parse(string text)
    {
        List<Dictionary<string, List<string>>> packages = [];
        List<string>? values = null;
        foreach (var line in text.Split('\n'))
        {
            if (line.Length == 0)
            {
                values = null;
            }
            else if (values is not null)
            {
                values.Add(line);
            }
            else if (line is not ['%', _, .., '%'])
            {
                throw Damaged($"'{line}' stands where a field's name should");
            }
            else
            {
                if (line == "%NAME%")
                {
                    packages.Add(new(StringComparer.Ordinal));
                }

                values = [];
                if (packages.Count == 0 || !packages[^1].TryAdd(line, values))
                {
                    throw Damaged($"{line} is not where it should be");
                }
            }
        }

        return packages.Count > 0
            ? [.. packages.Select(FromFields).OrderBy(package => package.Name, StringComparer.Ordinal)]
            : throw Damaged("it holds no package");
    }

    private static InstalledPackage FromFields(Dictionary<string, List<string>> fields)
    {
        return new InstalledPackage
        {
            Name = First("%NAME%") ?? throw Damaged("a package has no name"),
            Version = First("%VERSION%") ?? throw Damaged($"{First("%NAME%")} has no version"),
            Architecture = First("%ARCH%"),
            Description = First("%DESC%"),
            Url = First("%URL%"),
            Packager = First("%PACKAGER%"),
            Licenses = fields.GetValueOrDefault("%LICENSE%") ?? [],
        };

        string? First(string field) => fields.GetValueOrDefault(field)?.FirstOrDefault();
    }

    private static ArchAzureException Damaged(string reason) =>
        new(
            "PackageDatabaseDamaged",
            ErrorKind.InvalidData,
            $"The target's package database /var/lib/pacman/local cannot be read: {reason}. Make the target again: "
            + "Install-ArchBase -Force.");
}
