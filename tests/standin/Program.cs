using System.Globalization;
using System.Runtime.InteropServices;
using ArchAzure.StandIn;

const string Usage = """
    usage: standin make [--cache DIR]              makes the mirror if the cache lacks it and prints its directory
           standin serve DIR [--port N]            serves it on loopback until SIGTERM or SIGINT: at the first free port from N on, or any
           standin settings DIR BASEURL            prints the settings of a build against it
    """;

using CancellationTokenSource stop = new();
using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
try
{
    switch (args)
    {
        case ["make"] or ["make", "--cache", _] when !OperatingSystem.IsLinux():
            throw new StandInException("The stand-in mirror is made on Debian 12 only; a finished mirror can be served anywhere.");
        case ["make"] or ["make", "--cache", _]:
            string cache = args.Length > 1 ? args[2] : Path.Combine(
                Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } home ? home : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"),
                "archazure-standin");
            Console.WriteLine(await new MirrorMaker(Path.GetFullPath(cache), Console.Error).MakeAsync(stop.Token));
            return 0;
        case ["serve", string directory]:
            return await ServeAsync(directory, 0);
        case ["serve", string directory, "--port", string port] when int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out int number):
            return await ServeAsync(directory, number);
        case ["settings", string directory, string url]:
            directory = Path.GetFullPath(directory);
            url = url.TrimEnd('/');
            Console.WriteLine($"MIRROR={url}/$repo/os/$arch");
            Console.WriteLine($"ARCHIVE_URL={url}/archive/");
            Console.WriteLine($"RELEASE_URL={url}/iso/");
            Console.WriteLine($"RELEASE_KEY={directory}/iso/release-key.asc");
            Console.WriteLine($"WAAGENT_SOURCE={directory}/waagent.git");
            Console.WriteLine($"WAAGENT_COMMIT={(await File.ReadAllTextAsync(Path.Combine(directory, "waagent.commit"), stop.Token)).Trim()}");
            return 0;
        default:
            Console.Error.WriteLine(Usage);
            return 2;
    }
}
catch (OperationCanceledException) when (stop.IsCancellationRequested)
{
    return 130;
}
catch (Exception e) when (e is StandInException or IOException or UnauthorizedAccessException)
{
    Console.Error.WriteLine($"standin: {e.Message}");
    return 1;
}

async Task<int> ServeAsync(string directory, int port)
{
    await using MirrorServer server = await MirrorServer.StartAtOrAfterAsync(directory, port);
    Console.WriteLine($"listening on {server.BaseUrl}");
    try
    {
        await Task.Delay(Timeout.Infinite, stop.Token);
    }
    catch (OperationCanceledException)
    {
        // Asked to end: that is the way out.
    }

    return 0;
}

void Stop(PosixSignalContext context)
{
    context.Cancel = true;
    stop.Cancel();
}
