using Xunit.Abstractions;

[assembly: TestCollectionOrderer("ArchAzure.AzureTests.LongestFirst", "ArchAzure.AzureTests")]

namespace ArchAzure.AzureTests;

/// <summary>The classes that take longest come first, so that two at once end together.</summary>
public sealed class LongestFirst : ITestCollectionOrderer
{
    // From the shortest on.
    private static readonly string[] s_long = ["WaAgentKey", "CloudInit", "WaAgentPassword"];

    /// <inheritdoc/>
    public IEnumerable<ITestCollection> OrderTestCollections(IEnumerable<ITestCollection> testCollections) =>
        testCollections.OrderByDescending(
            collection => Array.FindIndex(s_long, name => collection.DisplayName.Contains(name, StringComparison.Ordinal)));
}
