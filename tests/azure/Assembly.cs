using System.Runtime.Versioning;

[assembly: SupportedOSPlatform("linux")]

// One machine at a time: two emulated ones on two cores are so slow that systemd gives up on devices (seen with systemd 262).
[assembly: CollectionBehavior(DisableTestParallelization = true)]
