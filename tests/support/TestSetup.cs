namespace ArchAzure.TestSupport;

/// <summary>
/// What test.sh prepares for these tests and names in the environment. What is missing fails the tests; nothing is skipped.
/// </summary>
internal static class TestSetup
{
    /// <summary>The assembled module.</summary>
    public static string Module => Folder("ARCHAZURE_MODULE", "ArchAzure.psd1", "the folder of the assembled module (artifacts/ArchAzure)");

    /// <summary>The module's layers.</summary>
    public static string Layers => Path.Combine(Module, "layers");

    /// <summary>The stand-in mirror.</summary>
    public static string StandIn => Folder("ARCHAZURE_STANDIN", ".standin", "the folder that 'archazure-standin make' prints");

    /// <summary>A work directory with a full build against the stand-in. It is read, and never written.</summary>
    public static string ImageWorkDirectory =>
        Folder("ARCHAZURE_IMAGE_WORKDIR", "build.json", "a work directory in which 'build.sh --stand-in' has made an image");

    /// <summary>The socket of the Docker engine that these tests use: test.sh may have started one of its own.</summary>
    public static string EngineSocket
    {
        get
        {
            const string scheme = "unix://";
            var address = Environment.GetEnvironmentVariable("DOCKER_HOST");
            Assert.True(
                string.IsNullOrEmpty(address) || address.StartsWith(scheme, StringComparison.Ordinal),
                $"DOCKER_HOST is '{address}'. These tests use an engine on a unix socket.");
            return string.IsNullOrEmpty(address) ? "/var/run/docker.sock" : address[scheme.Length..];
        }
    }

    /// <summary>The checkout.</summary>
    public static string Checkout { get; } = FindCheckout();

    /// <summary>The PowerShell that build.sh uses too: pwsh, or pwsh.dll for dotnet to run.</summary>
    public static string PowerShell
    {
        get
        {
            var program = Environment.GetEnvironmentVariable("ARCHAZURE_POWERSHELL");
            Assert.True(
                File.Exists(program), $"ARCHAZURE_POWERSHELL is '{program}'. It names pwsh or pwsh.dll; run the tests with test.sh.");
            return program!;
        }
    }

    private static string Folder(string variable, string mark, string what)
    {
        var path = Environment.GetEnvironmentVariable(variable);
        Assert.True(!string.IsNullOrEmpty(path), $"{variable} is not set. It names {what}; run the tests with test.sh.");
        Assert.True(
            File.Exists(Path.Combine(path, mark)),
            $"{variable} is '{path}', where no {mark} is. It names {what}; run the tests with test.sh.");
        return Path.GetFullPath(path);
    }

    private static string FindCheckout()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "ArchAzure.slnx")))
        {
            folder = Path.GetDirectoryName(folder)
                ?? throw new InvalidOperationException($"{AppContext.BaseDirectory} is not in a checkout.");
        }

        return folder;
    }
}
