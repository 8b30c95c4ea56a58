using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>
/// pacman's keyring holds a secret master key that any machine of the image could sign packages with for all others; it is made at
/// first boot.
/// </summary>
internal sealed class NoPacmanKeyring : ReadinessRule
{
    private const string Keyring = "/etc/pacman.d/gnupg";

    // GnuPG's settings hold no keys.
    private static readonly string[] s_settings = ["gpg.conf", "gpg-agent.conf", "dirmngr.conf"];

    public override string Wanted => $"no keys in {Keyring}";

    public override string Source => "pacman-key(8); archlinux/arch-boxes";

    public override Finding Check(CheckedDisk disk) => PassIfNone(
        [.. FileTree.Files(disk.Root, Keyring)
            .Where(
                file => file.Status.Type == FileType.File
                    && !s_settings.Contains(file.Path[(file.Path.LastIndexOf('/') + 1)..], StringComparer.Ordinal))
            .Select(file => file.Path)],
        "none",
        $"Remove {Keyring} and make it at first boot: pacman-key --init, pacman-key --populate.");
}
