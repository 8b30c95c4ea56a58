namespace ArchAzure.PublishTests;

/// <summary>What goes wrong with a request on its way to the storage.</summary>
public enum FaultKind
{
    /// <summary>The connection is reset before the storage has heard of it.</summary>
    Reset,

    /// <summary>The connection is reset in the middle of the request's body.</summary>
    Cut,

    /// <summary>The storage does it, but its answer is lost.</summary>
    LostAnswer,

    /// <summary>No answer ever comes.</summary>
    Stall,

    /// <summary>An answer of <see cref="StorageFault.Status"/>.</summary>
    Status,

    /// <summary>One byte of the body is another one on arrival.</summary>
    Damage,
}

/// <summary>A fault for requests of a method, or for all; it happens so many times.</summary>
internal sealed class StorageFault(FaultKind kind, string? method = null)
{
    private int _left = 1;

    public FaultKind Kind => kind;

    /// <summary>How often it happens.</summary>
    public int Times
    {
        get => _left;
        init => _left = value;
    }

    /// <summary>Requests that are let through before.</summary>
    public int After { get; set; }

    /// <summary>For <see cref="FaultKind.Status"/>.</summary>
    public int Status { get; init; } = 503;

    /// <summary>Azure's own code for it.</summary>
    public string Code { get; init; } = "ServerBusy";

    /// <summary>The header Retry-After, in seconds; null for none.</summary>
    public int? RetryAfter { get; init; }

    /// <summary>Whether it strikes this request.</summary>
    public bool Strikes(string requestMethod)
    {
        lock (this)
        {
            if (_left == 0 || (method is not null && method != requestMethod))
            {
                return false;
            }

            if (After > 0)
            {
                After--;
                return false;
            }

            _left--;
            return true;
        }
    }
}
