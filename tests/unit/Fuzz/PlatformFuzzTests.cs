using System.Buffers.Binary;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using ArchAzure.SimulatedAzure;
using CsCheck;
using Xunit.Abstractions;

namespace ArchAzure.UnitTests.Fuzz;

/// <summary>What a guest sends to the simulated Azure: requests around the goal state, and frames.</summary>
public sealed class PlatformFuzzTests(ITestOutputHelper output) : IDisposable
{
    // A platform keeps all requests: a long run takes a new one now and then.
    private const int RequestsOfAPlatform = 5000;

    private static readonly string[] s_words =
    [
        "GET ", "POST ", "PUT ", "HEAD ", " HTTP/1.1\r\n", "\r\n", "\r\n\r\n", "/machine/?comp=", "goalstate", "config&type=", "health",
        "telemetrydata", "/metadata/instance", "?api-version=2021-08-01", "&format=text",
        "Content-Length: ", "Content-Length: 60000000\r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n",
        "Connection: close\r\n", "x-ms-version: ", "http://[", "http://a/%zz", "7fffffff\r\n", "5\r\n", "0\r\n\r\n",
        "<![CDATA[", "]]>", "&amp;", "&x;", "<!DOCTYPE a [<!ENTITY x \"y\">]>", "<?xml version=\"1.0\" encoding=\"utf-7\"?>",
        "encoding=\"ucs-4\"", "xmlns:mt=\"\"", "\"\\ud800\"", "\"code\":1.5", "\"code\":99999999999", "\"sequenceNumber\":\"1\"", "[[[[",
        "{\"a\":",
    ];

    private static readonly string s_transportCertificate = MakeCertificate();

    private SimulatedPlatform _platform = NewPlatform();
    private int _left = RequestsOfAPlatform;

    public void Dispose() => _platform.Dispose();

    [Fact]
    public void A_request_is_answered_or_refused()
    {
        // Each platform has new identities: in the samples stand words for them.
        var samples = Samples().Select(Encoding.UTF8.GetBytes).ToArray();
        Gen.Select(Mutations.Of(samples, s_words), Gen.Int[0, 2]).Run(
            output,
            input =>
            {
                Renew();
                var (message, server) = input;
                var link = new Link(Filled(message));
                var http = server switch
                {
                    0 => _platform.InstanceMetadata.Http,
                    1 => _platform.HostGaPlugin.Http,
                    _ => _platform.WireServer.Http,
                };
                http.ServeAsync(link, default).GetAwaiter().GetResult();
                AssertAnswered(link);
            },
            count: 4000);
    }

    [Fact]
    public void A_body_of_a_good_request_is_taken_or_refused()
    {
        var heads = Bodies().Select(body => body.Head).ToArray();
        Gen.Select(
            Mutations.Of(Bodies().Select(body => Encoding.UTF8.GetBytes(body.Body)).ToArray(), s_words), Gen.Int[0, heads.Length - 1]).Run(
            output,
            input =>
            {
                Renew();
                var (body, head) = input;
                body = Filled(body);
                var link = new Link([.. Filled(Encoding.UTF8.GetBytes($"{heads[head]}Content-Length: {body.Length}\r\n\r\n")), .. body]);
                (heads[head].StartsWith("PUT /status ", StringComparison.Ordinal) ? _platform.HostGaPlugin.Http : _platform.WireServer.Http)
                    .ServeAsync(link, default).GetAwaiter().GetResult();
                AssertAnswered(link);
                Assert.Single(_platform.Requests.TakeLast(1), request => request.Violation is null || request.Status >= 400);
            },
            count: 6000);
    }

    [Fact]
    public void A_transport_certificate_is_used_or_refused() =>
        Mutations.Of([Convert.FromBase64String(s_transportCertificate)]).Run(
            output,
            der => Assert.NotEmpty(_platform.Certificate.EncryptFor(der, null)),
            count: 100);

    [Fact]
    public void A_dhcp_message_is_answered_or_passed_over() =>
        Mutations.Of([Dhcp(1), Dhcp(3), Dhcp(8)]).Run(
            output,
            message =>
            {
                if (DhcpServer.Answer(message, new VirtualNetworkOptions(), out var acknowledged) is { } answer)
                {
                    Assert.True(answer.Length is >= 300 and < 600);
                    Assert.Equal(message[4..8], answer[4..8]);
                }
                else
                {
                    Assert.False(acknowledged);
                }
            },
            count: 20000);

