namespace ArchAzure.PublishTests;

/// <summary>What Azure Resource Manager answers instead, to requests of a method whose path ends so.</summary>
internal sealed class ArmFault(string method, string pathEnd, int status, string code, string message)
{
    private int _left = 1;

    public int Status => status;

    public string Code => code;

    public string Message => message;

    /// <summary>How often it happens.</summary>
    public int Times
    {
        get => _left;
        init => _left = value;
    }

    /// <summary>The header Retry-After, in seconds; null for none.</summary>
    public int? RetryAfter { get; init; }

    /// <summary>Whether the request is accepted, and what it began fails later on.</summary>
    public bool IsLate { get; init; }

    /// <summary>Whether it strikes this request.</summary>
    public bool Strikes(string requestMethod, string path, bool isLate)
    {
        lock (this)
        {
            if (_left == 0 || isLate != IsLate || method != requestMethod || !path.EndsWith(pathEnd, StringComparison.OrdinalIgnoreCase))
            {
                return false;
            }

            _left--;
            return true;
        }
    }
}
