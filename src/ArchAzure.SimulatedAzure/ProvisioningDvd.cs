namespace ArchAzure.SimulatedAzure;

/// <summary>The DVD that Azure puts into a new machine: a UDF file system with <c>ovf-env.xml</c>.</summary>
public static class ProvisioningDvd
{
    // Azure's DVD holds the agent's package beside ovf-env.xml; no agent reads it any more, so it is left out.
    private const string VolumeIdentifier = "rd_rdfe_stable";

    /// <summary>The image's bytes.</summary>
    /// <param name="environment">What the machine is told.</param>
    /// <param name="time">The recording time.</param>
    public static byte[] Create(OvfEnvironment environment, DateTimeOffset time)
    {
        ArgumentNullException.ThrowIfNull(environment);
        return UdfImage.Create(VolumeIdentifier, [new UdfFile(OvfEnvironment.FileName, environment.ToXml())], time);
    }
}
