using System.Runtime.Versioning;

[assembly: SupportedOSPlatform("linux")]

// As many as there are places for machines: see MachineTurn.
[assembly: CollectionBehavior(MaxParallelThreads = 2)]

namespace ArchAzure.AzureTests;

/// <summary>One after another, with one mirror.</summary>
[CollectionDefinition(Pipeline.Name)]
public sealed class PipelineTests : ICollectionFixture<Pipeline>;
