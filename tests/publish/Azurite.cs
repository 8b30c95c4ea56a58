using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Azure.Storage;
using Azure.Storage.Blobs;
using Azure.Storage.Blobs.Models;
using Azure.Storage.Blobs.Specialized;
using Azure.Storage.Sas;

namespace ArchAzure.PublishTests;

/// <summary>Azurite, Microsoft's own emulator of the blob service, behind a proxy of ours.</summary>
public sealed class Azurite : IAsyncLifetime, IDisposable
{
    private const string Account = "devstoreaccount1";
    private const string Container = "images";

    /// <summary>Azurite's well-known key: https://learn.microsoft.com/azure/storage/common/storage-use-azurite.</summary>
    private const string Key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    private readonly TempFolder _folder = new();
    private Process? _process;
    private int _names;

    internal StorageProxy Proxy { get; private set; } = null!;

    private Uri Storage { get; set; } = null!;

    public async Task InitializeAsync()
    {
        var program = Environment.GetEnvironmentVariable("ARCHAZURE_AZURITE");
        Assert.True(
            File.Exists(program),
            $"ARCHAZURE_AZURITE is '{program}'. It names Azurite's script for node; run the tests with test.sh.");
        var port = FreePort();
        _process = Tool.Start(
            "node",
            [
                program!, "--blobHost", "127.0.0.1", "--blobPort", $"{port}", "--location", _folder["azurite"], "--silent",
                "--disableTelemetry", "--skipApiVersionCheck",
            ]);
        Storage = new Uri($"http://127.0.0.1:{port}/");
        await WaitAsync(port);
        Proxy = await StorageProxy.StartAsync(Storage);
        await new BlobContainerClient(new Uri(Storage, $"{Account}/{Container}"), Credential).CreateAsync();
    }

    public async Task DisposeAsync()
    {
        await Proxy.DisposeAsync();
        _process!.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
    }

    public void Dispose()
    {
        _process?.Dispose();
        _folder.Dispose();
    }

    /// <summary>The account's connection string, by way of the proxy.</summary>
    public string ConnectionString =>
        $"DefaultEndpointsProtocol=http;AccountName={Account};AccountKey={Key};BlobEndpoint={Proxy.Address}{Account};";

    private static StorageSharedKeyCredential Credential => new(Account, Key);

    /// <summary>The address of a blob that nobody has used, by way of the proxy.</summary>
    public Uri NewBlob(string container = Container) =>
        new(Proxy.Address, $"{Account}/{container}/{Interlocked.Increment(ref _names)}.vhd");

    /// <summary>The address with a shared access signature.</summary>
    public static Uri WithSas(
        Uri blob, BlobSasPermissions permissions = BlobSasPermissions.Read | BlobSasPermissions.Create | BlobSasPermissions.Write,
        TimeSpan? ends = null)
    {
        var parts = new BlobUriBuilder(blob);
        var sas = new BlobSasBuilder(permissions, DateTimeOffset.UtcNow + (ends ?? TimeSpan.FromHours(1)))
        {
            BlobContainerName = parts.BlobContainerName, BlobName = parts.BlobName, StartsOn = DateTimeOffset.UtcNow.AddDays(-3),
        };
        parts.Sas = sas.ToSasQueryParameters(Credential);
        return parts.ToUri();
    }

    /// <summary>The blob as others see it: straight from Azurite, with a client of its own.</summary>
    public PageBlobClient Direct(Uri blob) => new(new Uri(Storage, blob.AbsolutePath), Credential);

    /// <summary>Requires that a blob, downloaded on its own, is equal to a file.</summary>
    public async Task RequireEqualAsync(Uri blob, string file)
    {
        using var folder = new TempFolder();
        await Direct(blob).DownloadToAsync(folder["blob"]);
        await Tool.RunAsync("cmp", folder["blob"], file);
    }

    /// <summary>Downloads the ranges of a large blob that hold data into a file of its length.</summary>
    public async Task DownloadRangesAsync(Uri blob, string file)
    {
        var client = Direct(blob);
        using var handle = File.OpenHandle(file, FileMode.CreateNew, FileAccess.Write);
        RandomAccess.SetLength(handle, (await client.GetPropertiesAsync()).Value.ContentLength);
        await foreach (var item in client.GetAllPageRangesAsync())
        {
            var content = await client.DownloadContentAsync(new BlobDownloadOptions { Range = item.Range });
            await RandomAccess.WriteAsync(handle, content.Value.Content.ToMemory(), item.Range.Offset);
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private async Task WaitAsync(int port)
    {
        for (var clock = Stopwatch.StartNew(); ; await Task.Delay(50))
        {
            Assert.False(_process!.HasExited, "Azurite has ended.");
            Assert.True(clock.Elapsed < TimeSpan.FromSeconds(60), "Azurite does not listen.");
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, port);
                return;
            }
            catch (SocketException)
            {
            }
        }
    }
}
