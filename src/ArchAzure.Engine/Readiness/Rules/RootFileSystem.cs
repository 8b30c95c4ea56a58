using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// The root is a file system, not an encrypted volume: nobody can type a passphrase when Azure provisions. What else of the image is
/// looked at lies in it.
/// </summary>
internal sealed class RootFileSystem : ReadinessRule
{
    public override string Wanted => "a root file system that is not encrypted";

    public override string Source => Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk)
    {
        // Where it is the only one that it could be, it is said to be wrong.
        if (disk.RootCandidates() is [var only] && disk.Identify(only) is var identity)
        {
            var found = $"{identity.Name} on partition {only.Number}, UUID {identity.Uuid ?? "unknown"}";
            switch (identity.Kind)
            {
                case FileSystemKind.Luks:
                    return Fail(found, "Leave the image unencrypted; Azure encrypts disks itself (server-side, or encryption at host).");
                case FileSystemKind.Swap or FileSystemKind.Raid:
                    return Fail(found, "Make a file system on the root partition.");
                default:
                    break;
            }
        }

        var root = disk.RootTree;
        return Pass($"{root.FileSystem.Identity.Name}, {root.Name}, UUID {root.FileSystem.Identity.Uuid ?? "unknown"}");
    }
}
