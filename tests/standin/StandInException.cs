namespace ArchAzure.StandIn;

/// <summary>The mirror cannot be made or served; the message names the thing, the reason and the remedy.</summary>
public class StandInException : Exception
{
    /// <inheritdoc cref="StandInException"/>
    public StandInException(string message)
        : base(message)
    {
    }
}

/// <summary>Another program has the port.</summary>
public sealed class PortTakenException : StandInException
{
    /// <inheritdoc cref="StandInException(string)"/>
    public PortTakenException(string message)
        : base(message)
    {
    }
}
