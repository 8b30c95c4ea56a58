namespace ArchAzure.AzureTests;

/// <summary>
/// Leave to run a machine: two at once, but one while other suites run beside these tests, for which test.sh keeps a file.
/// </summary>
internal sealed class MachineTurn : IDisposable
{
    private static readonly SemaphoreSlim[] s_places = [new(1), new(1)];
    private static readonly string? s_busy = Environment.GetEnvironmentVariable("ARCHAZURE_BUSY_FILE");

    private readonly SemaphoreSlim _place;

    private MachineTurn(SemaphoreSlim place) => _place = place;

    /// <summary>Waits for its turn, which ends with what it returns.</summary>
    public static async Task<MachineTurn> TakeAsync()
    {
        while (true)
        {
            if (s_places.Take(File.Exists(s_busy) ? 1 : 2).FirstOrDefault(place => place.Wait(0)) is { } taken)
            {
                return new MachineTurn(taken);
            }

            await Task.Delay(TimeSpan.FromSeconds(1));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _place.Release();
}
