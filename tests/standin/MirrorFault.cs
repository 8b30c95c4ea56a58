namespace ArchAzure.StandIn;

/// <summary>What <see cref="MirrorServer"/> does wrong on purpose.</summary>
public enum MirrorFaultKind
{
    /// <summary>The body stops after <see cref="MirrorFault.AfterBytes"/>; the connection stays open until the client leaves.</summary>
    Stall,

    /// <summary>The connection is reset (RST) after <see cref="MirrorFault.AfterBytes"/>.</summary>
    Reset,

    /// <summary>The connection is closed in good order after <see cref="MirrorFault.AfterBytes"/>, short of the announced length.</summary>
    Truncated,

    /// <summary>The size is right and every byte from <see cref="MirrorFault.AfterBytes"/> on is inverted.</summary>
    Corrupt,

    /// <summary>Status 404.</summary>
    NotFound,

    /// <summary>Status 503.</summary>
    Unavailable,
}

/// <summary>One fault. The first one that is not used up and whose pattern matches a request's path applies to it.</summary>
/// <param name="PathPattern">Of the path with its leading slash; '*' is any text, '?' any one character.</param>
/// <param name="Kind">What goes wrong.</param>
public sealed record MirrorFault(string PathPattern, MirrorFaultKind Kind)
{
    /// <summary>Offset in the file, in bytes (not in the answer: a resumed download goes on past it).</summary>
    public long AfterBytes { get; init; }

    /// <summary>How many requests it applies to.</summary>
    public int Times { get; init; } = int.MaxValue;
}

/// <summary>A request that the server has answered, or begun to answer.</summary>
/// <param name="Method"><c>GET</c> or <c>HEAD</c>.</param>
/// <param name="Path">The path, decoded, with its leading slash.</param>
/// <param name="Range">The <c>Range</c> header, or null.</param>
/// <param name="Status">The status sent.</param>
/// <param name="BytesSent">Bytes of the body handed to the network.</param>
/// <param name="Fault">The fault that was applied, or null.</param>
public sealed record MirrorRequest(string Method, string Path, string? Range, int Status, long BytesSent, MirrorFaultKind? Fault);
