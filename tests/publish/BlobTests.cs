using System.Diagnostics;
using ArchAzure.Publishing;
using Azure.Storage.Blobs.Models;
using Azure.Storage.Blobs.Specialized;
using Azure.Storage.Sas;

namespace ArchAzure.PublishTests;

public sealed class BlobTests(Azurite azurite) : IClassFixture<Azurite>, IDisposable
{
    private readonly RecordingReporter _reporter = new();
    private readonly TestVhd _vhd = new();

    internal static UploadOptions Quick { get; } = new()
    {
        Retries = new(6, TimeSpan.FromMilliseconds(50), TimeSpan.FromSeconds(3)), RequestTimeout = TimeSpan.FromSeconds(4),
    };

    public void Dispose()
    {
        azurite.Proxy.Faults.Clear();
        azurite.Proxy.OnWritten = null;
        azurite.Proxy.ClockOffset = TimeSpan.Zero;
        _vhd.Dispose();
    }

    [Fact]
    public async Task Only_data_is_sent_in_pages_that_Azure_takes_and_the_footer_last()
    {
        var blob = NewBlob();
        var published = await PublishAsync(blob);
        await azurite.RequireEqualAsync(blob, _vhd.Path);
        var writes = azurite.Proxy.Writes.ToList();
        Assert.All(writes, write => Assert.InRange(write.Length, 512, 4 << 20));
        Assert.Equal(_vhd.Length - 512, writes[^1].Offset);
        Assert.Equal(512, writes[^1].Length);
        Assert.InRange(writes.Sum(write => write.Length), _vhd.NonZeroBytes, (_vhd.NonZeroBytes * 1.02) + 512);
        Assert.Equal(writes.Sum(write => write.Length), published.SentBytes);
        Assert.Equal(published.DataBytes, published.SentBytes);
        Assert.Equal(blob, published.BlobUri);
        Assert.Contains(published.NextSteps, step => step.StartsWith("az vm create ", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(FaultKind.Reset, "PUT")]
    [InlineData(FaultKind.Reset, "HEAD")]
    [InlineData(FaultKind.Reset, "GET")]
    [InlineData(FaultKind.Cut, "PUT")]
    [InlineData(FaultKind.LostAnswer, "PUT")]
    [InlineData(FaultKind.Stall, "PUT")]
    [InlineData(FaultKind.Damage, "PUT")]
    public async Task What_passes_by_itself_is_tried_again(FaultKind kind, string method)
    {
        var blob = NewBlob();
        azurite.Proxy.Faults.Enqueue(new StorageFault(kind, method) { After = method == "PUT" ? 2 : 0, Times = 2 });
        await PublishAsync(blob);
        await azurite.RequireEqualAsync(blob, _vhd.Path);
        Assert.All(azurite.Proxy.Faults, fault => Assert.Equal(0, fault.Times));
        Assert.NotEmpty(_reporter.Details);
    }

    [Theory]
    [InlineData(429, "TooManyRequests")]
    [InlineData(500, "InternalError")]
    [InlineData(503, "ServerBusy")]
    public async Task Azure_is_given_the_time_that_it_asks_for(int status, string code)
    {
        var blob = NewBlob();
        azurite.Proxy.Faults.Enqueue(new StorageFault(FaultKind.Status, "PUT") { Status = status, Code = code, RetryAfter = 2, After = 1 });
        var clock = Stopwatch.StartNew();
        await PublishAsync(blob);
        Assert.True(clock.Elapsed > TimeSpan.FromSeconds(2), $"Retry-After was not heeded: {clock.Elapsed}.");
        await azurite.RequireEqualAsync(blob, _vhd.Path);
        Assert.Contains(_reporter.Details, detail => detail.Contains($": {status} ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_does_not_pass_is_told_and_nothing_usable_is_left()
    {
        var blob = NewBlob();
        azurite.Proxy.Faults.Enqueue(new StorageFault(FaultKind.Status, "PUT") { After = 3, Times = 1000 });
        await FailsAsync(blob, "AzureRefused", "503", "ServerBusy");
        await RequireNoFooterAsync(blob);
        azurite.Proxy.Faults.Clear();
        await PublishAsync(blob);
        await azurite.RequireEqualAsync(blob, _vhd.Path);
    }

    [Fact]
    public async Task An_upload_that_was_stopped_goes_on_and_sends_only_what_is_missing()
    {
        using var vhd = new TestVhd(100, 2, (0, 64 << 20));
        var blob = NewBlob();
        using var stop = new CancellationTokenSource();
        var written = 0;
        azurite.Proxy.OnWritten = _ =>
        {
            if (Interlocked.Increment(ref written) == 6)
            {
                stop.Cancel();
            }
        };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => PublishAsync(blob, vhd.Path, cancellationToken: stop.Token));
        azurite.Proxy.OnWritten = null;
        await RequireNoFooterAsync(blob);

        var published = await PublishAsync(blob, vhd.Path);
        await azurite.RequireEqualAsync(blob, vhd.Path);
        Assert.InRange(published.SentBytes, 1, published.DataBytes - (6L * (4 << 20)));
        Assert.Contains(_reporter.Lines, line => line.Contains("going on", StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_an_earlier_run_has_sent_is_read_back_and_sent_again_if_it_differs()
    {
        var blob = NewBlob();
        await InterruptAsync(blob);
        await azurite.Direct(blob).UploadPagesAsync(new MemoryStream(new byte[512]), 4096);
        await PublishAsync(blob);
        await azurite.RequireEqualAsync(blob, _vhd.Path);
    }

    [Fact]
    public async Task Data_that_is_not_the_VHDs_is_found_and_no_footer_is_sent()
    {
        var blob = NewBlob();
        await InterruptAsync(blob);
        await azurite.Direct(blob).UploadPagesAsync(new MemoryStream(Enumerable.Repeat((byte)7, 512).ToArray()), 40 << 20);
        await FailsAsync(blob, "UploadNotEqual", $"{40 << 20}", "-Force");
        await RequireNoFooterAsync(blob);
        await PublishAsync(blob, force: true);
        await azurite.RequireEqualAsync(blob, _vhd.Path);
    }

    [Fact]
    public async Task With_Content_all_is_read_back()
    {
        var blob = NewBlob();
        azurite.Proxy.OnWritten = request =>
        {
            if (request.Offset == 4 << 20)
            {
                // Between this write and the check, somebody else's.
                azurite.Direct(blob).UploadPages(new MemoryStream(new byte[512]), (4 << 20) + 8192);
            }
        };
        await FailsAsync(blob, "UploadNotEqual", options: Quick with { Verification = UploadVerification.Content });
        await RequireNoFooterAsync(blob);
        azurite.Proxy.OnWritten = null;
        await PublishAsync(blob, options: Quick with { Verification = UploadVerification.Content });
        await azurite.RequireEqualAsync(blob, _vhd.Path);
    }

    [Fact]
    public async Task A_blob_that_has_all_of_it_is_left_alone()
    {
        var blob = NewBlob();
        await PublishAsync(blob);
        azurite.Proxy.Requests.Clear();
        var again = await PublishAsync(blob);
        Assert.Equal(0, again.SentBytes);
        Assert.Empty(azurite.Proxy.Writes);
        Assert.Contains(_reporter.Lines, line => line.Contains("all of this VHD already", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Another_image_in_its_place_is_overwritten_only_by_force()
    {
        var blob = NewBlob();
        await PublishAsync(blob);
        using var other = new TestVhd(48, 3);
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => PublishAsync(blob, other.Path));
        Assert.Equal("BlobExists", error.ErrorId);
        Assert.Contains("-Force", error.Message, StringComparison.Ordinal);
        await azurite.RequireEqualAsync(blob, _vhd.Path);
        await PublishAsync(blob, other.Path, force: true);
        await azurite.RequireEqualAsync(blob, other.Path);
    }

    [Fact]
    public async Task A_VHD_that_changes_while_it_is_sent_gets_no_footer()
    {
        var blob = NewBlob();
        var isChanged = 0;
        azurite.Proxy.OnWritten = _ =>
        {
            if (Interlocked.Exchange(ref isChanged, 1) == 0)
            {
                Tool.Run("dd", ["if=/dev/urandom", $"of={_vhd.Path}", "bs=3", "count=1", "conv=notrunc"]);
            }
        };
        await FailsAsync(blob, "VhdChanged", $"'{_vhd.Path}'");
        await RequireNoFooterAsync(blob);
    }

    [Fact]
    public async Task A_VHD_that_breaks_a_rule_is_refused_before_anything_is_asked_of_Azure()
    {
        azurite.Proxy.Requests.Clear();
        var request = new PublishRequest { VhdPath = _vhd.Path, Upload = Quick };
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => VhdPublisher.ToBlobAsync(request, Azurite.WithSas(NewBlob()), null, _reporter, default));
        Assert.Equal("VhdNotReady", error.ErrorId);
        Assert.Contains("PartitionTable", error.Message, StringComparison.Ordinal);
        Assert.Contains("-SkipTest", error.Message, StringComparison.Ordinal);
        Assert.Empty(azurite.Proxy.Requests);
    }

    [Fact]
    public async Task A_connection_string_gives_the_right_too()
    {
        var blob = NewBlob();
        var request = new PublishRequest { VhdPath = _vhd.Path, SkipTest = true, Upload = Quick };
        await VhdPublisher.ToBlobAsync(request, blob, azurite.ConnectionString, _reporter, default);
        await azurite.RequireEqualAsync(blob, _vhd.Path);
        Assert.DoesNotContain("AccountKey", _reporter.Everything, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(BlobSasPermissions.Read)]
    [InlineData(BlobSasPermissions.Read | BlobSasPermissions.Write)]
    [InlineData(BlobSasPermissions.Create | BlobSasPermissions.Write)]
    public async Task A_signature_that_lacks_a_right(BlobSasPermissions permissions)
    {
        var blob = NewBlob();
        if (permissions.HasFlag(BlobSasPermissions.Write) && permissions.HasFlag(BlobSasPermissions.Read))
        {
            // Azure lets those who may write make a blob too.
            await VhdPublisher.ToBlobAsync(Request(), Azurite.WithSas(blob, permissions), null, _reporter, default);
            return;
        }

        await FailsAsync(blob, "NotAuthorized", ["sp=rcw"], sas: Azurite.WithSas(blob, permissions));
    }

    [Fact]
    public async Task A_signature_that_has_expired() =>
        await FailsAsync(NewBlob(), "SasExpired", ["generate-sas"], sas: uri => Azurite.WithSas(uri, ends: TimeSpan.FromHours(-1)));

    [Fact]
    public async Task A_signature_of_another_blob() =>
        await FailsAsync(
            NewBlob(), "AuthenticationFailed", ["this account and blob"], sas: uri => new Uri(uri, Azurite.WithSas(NewBlob()).Query));

    [Theory]
    [InlineData(1, "slow")]
    [InlineData(-1, "fast")]
    public async Task A_clock_that_is_wrong_by_a_day(int days, string word)
    {
        azurite.Proxy.ClockOffset = TimeSpan.FromDays(days);
        azurite.Proxy.Faults.Enqueue(new StorageFault(FaultKind.Status) { Status = 403, Code = "AuthenticationFailed", Times = 100 });
        await FailsAsync(NewBlob(), "ClockWrong", "24 hours " + word, "NTP");
    }

    [Fact]
    public async Task A_container_that_is_not_there() =>
        await FailsAsync(azurite.NewBlob("nothing"), "ContainerNotFound", "/nothing/", "az storage container create");

    [Fact]
    public async Task A_blob_of_another_type()
    {
        var blob = NewBlob();
        await azurite.Direct(blob).GetParentBlobContainerClient().GetBlockBlobClient(Path.GetFileName(blob.LocalPath))
            .UploadAsync(new MemoryStream([1]));
        await FailsAsync(blob, "NotAPageBlob", "block blob", "another name");
    }

    [Fact]
    public async Task A_leased_blob()
    {
        var blob = NewBlob();
        await InterruptAsync(blob);
        await azurite.Direct(blob).GetBlobLeaseClient().AcquireAsync(TimeSpan.FromSeconds(60));
        await FailsAsync(blob, "BlobLeased", "lease break");
    }

    [Theory]
    [InlineData("http://account.blob.core.windows.net/images/x.vhd", "BlobUriInvalid", "https://")]
    [InlineData("https://account.blob.core.windows.net/images", "BlobUriInvalid", "a container and a blob")]
    [InlineData("images/x.vhd?sig=SECRET", "BlobUriInvalid", "https://ACCOUNT")]
    [InlineData("https://other.blob.core.windows.net/images/x.vhd", "WrongAccount", "other.blob.core.windows.net")]
    public async Task An_address_that_is_none(string address, string errorId, string word)
    {
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => VhdPublisher.ToBlobAsync(
                Request(), new Uri(address, UriKind.RelativeOrAbsolute), azurite.ConnectionString, _reporter, default));
        Assert.Equal(errorId, error.ErrorId);
        Assert.Contains(word, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("SECRET", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_account_that_is_not_there()
    {
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => VhdPublisher.ToBlobAsync(
                Request(), new Uri("https://nothing.invalid/images/x.vhd?sv=2024-11-04&sp=rcw&sig=SECRET"), null, _reporter, default));
        Assert.Equal("AccountNotFound", error.ErrorId);
        Assert.DoesNotContain("SECRET", error + _reporter.Everything, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_disk_of_no_whole_MiB()
    {
        using var folder = new TempFolder();
        var size = (1 << 20) + 512;
        var bytes = new byte[size + 512];
        Vhd.VhdFooter.ForFixedDisk(size, Guid.NewGuid(), DateTimeOffset.UtcNow).ToBytes().CopyTo(bytes, size);
        var error = await Assert.ThrowsAsync<ArchAzureException>(() => PublishAsync(NewBlob(), folder.Write("odd.vhd", bytes)));
        Assert.Equal("VhdSizeNotWhole", error.ErrorId);
    }

    private Uri NewBlob()
    {
        azurite.Proxy.Requests.Clear();
        return azurite.NewBlob();
    }

    private PublishRequest Request(string? path = null, bool force = false, UploadOptions? options = null) =>
        new() { VhdPath = path ?? _vhd.Path, SkipTest = true, Force = force, Upload = options ?? Quick };

    private Task<PublishedVhd> PublishAsync(
        Uri blob, string? path = null, bool force = false, UploadOptions? options = null, CancellationToken cancellationToken = default) =>
        VhdPublisher.ToBlobAsync(Request(path, force, options), Azurite.WithSas(blob), null, _reporter, cancellationToken);

    /// <summary>Leaves a part of the VHD there.</summary>
    private async Task InterruptAsync(Uri blob)
    {
        var fault = new StorageFault(FaultKind.Status, "PUT") { Status = 400, Code = "InvalidInput", After = 3, Times = 1000 };
        azurite.Proxy.Faults.Enqueue(fault);
        await Assert.ThrowsAsync<ArchAzureException>(() => PublishAsync(blob));
        azurite.Proxy.Faults.Clear();
    }

    private Task FailsAsync(Uri blob, string errorId, params string[] words) => FailsAsync(blob, errorId, words, sas: null, options: null);

    private Task FailsAsync(Uri blob, string errorId, UploadOptions options) => FailsAsync(blob, errorId, [], sas: null, options);

    private Task FailsAsync(Uri blob, string errorId, string[] words, Uri sas) => FailsAsync(blob, errorId, words, _ => sas);

    /// <summary>Requires an error with these words, and no signature in it or in anything reported.</summary>
    private async Task FailsAsync(Uri blob, string errorId, string[] words, Func<Uri, Uri>? sas, UploadOptions? options = null)
    {
        var address = sas?.Invoke(blob) ?? Azurite.WithSas(blob);
        var error = await Assert.ThrowsAsync<ArchAzureException>(
            () => VhdPublisher.ToBlobAsync(Request(options: options), address, null, _reporter, default));
        Assert.True(errorId == error.ErrorId, $"{error.ErrorId}: {error.Message}");
        Assert.All(words, word => Assert.Contains(word, error.Message, StringComparison.Ordinal));
        var signature = System.Web.HttpUtility.ParseQueryString(address.Query)["sig"]!;
        Assert.DoesNotContain(signature, error.Message + _reporter.Everything, StringComparison.Ordinal);
        Assert.DoesNotContain(Uri.EscapeDataString(signature), error.Message + _reporter.Everything, StringComparison.Ordinal);
    }

    private async Task RequireNoFooterAsync(Uri blob)
    {
        var last = await azurite.Direct(blob).DownloadContentAsync(
            new BlobDownloadOptions { Range = new Azure.HttpRange(await LengthAsync(blob) - 512, 512) });
        Assert.All(last.Value.Content.ToArray(), value => Assert.Equal(0, value));
    }

    private async Task<long> LengthAsync(Uri blob) => (await azurite.Direct(blob).GetPropertiesAsync()).Value.ContentLength;
}
