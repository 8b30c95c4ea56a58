using System.Runtime.Versioning;

[assembly: SupportedOSPlatform("linux")]

// Each waits often and long for its guest's timers.
[assembly: CollectionBehavior(MaxParallelThreads = 2)]
