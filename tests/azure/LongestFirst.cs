using Xunit.Abstractions;

[assembly: TestCollectionOrderer("ArchAzure.AzureTests.LongestFirst", "ArchAzure.AzureTests")]

namespace ArchAzure.AzureTests;

/// <summary>The boots that take longest come first, so that two at once end together.</summary>
public sealed class LongestFirst : ITestCollectionOrderer
{
    /// <inheritdoc/>
    public IEnumerable<ITestCollection> OrderTestCollections(IEnumerable<ITestCollection> testCollections) =>
        testCollections.OrderByDescending(collection => collection.DisplayName.Contains("WaAgent", StringComparison.Ordinal) || collection.DisplayName.Contains("CloudInit", StringComparison.Ordinal));
}
