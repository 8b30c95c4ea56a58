using System.Runtime.Versioning;

[assembly: SupportedOSPlatform("linux")]

// Boots wait a lot: for the guest's agents, for sessions to be idle. More at once would take too long each, since a machine without KVM takes a core.
[assembly: CollectionBehavior(MaxParallelThreads = 2)]
