namespace ArchAzure.PublishTests;

/// <summary>A test with a small VHD and a Resource Manager of its own.</summary>
public abstract class ResourceManagerTest(Azurite azurite) : IClassFixture<Azurite>, IAsyncLifetime, IDisposable
{
    private protected Azurite Azurite { get; } = azurite;

    private protected RecordingReporter Reporter { get; } = new();

    private protected TestVhd Vhd { get; } = new();

    private protected SimulatedResourceManager Azure { get; private set; } = null!;

    public async Task InitializeAsync() => Azure = await SimulatedResourceManager.StartAsync(Azurite);

    public Task DisposeAsync() => Azure.DisposeAsync().AsTask();

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
        Azurite.Proxy.Faults.Clear();
        Azurite.Proxy.OnWritten = null;
        Vhd.Dispose();
    }
}
