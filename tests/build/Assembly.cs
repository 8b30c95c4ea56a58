using System.Runtime.Versioning;

// setpriv, tmpfs, debugfs: tests of the whole way run on Linux.
[assembly: SupportedOSPlatform("linux")]

// The tests share one mirror on one port, one Docker engine and its images, and the process's environment.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace ArchAzure.BuildTests;

/// <summary>One after another, with one mirror.</summary>
[CollectionDefinition(Pipeline.Name)]
public sealed class PipelineTests : ICollectionFixture<Pipeline>;
