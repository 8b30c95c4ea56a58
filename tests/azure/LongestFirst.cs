using Xunit.Abstractions;

[assembly: TestCollectionOrderer("ArchAzure.AzureTests.LongestFirst", "ArchAzure.AzureTests")]

namespace ArchAzure.AzureTests;

/// <summary>The classes that take longest come first, so that two at once end together.</summary>
public sealed class LongestFirst : ITestCollectionOrderer
{
    private static readonly string[] s_longest = ["WaAgentPassword", "CloudInit", "WaAgentKey"];

    /// <inheritdoc/>
    public IEnumerable<ITestCollection> OrderTestCollections(IEnumerable<ITestCollection> testCollections) =>
        testCollections.OrderByDescending(collection => s_longest.Length - Array.FindIndex(s_longest, name => collection.DisplayName.Contains(name, StringComparison.Ordinal)) is var place && place > s_longest.Length ? 0 : place);
}
