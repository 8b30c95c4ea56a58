using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace ArchAzure.Target;

/// <summary>
/// The list of what an image is made of, as CycloneDX 1.6 JSON. Equal images have equal lists: it holds no time and no random number.
/// </summary>
/// <remarks>
/// Schema: https://cyclonedx.org/docs/1.6/json/; package addresses: https://github.com/package-url/purl-spec, type <c>alpm</c>.
/// </remarks>
internal static class PackageList
{
    // The file is read by programs and people, never put into a web page.
    private static readonly JsonSerializerOptions s_json = new()
    {
        WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Writes the list of an image.</summary>
    /// <param name="version">The Arch release's version.</param>
    /// <param name="packages">The packages in it.</param>
    /// <param name="agent">The Azure agent, which no package brings.</param>
    public static string Write(string version, IEnumerable<InstalledPackage> packages, AgentProduct agent) => new JsonObject
    {
        ["$schema"] = "http://cyclonedx.org/schema/bom-1.6.schema.json",
        ["bomFormat"] = "CycloneDX",
        ["specVersion"] = "1.6",
        ["version"] = 1,
        ["metadata"] = new JsonObject
        {
            ["tools"] = new JsonObject
            {
                ["components"] = new JsonArray(
                    Component("application", "ArchAzure", typeof(PackageList).Assembly.GetName().Version!.ToString(3))),
            },
            ["component"] = Component("operating-system", "ArchLinux", version, reference: "image"),
        },
        ["components"] = new JsonArray([.. packages.Select(OfPackage), OfAgent(agent)]),
    }.ToJsonString(s_json) + "\n";

    private static JsonObject OfPackage(InstalledPackage package)
    {
        var architecture = package.Architecture is { } name ? $"?arch={Encode(name)}" : "";
        var purl = $"pkg:alpm/arch/{Encode(package.Name.ToLowerInvariant())}@{Encode(package.Version)}{architecture}";
        var component = Component("library", package.Name, package.Version, reference: purl);
        if (package.Packager is { } packager)
        {
            component["publisher"] = packager;
        }

        if (package.Description is { } description)
        {
            component["description"] = description;
        }

        if (package.Licenses.Count > 0)
        {
            // As names: an id must be one of the schema's own list, and pacman's packages are not held to it.
            component["licenses"] = new JsonArray(
                [.. package.Licenses.Select(license => new JsonObject { ["license"] = new JsonObject { ["name"] = license } })]);
        }

        component["purl"] = purl;
        if (Uri.TryCreate(package.Url, UriKind.Absolute, out var url))
        {
            component["externalReferences"] = Reference("website", url);
        }

        return component;
    }

    private static JsonObject OfAgent(AgentProduct agent)
    {
        var component = Component("application", "WALinuxAgent", agent.AgentVersion, reference: "WALinuxAgent");

        // A folder or archive of the machine that built the image says nothing to others.
        if (Uri.TryCreate(agent.Source, UriKind.Absolute, out var source) && source.Scheme == Uri.UriSchemeHttps)
        {
            component["externalReferences"] = Reference("vcs", source, agent.Commit is { } commit ? $"commit {commit}" : null);
        }

        return component;
    }

    private static JsonObject Component(string type, string name, string version, string? reference = null)
    {
        var component = new JsonObject { ["type"] = type };
        if (reference is not null)
        {
            component["bom-ref"] = reference;
        }

        component["name"] = name;
        component["version"] = version;
        return component;
    }

    private static JsonArray Reference(string type, Uri url, string? comment = null)
    {
        var reference = new JsonObject { ["type"] = type, ["url"] = url.AbsoluteUri };
        if (comment is not null)
        {
            reference["comment"] = comment;
        }

        return new JsonArray(reference);
    }

    /// <summary>Percent-encoding as package addresses have it: the colon of an epoch stays.</summary>
    private static string Encode(string text) => Uri.EscapeDataString(text).Replace("%3A", ":", StringComparison.Ordinal);
}
