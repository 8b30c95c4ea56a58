using System.Runtime.InteropServices;

namespace ArchAzure.PowerShell;

/// <summary>
/// SIGTERM and SIGHUP while a cmdlet works: pwsh would end at once and leave the builder container behind. So all cmdlets are
/// cancelled, and
/// the signal has its usual effect when the last one has cleaned up. While none works the signals are nobody's affair here.
/// </summary>
internal static class Termination
{
    private static readonly object s_lock = new();
    private static readonly HashSet<CancellationTokenSource> s_working = [];
    private static readonly ManualResetEventSlim s_idle = new(initialState: true);
    private static PosixSignalRegistration[] s_registrations = [];
    private static bool s_heard;

    /// <summary>A cmdlet begins; it is cancelled when a signal comes. One may begin inside another, whose output it takes.</summary>
    public static void Enter(CancellationTokenSource stop)
    {
        lock (s_lock)
        {
            if (s_working.Count == 0)
            {
                s_idle.Reset();
                s_registrations =
                [
                    PosixSignalRegistration.Create(PosixSignal.SIGTERM, Hear), PosixSignalRegistration.Create(PosixSignal.SIGHUP, Hear),
                ];
            }

            s_working.Add(stop);
            if (s_heard)
            {
                stop.Cancel();
            }
        }
    }

    /// <summary>A cmdlet has ended and cleaned up.</summary>
    /// <returns>Whether a signal was heard and this was the last cmdlet: the process is about to end.</returns>
    public static bool Leave(CancellationTokenSource stop)
    {
        lock (s_lock)
        {
            s_working.Remove(stop);
            if (s_working.Count > 0)
            {
                return false;
            }

            foreach (var registration in s_registrations)
            {
                registration.Dispose();
            }

            s_idle.Set();
            return s_heard;
        }
    }

    // Called on a thread of its own. As long as it has not returned the signal has no effect, and neither has another one.
    private static void Hear(PosixSignalContext context)
    {
        lock (s_lock)
        {
            s_heard = true;
            foreach (var stop in s_working)
            {
                stop.Cancel();
            }
        }

        s_idle.Wait();
    }
}
