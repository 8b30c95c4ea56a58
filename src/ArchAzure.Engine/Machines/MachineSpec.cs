using System.Globalization;
using ArchAzure.Containers;
using Docker.DotNet.Models;

namespace ArchAzure.Machines;

/// <summary>
/// What the container of a virtual machine gets, and nothing else: two bind mounts, the user's own identity, no capability, no
/// network, no way to gain privileges, a root that cannot be written.
/// </summary>
internal sealed record MachineSpec
{
    /// <summary>Where the container sees the VHD.</summary>
    public const string VhdPath = "/machine/disk.vhd";

    /// <summary>Where it sees the run's directory. Short: a unix socket's path holds 107 bytes.</summary>
    public const string RunPath = "/machine/run";

    private const string KvmDevice = "/dev/kvm";

    /// <summary>The image to run.</summary>
    public required string Image { get; init; }

    /// <summary>The build whose image it is.</summary>
    public required Guid BuildId { get; init; }

    /// <summary>The VHD on the host; the container may only read it.</summary>
    public required string Vhd { get; init; }

    /// <summary>The directory of the machine's sockets and overlay on the host.</summary>
    public required string RunDirectory { get; init; }

    /// <summary>
    /// The user and group it runs as: the caller's; or root's, where the engine is the caller's own and root in it is he.
    /// </summary>
    public required (uint User, uint Group) Owner { get; init; }

    /// <summary>The user's further groups; one of them may be what opens the VHD or /dev/kvm. A rootless engine knows none.</summary>
    public IReadOnlyList<uint> Groups { get; init; } = [];

    /// <summary>Whether it gets /dev/kvm.</summary>
    public bool Kvm { get; init; }

    /// <summary>Whether /dev/kvm is open to everyone, also to one without groups.</summary>
    internal static bool IsKvmForAll() =>
        !OperatingSystem.IsWindows() && File.GetUnixFileMode(KvmDevice).HasFlag(UnixFileMode.OtherRead | UnixFileMode.OtherWrite);

    internal CreateContainerParameters Parameters() => new()
    {
        Image = Image,
        Hostname = "machine",
        Labels = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            [DockerEngine.BuildLabel] = BuildId.ToString(),
            [DockerEngine.MachineLabel] = BuildId.ToString(),
        },
        User = string.Create(CultureInfo.InvariantCulture, $"{Owner.User}:{Owner.Group}"),
        Env = ["PATH=/usr/bin", "LANG=C.UTF-8", "HOME=/tmp"],
        HostConfig = new HostConfig
        {
            NetworkMode = "none",
            CapDrop = ["ALL"],
            SecurityOpt = ["no-new-privileges"],
            GroupAdd = [.. Groups.Select(group => group.ToString(CultureInfo.InvariantCulture))],
            ReadonlyRootfs = true,
            Tmpfs = new Dictionary<string, string>(StringComparer.Ordinal) { ["/tmp"] = "" },
            Devices = Kvm ? [new DeviceMapping { PathOnHost = KvmDevice, PathInContainer = KvmDevice, CgroupPermissions = "rw" }] : [],
            Mounts = LifelineContainer.Mounts([new(Vhd, VhdPath, ReadOnly: true), new(RunDirectory, RunPath)]),
        },
    };
}
