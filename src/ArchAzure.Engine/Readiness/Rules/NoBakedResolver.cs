using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>No name server of the network that the image was made in.</summary>
internal sealed class NoBakedResolver : ReadinessRule
{
    private const string Resolver = "/etc/resolv.conf";

    public override string Wanted => $"{Resolver} a link to systemd-resolved's, or no name server in it";

    public override string Source => "systemd-resolved.service(8); " + Sources.AzureLinuxImage;

    public override Finding Check(CheckedDisk disk)
    {
        const string Remedy = $"Make it a link: ln -sf ../run/systemd/resolve/stub-resolv.conf {Resolver}.";
        switch (disk.Root.GetStatus(Resolver, followLinks: false))
        {
            case null:
                return Pass("absent");
            case { Type: FileType.SymbolicLink, LinkTarget: var target } when target!.TrimStart('.', '/')
                .StartsWith("run/", StringComparison.Ordinal):
                // What lies in /run is made at every boot.
                return Pass($"a link to {target}");
            default:
                var server = disk.Root.ReadLines(Resolver)
                    .FirstOrDefault(
                        line =>
                            line.TrimStart().StartsWith("nameserver", StringComparison.Ordinal)
                                && !line.Contains("127.0.0.53", StringComparison.Ordinal));
                return server is null ? Pass("no name server in it") : Fail(server.Trim(), Remedy);
        }
    }
}
