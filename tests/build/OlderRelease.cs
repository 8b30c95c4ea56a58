namespace ArchAzure.BuildTests;

/// <summary>
/// The older release, whose images tests make and remove as they need it: no other test uses them. One run of the tests at a time has it,
/// since the engine may be another run's too.
/// </summary>
internal static class OlderRelease
{
    public const string Version = "2026.10.01";

    private const string LockFile = "/run/lock/archazure-older-release";

    /// <summary>Waits until it is free.</summary>
    public static async Task<IDisposable> TakeAsync()
    {
        while (true)
        {
            try
            {
                return new FileStream(LockFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (File.Exists(LockFile))
            {
                await Task.Delay(500);
            }
        }
    }
}
