using System.Runtime.Versioning;

[assembly: SupportedOSPlatform("linux")]

// A machine without KVM takes both cores.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
