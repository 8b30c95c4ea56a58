namespace ArchAzure.StandIn;

/// <summary>The mirror cannot be made or served; the message names the thing, the reason and the remedy.</summary>
public sealed class StandInException : Exception
{
    /// <inheritdoc cref="StandInException"/>
    public StandInException(string message)
        : base(message)
    {
    }
}
