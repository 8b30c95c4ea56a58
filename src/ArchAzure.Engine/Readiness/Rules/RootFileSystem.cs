using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>The root is a file system, not an encrypted volume: nobody can type a passphrase when Azure provisions.</summary>
internal sealed class RootFileSystem : ReadinessRule
{
    public override string Wanted => "a root file system that is not encrypted";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk)
    {
        var identity = disk.Identify(disk.RootPartition);
        var found = $"{identity.Name} on partition {disk.RootPartition.Number}, UUID {identity.Uuid ?? "unknown"}";
        switch (identity.Kind)
        {
            case FileSystemKind.Luks:
                return Fail(found, "Leave the image unencrypted; Azure encrypts disks itself (server-side, or encryption at host).");
            case FileSystemKind.Swap or FileSystemKind.Raid:
                return Fail(found, "Make a file system on the root partition.");
            default:
                return disk.Root.DirectoryExists("/etc")
                    ? Pass(found)
                    : Fail($"{found}, without /etc", "Write the system into the root partition.");
        }
    }
}
