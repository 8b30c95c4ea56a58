using System.Text.Json.Nodes;
using ArchAzure.Builds;
using ArchAzure.Target;

namespace ArchAzure.UnitTests.Target;

public sealed class PackageListTests
{
    private static readonly InstalledPackage s_zlib = new()
    {
        Name = "zlib", Version = "1:1.3.1-2", Architecture = "x86_64", Description = "Compression library", Url = "https://www.zlib.net/",
        Licenses = ["Zlib", "custom:none"],
    };

    private static readonly AgentProduct s_agent = new("waagent", "https://github.com/Azure/WALinuxAgent", "abc123", "2.15.0.1");

    [Fact]
    public void A_package_has_its_address_version_and_licences()
    {
        var zlib = Component(Write([s_zlib], s_agent), "zlib");

        Assert.Equal("library", (string?)zlib["type"]);
        Assert.Equal("1:1.3.1-2", (string?)zlib["version"]);
        Assert.Equal("pkg:alpm/arch/zlib@1:1.3.1-2?arch=x86_64", (string?)zlib["purl"]);
        Assert.Equal(["Zlib", "custom:none"], zlib["licenses"]!.AsArray().Select(license => (string?)license!["license"]!["name"]));
        Assert.Equal("https://www.zlib.net/", (string?)zlib["externalReferences"]![0]!["url"]);
    }

    [Fact]
    public void Special_characters_are_encoded_in_addresses() =>
        Assert.Equal(
            "pkg:alpm/arch/libsigc%2B%2B@2.12.1-1?arch=x86_64",
            (string?)Component(Write([s_zlib with { Name = "libsigc++", Version = "2.12.1-1" }], s_agent), "libsigc++")["purl"]);

    [Fact]
    public void The_agent_is_listed_with_its_commit()
    {
        var agent = Component(Write([s_zlib], s_agent), "WALinuxAgent");

        Assert.Equal("2.15.0.1", (string?)agent["version"]);
        Assert.Equal("commit abc123", (string?)agent["externalReferences"]![0]!["comment"]);
    }

    [Fact]
    public void A_folder_of_the_building_machine_is_not_told() =>
        Assert.DoesNotContain(
            "/home/me",
            PackageList.Write("2026.11.01", [s_zlib], s_agent with { Source = "/home/me/WALinuxAgent", Commit = null }),
            StringComparison.Ordinal);

    [Fact]
    public void It_is_a_CycloneDX_document_of_the_image_and_every_reference_is_its_own()
    {
        var document = Write([s_zlib, s_zlib with { Name = "acl", Version = "2.3.2-1" }], s_agent);

        Assert.Equal("CycloneDX", (string?)document["bomFormat"]);
        Assert.Equal("1.6", (string?)document["specVersion"]);
        Assert.Equal("2026.11.01", (string?)document["metadata"]!["component"]!["version"]);
        var references = document["components"]!.AsArray().Select(component => (string)component!["bom-ref"]!).ToList();
        Assert.Equal(3, references.Distinct(StringComparer.Ordinal).Count());
    }

    private static JsonNode Write(IEnumerable<InstalledPackage> packages, AgentProduct agent) =>
        JsonNode.Parse(PackageList.Write("2026.11.01", packages, agent))!;

    private static JsonNode Component(JsonNode document, string name) =>
        document["components"]!.AsArray().Single(component => (string?)component!["name"] == name)!;
}
