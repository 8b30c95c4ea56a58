using System.Globalization;
using System.Runtime.InteropServices;
using ArchAzure.StandIn;

const string Usage = """
    usage: standin make [--cache DIR] [--suite NAME] [--kernel FLAVOUR] [--debian URL]
                                                   makes the mirror if the cache lacks it and prints its directory
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
        case ["make", ..] when !OperatingSystem.IsLinux():
            throw new StandInException("The stand-in mirror is made on Debian or Ubuntu only; a finished mirror can be served anywhere.");
        case ["make", .. string[] options] when Options(options, "--cache", "--suite", "--kernel", "--debian") is { } named:
            string cache = named.GetValueOrDefault("--cache") ?? Path.Combine(
                Set("XDG_CACHE_HOME") ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"),
                "archazure-standin");
            MirrorMaker maker = new(
                Path.GetFullPath(cache), Named("--suite", "SUITE", "forky"), Named("--kernel", "KERNEL", "cloud-amd64"), Console.Error);
            Console.WriteLine(await maker.MakeAsync(named.GetValueOrDefault("--debian") ?? Set("ARCHAZURE_DEBIAN_URL"), stop.Token));
            return 0;

            string Named(string option, string variable, string otherwise) =>
                named.GetValueOrDefault(option) ?? Set("ARCHAZURE_STANDIN_" + variable) ?? otherwise;
        case ["serve", string directory]:
            return await ServeAsync(directory, 0);
        case
        [
            "serve", string directory, "--port", string port,
        ] when int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out int number):
            return await ServeAsync(directory, number);
        case ["settings", string directory, string url]:
            directory = Path.GetFullPath(directory);
            url = url.TrimEnd('/');
            Console.WriteLine($"MIRROR={url}/$repo/os/$arch");
            Console.WriteLine($"ARCHIVE_URL={url}/archive/");
            Console.WriteLine($"RELEASE_URL={url}/iso/");
            Console.WriteLine($"RELEASE_KEY={directory}/iso/release-key.asc");
            Console.WriteLine($"PACKAGE_CACHE={directory}/packages");
            Console.WriteLine($"WAAGENT_SOURCE={directory}/waagent.git");
            Console.WriteLine(
                $"WAAGENT_COMMIT={(await File.ReadAllTextAsync(Path.Combine(directory, "waagent.commit"), stop.Token)).Trim()}");
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

static string? Set(string variable) => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value ? value : null;

// Pairs of a known name and a value; null if they are none.
static Dictionary<string, string>? Options(string[] words, params string[] known) =>
    words.Length % 2 == 0
        && words.Chunk(2).All(p => known.Contains(p[0]))
        && words.Chunk(2).DistinctBy(p => p[0]).Count() == words.Length / 2
        ? words.Chunk(2).ToDictionary(p => p[0], p => p[1], StringComparer.Ordinal)
        : null;

void Stop(PosixSignalContext context)
{
    context.Cancel = true;
    stop.Cancel();
}