    [Fact]
    public void Frames_are_answered_or_passed_over() =>
        Mutations.Of(Frames().Select(frame => frame.ToArray()).ToArray()).Array[1, 6].Run(
            output,
            frames =>
            {
                using var input = new MemoryStream();
                foreach (var frame in frames)
                {
                    input.Write(Length(frame));
                    input.Write(frame);
                }

                // A header and nothing behind it: what a frame's beginning may also be.
                var network = new VirtualNetwork();
                network.Listen(VirtualNetwork.WireServerAddress, 80, _platform.WireServer.Http.ServeAsync);
                var link = new Link(input.ToArray());
                network.RunAsync(link, default).GetAwaiter().GetResult();
                network.DisposeAsync().AsTask().GetAwaiter().GetResult();
                AssertFrames(link.Written);
            },
            count: 1000);

    [Fact]
    public void A_link_of_any_bytes_ends() =>
        Mutations.Of([[.. Frames().SelectMany(frame => Length(frame).Concat(frame))]]).Run(
            output,
            bytes =>
            {
                var network = new VirtualNetwork();
                network.RunAsync(new Link(bytes), default).GetAwaiter().GetResult();
                network.DisposeAsync().AsTask().GetAwaiter().GetResult();
            },
            count: 1000);

    [Fact]
    public void Segments_of_any_numbers_break_nothing()
    {
        var step = Gen.Select(
            Gen.Int[-3, 70], Gen.OneOf(Gen.Int[-3, 70], Gen.Int[0, 70_000], Gen.Int), Gen.Int[0, 63],
            Gen.OneOf(Gen.Const(0), Gen.Int[0, 65535]), Gen.Int[0, 40]);
        Gen.Select(step.Array[0, 12], Gen.Int[0, 4].Select(i => new[] { 0, 1, 536, 1460, 65535 }[i])).Run(
            output,
            script =>
            {
                var (steps, maximumSegment) = script;
                var link = new TcpGuest(maximumSegment, steps);
                var network = new VirtualNetwork();
                network.Listen(VirtualNetwork.WireServerAddress, 80, async (stream, token) =>
                {
                    await stream.WriteAsync(new byte[5000], token);
                    await stream.CopyToAsync(Stream.Null, token);
                });
                network.RunAsync(link, default).GetAwaiter().GetResult();
                network.DisposeAsync().AsTask().GetAwaiter().GetResult();
                AssertFrames(link.Written);
            },
            count: 500);
    }

