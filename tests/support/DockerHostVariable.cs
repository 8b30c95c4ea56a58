namespace ArchAzure.TestSupport;

/// <summary>Names the engine to the product for a while. It holds for the whole process: no other test may run meanwhile.</summary>
internal sealed class DockerHostVariable : IDisposable
{
    private const string Name = "DOCKER_HOST";
    private readonly string? _before = Environment.GetEnvironmentVariable(Name);

    /// <param name="host">The engine's address; null for the usual one.</param>
    public DockerHostVariable(string? host) => Environment.SetEnvironmentVariable(Name, host ?? _before);

    public void Dispose() => Environment.SetEnvironmentVariable(Name, _before);
}
