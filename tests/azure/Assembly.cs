using System.Runtime.Versioning;

[assembly: SupportedOSPlatform("linux")]

// As many as there are places for machines: see MachineTurn.
[assembly: CollectionBehavior(MaxParallelThreads = 2)]