    [Fact]
    public void Qemus_monitor_may_say_anything() =>
        Mutations.Of(
            [
                [
                    .. "{\"QMP\": {\"version\": {}}}\n{\"return\": {}, \"id\": \"1\"}\n{\"event\": \"SHUTDOWN\", \"data\": {}}\n"u8,
                    .. "{\"error\": {\"class\": \"a\", \"desc\": \"b\"}, \"id\": \"3\"}\n{\"return\": [], \"id\": \"2\"}\n"u8,
                ],
            ],
            "\"event\": 1", "\"id\": 1", "\"id\": \"1\"", "\"error\": {}", "\"desc\": 1", "\n", "{\"QMP\": 1}", "{\"id\": \"1\"}",
            "\"\\ud800\"").Run(
            output,
            bytes =>
            {
                using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5));
                try
                {
                    var client = QmpClient.ConnectAsync(new Monitor(bytes), limit.Token).GetAwaiter().GetResult();
                    try
                    {
                        client.ExecuteAsync("query-status", null, limit.Token).GetAwaiter().GetResult();
                    }
                    finally
                    {
                        client.DisposeAsync().AsTask().GetAwaiter().GetResult();
                    }
                }
                catch (OperationCanceledException)
                {
                    Assert.Fail("It was waited for in vain.");
                }
            },
            count: 400);

    private static SimulatedPlatform NewPlatform() =>
        new(new OvfEnvironment("web1", "azureuser") { SshPublicKeys = ["ssh-ed25519 AAAA x"] });

    private void Renew()
    {
        if (--_left < 0)
        {
            _left = RequestsOfAPlatform;
            _platform.Dispose();
            _platform = NewPlatform();
        }
    }

    private byte[] Filled(byte[] message) => Encoding.Latin1.GetBytes(Encoding.Latin1.GetString(message)
        .Replace("CONTAINER", _platform.Goal.ContainerId, StringComparison.Ordinal)
        .Replace("INSTANCE", _platform.Goal.InstanceId, StringComparison.Ordinal)
        .Replace("STATUSURL", _platform.WireServer.StatusUrl, StringComparison.Ordinal)
        .Replace("STATUSPATH", new Uri(_platform.WireServer.StatusUrl).PathAndQuery, StringComparison.Ordinal));

    /// <summary>Every request got an answer, and none was the server's own fault.</summary>
    private void AssertAnswered(Link link)
    {
        var written = Encoding.Latin1.GetString(link.Written);
        if (_platform.Requests.Count > 0 && written.Length > 0)
        {
            Assert.StartsWith("HTTP/1.1 ", written, StringComparison.Ordinal);
            foreach (var request in _platform.Requests.TakeLast(5))
            {
                Assert.True(request.Status != 500, written);
                Assert.DoesNotContain(request.Target + request.Violation, c => char.IsControl(c) && c is not ('\n' or '\t' or '\r'));
            }
        }
    }

    private static IEnumerable<string> Samples()
    {
        yield return "GET /?comp=versions HTTP/1.1\r\n\r\nGET /machine/?comp=goalstate HTTP/1.1\r\nx-ms-version: 2012-11-30\r\nConnection: "
            + "close\r\n\r\n";
        foreach (var type in new[] { "hostingEnvironmentConfig", "sharedConfig", "extensionsConfig", "fullConfig" })
        {
            yield return $"GET /machine/CONTAINER/INSTANCE?comp=config&type={type}&incarnation=1 HTTP/1.1\r\n"
                + "x-ms-version: 2012-11-30\r\n\r\n";
        }

        yield return "GET /machine/CONTAINER/INSTANCE?comp=certificates&incarnation=1 HTTP/1.1\r\nx-ms-version: 2012-11-30\r\n"
            + $"x-ms-cipher-name: AES128_CBC\r\nx-ms-guest-agent-public-x509-cert: {s_transportCertificate}\r\n\r\n";
        yield return "GET http://168.63.129.16/artifacts/agent/manifest.xml HTTP/1.1\r\n\r\n";
        yield return "POST /HealthService HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\nTrailer: x\r\n\r\n";
        yield return "GET /metadata/instance?api-version=2021-08-01&extended=true HTTP/1.1\r\nMetadata: true\r\n\r\nGET "
            + "/metadata/instance/compute/publicKeys/0/keyData?api-version=2021-02-01&format=text HTTP/1.1\r\nMetadata: true\r\n\r\n";
        yield return "GET /extensionArtifact HTTP/1.1\r\nx-ms-version: 2015-09-01\r\nx-ms-containerid: CONTAINER\r\nx-ms-host-config-name: "
            + "x\r\nx-ms-artifact-location: http://168.63.129.16:80/artifacts/agent/manifest.xml\r\n\r\n";
        foreach (var (head, body) in Bodies())
        {
            yield return $"{head}Content-Length: {body.Length}\r\n\r\n{body}";
        }
    }

    private static IEnumerable<(string Head, string Body)> Bodies()
    {
        const string xml = " HTTP/1.1\r\nx-ms-version: 2012-11-30\r\nContent-Type: text/xml;charset=utf-8\r\n";
        yield return ("POST /machine?comp=health" + xml,
            "<?xml version=\"1.0\" "
            + "encoding=\"utf-8\"?><Health><GoalStateIncarnation>1</GoalStateIncarnation><Container><ContainerId>CONTAINER</ContainerId>"
            + "<RoleInstanceList><Role><InstanceId>INSTANCE</InstanceId>"
            + "<Health><State>NotReady</State><Details><SubStatus>Provisioning</SubStatus><Description>Starting</Description></Details>"
            + "</Health></Role></RoleInstanceList></Container></Health>");
        yield return ("POST /machine?comp=roleProperties" + xml,
            "<RoleProperties><Container><ContainerId>CONTAINER</ContainerId><RoleInstances><RoleInstance><Id>INSTANCE</Id><Properties>"
            + "<Property name=\"CertificateThumbprint\" value=\"SHA256abc\" "
            + "/></Properties></RoleInstance></RoleInstances></Container></RoleProperties>");
        yield return ("POST /machine?comp=telemetrydata" + xml,
            "<?xml version=\"1.0\"?><TelemetryData version=\"1.0\"><Provider id=\"p\"><Event id=\"1\"><![CDATA[<Param Name=\"Name\" "
            + "Value=\"WALinuxAgent\" T=\"mt:wstr\" /><Param Name=\"Message\" Value=\"a &lt; b\" T=\"mt:wstr\" "
            + "/>]]></Event></Provider></TelemetryData>");
        const string status = "{\"version\":\"1.1\",\"aggregateStatus\":{\"guestAgentStatus\":{\"version\":\"2.7.3.0\","
            + "\"status\":\"Ready\"},\"handlerAggregateStatus\":[{\"handlerName\":\"ArchAzure.Test\",\"handlerVersion\":\"1.0.0\","
            + "\"status\":\"Ready\",\"code\":0,"
            + "\"runtimeSettingsStatus\":{\"sequenceNumber\":3,\"settingsStatus\":{\"status\":{\"name\":\"x\",\"status\":\"success\","
            + "\"code\":0,\"formattedMessage\":{\"lang\":\"en-US\",\"message\":\"done\"}}}}}]}}";
        yield return ("PUT STATUSPATH HTTP/1.1\r\nx-ms-blob-type: BlockBlob\r\nx-ms-version: 2014-02-14\r\n", status);
        yield return ("PUT /status HTTP/1.1\r\nx-ms-version: 2015-09-01\r\nx-ms-containerid: CONTAINER\r\nx-ms-host-config-name: x\r\n",
            JsonSerializer.Serialize(new
            {
                requestUri = "STATUSURL",
                headers = new[]
                {
                    new { headerName = "x-ms-blob-type", headerValue = "BlockBlob" },
                    new { headerName = "x-ms-version", headerValue = "2014-02-14" },
                },
                content = Convert.ToBase64String(Encoding.UTF8.GetBytes(status)),
            }));
    }

    private static string MakeCertificate()
    {
        using var key = RSA.Create(2048);
        using var certificate = new CertificateRequest("CN=LinuxTransport", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddYears(2));
        return Convert.ToBase64String(certificate.RawData);
    }

    private static byte[] Dhcp(byte type)
    {
        var message = new byte[240];
        message[0] = message[1] = 1;
        message[2] = 6;
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(4), 0xCAFE);
        BinaryPrimitives.WriteUInt32BigEndian(message.AsSpan(236), 0x63825363);
        return [.. message, 53, 1, type, 50, 4, 10, 0, 0, 4, 0, 12, 4, (byte)'w', (byte)'e', (byte)'b', (byte)'1', 255];
    }

    private static IEnumerable<byte[]> Frames()
    {
        var guest = IPAddress.Parse("10.0.0.4").GetAddressBytes();
        var wire = VirtualNetwork.WireServerAddress.GetAddressBytes();
        byte[] ethernet = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x0D, 0x3A, 0x11, 0x22, 0x33];
        yield return [
            .. ethernet, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 0x00, 0x0D, 0x3A, 0x11, 0x22, 0x33, .. guest, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
        yield return Ip(17, Udp(67, Dhcp(1)));
        yield return Ip(17, Udp(67, Dhcp(3)));
        yield return Ip(17, Udp(53, [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, (byte)'a', 0, 0, 1, 0, 1]));
        yield return Ip(17, Udp(123, [1, 2, 3]));
        yield return Ip(1, [8, 0, 0, 0, 0, 1, 0, 1, 9, 9]);
        yield return Ip(6, Tcp(100, 0, 2, 64000, [2, 4, 5, 0xb4, 1, 1, 4, 2], []));
        yield return Ip(6, Tcp(101, 0, 0x18, 64000, [], "GET /?comp=versions HTTP/1.1\r\n\r\n"u8.ToArray()));

        byte[] Udp(byte port, byte[] data) => [0, 68, 0, port, (byte)((data.Length + 8) >> 8), (byte)(data.Length + 8), 0, 0, .. data];

        byte[] Ip(byte protocol, byte[] data) =>
            [.. ethernet, 8, 0, 0x45, 0, (byte)((data.Length + 20) >> 8), (byte)(data.Length + 20), 0, 1, 0, 0, 64, protocol, 0, 0,
                .. guest, .. wire, .. data];
    }

    private static byte[] Tcp(uint sequence, uint acknowledgement, byte flags, ushort window, byte[] options, byte[] data)
    {
        var segment = new byte[20 + options.Length + data.Length];
        BinaryPrimitives.WriteUInt16BigEndian(segment, 40000);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(2), 80);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(4), sequence);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(8), acknowledgement);
        segment[12] = (byte)((20 + options.Length) / 4 << 4);
        segment[13] = flags;
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(14), window);
        options.CopyTo(segment, 20);
        data.CopyTo(segment, 20 + options.Length);
        return segment;
    }

    private static byte[] Length(byte[] frame)
    {
        var length = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(length, frame.Length);
        return length;
    }

    /// <summary>What the network sends is a row of frames that a guest can take.</summary>
    private static void AssertFrames(byte[] bytes)
    {
        for (var at = 0; at < bytes.Length;)
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(at));
            var frame = bytes.AsSpan(at + 4, length);
            if (frame[12] == 8 && frame[13] == 0)
            {
                Assert.Equal(length - 14, BinaryPrimitives.ReadUInt16BigEndian(frame[16..]));
                var sum = 0;
                for (var i = 14; i < 34; i += 2)
                {
                    sum += BinaryPrimitives.ReadUInt16BigEndian(frame[i..]);
                }

                Assert.Equal(0xFFFF, (sum & 0xFFFF) + (sum >> 16));
            }

            at += 4 + length;
        }
    }

    /// <summary>A connection on which all has come already.</summary>
    private class Link(byte[] input) : MemoryStream(input, writable: false)
    {
        private readonly MemoryStream _written = new();

        public byte[] Written
        {
            get
            {
                lock (_written)
                {
                    return _written.ToArray();
                }
            }
        }

        public override bool CanWrite => true;

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            lock (_written)
            {
                _written.Write(buffer.Span);
            }

            return ValueTask.CompletedTask;
        }
    }

    /// <summary>A monitor that greets with a line, answers the first command with one, and the next with all others.</summary>
    private sealed class Monitor(byte[] input) : Link([])
    {
        private readonly SemaphoreSlim _asked = new(1);
        private int _at;
        private int _commands;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (!await _asked.WaitAsync(20, cancellationToken))
            {
                // The answer before was none, and nobody asks again.
                _asked.Release(1 << 20);
            }

            var end = Array.IndexOf(input, (byte)'\n', _at) is var found and >= 0 ? found + 1 : input.Length;
            var count = Math.Min(end - _at, buffer.Length);
            input.AsSpan(_at, count).CopyTo(buffer.Span);
            _at += count;
            if (_at < end || _at == input.Length)
            {
                _asked.Release();
            }

            return count;
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await base.WriteAsync(buffer, cancellationToken);
            _asked.Release(_commands++ == 0 ? 1 : 1 << 20);
        }
    }

    /// <summary>
    /// A guest that opens a connection as it should, and then sends segments of a script, their numbers counted from the right ones.
    /// </summary>
    private sealed class TcpGuest(int maximumSegment, (int Sequence, int Acknowledgement, int Flags, int Window, int Length)[] steps)
        : Link([])
    {
        private readonly TaskCompletionSource<uint> _theirs = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Queue<byte> _input = new();
        private int _step = -2;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_input.Count == 0)
            {
                if (_step == steps.Length)
                {
                    return 0;
                }

                var theirs = _step == -2 ? 0 : await _theirs.Task.WaitAsync(TimeSpan.FromSeconds(5), cancellationToken);
                var segment = _step switch
                {
                    -2 => Tcp(100, 0, 2, 64000, [2, 4, (byte)(maximumSegment >> 8), (byte)maximumSegment], []),
                    -1 => Tcp(101, theirs + 1, 0x10, 64000, [], []),
                    _ => Tcp(
                        (uint)(101 + steps[_step].Sequence), theirs + 1 + (uint)steps[_step].Acknowledgement, (byte)steps[_step].Flags,
                        (ushort)steps[_step].Window, [], new byte[steps[_step].Length]),
                };
                _step++;
                var total = 20 + segment.Length;
                byte[] frame =
                [
                    0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0x00, 0x0D, 0x3A, 0x11, 0x22, 0x33, 8, 0, 0x45, 0, (byte)(total >> 8), (byte)total,
                    0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 4,
                    .. VirtualNetwork.WireServerAddress.GetAddressBytes(), .. segment,
                ];
                foreach (var b in Length(frame).Concat(frame))
                {
                    _input.Enqueue(b);
                }
            }

            var count = Math.Min(buffer.Length, _input.Count);
            for (var i = 0; i < count; i++)
            {
                buffer.Span[i] = _input.Dequeue();
            }

            return count;
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await base.WriteAsync(buffer, cancellationToken);

            // SYN and ACK: behind a length of 4 bytes and the headers of 14 and 20.
            if (buffer.Length >= 58 && buffer.Span[27] == 6 && buffer.Span[51] == 0x12)
            {
                _theirs.TrySetResult(BinaryPrimitives.ReadUInt32BigEndian(buffer.Span[42..]));
            }
        }
    }
}
