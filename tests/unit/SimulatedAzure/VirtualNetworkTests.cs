using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using ArchAzure.SimulatedAzure;
using Xunit;

namespace ArchAzure.UnitTests.SimulatedAzure;

/// <summary>The network against a scripted guest that builds and reads every frame itself.</summary>
public sealed class VirtualNetworkTests : IAsyncDisposable
{
    private static readonly uint s_guest = Address("10.0.0.4");
    private static readonly uint s_wire = Address("168.63.129.16");

    private readonly CancellationTokenSource _end = new();
    private readonly Guest _guest = new();
    private readonly VirtualNetwork _network = new();
    private Task _running = Task.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await _running;
        await _network.DisposeAsync();
        _guest.Dispose();
        _end.Dispose();
    }

    [Fact]
    public async Task AnAddressOfAnotherNetworkIsRefused()
    {
        Start();
        var message = new byte[240];
        message[0] = 1;
        U32(message, 236, 0x63825363);
        await _guest.SendUdpAsync(68, 0xFFFFFFFF, 67, [.. message, 53, 1, 3, 50, 4, 192, 168, 0, 5, 255], source: 0);
        var reply = await _guest.ReadAsync();
        Assert.Equal(new byte[] { 53, 1, 6 }, reply[(42 + 240)..(42 + 243)]);
    }

    [Fact]
    public async Task AServiceAnswersThroughManySegments()
    {
        var content = new byte[300_000];
        new Random(1).NextBytes(content);
        _network.Listen(VirtualNetwork.WireServerAddress, 80, async (stream, token) =>
        {
            var request = new byte[4];
            await stream.ReadExactlyAsync(request, token);
            await stream.WriteAsync(content, token);
        });
        Start();
        var tcp = await _guest.ConnectAsync(40000, s_wire, 80);
        await tcp.SendAsync("ping"u8.ToArray());
        Assert.Equal(SHA256.HashData(content), SHA256.HashData(await tcp.ReadToEndAsync()));
    }

    [Fact]
    public async Task WhatIsLostIsSentAgain()
    {
        _network.Listen(VirtualNetwork.WireServerAddress, 80, (stream, token) => stream.WriteAsync("hello"u8.ToArray(), token).AsTask());
        Start();
        var tcp = await _guest.ConnectAsync(40000, s_wire, 80);
        // Not acknowledged: the same bytes come again, and then with the goodbye.
        var first = await tcp.ReadSegmentAsync(s => s.Data.Length > 0);
        var second = await tcp.ReadSegmentAsync(s => s.Data.Length > 0);
        Assert.Equal(first.Sequence, second.Sequence);
        Assert.Equal("hello", Encoding.ASCII.GetString(second.Data));
        Assert.Equal("hello", Encoding.ASCII.GetString(await tcp.ReadToEndAsync()));
    }

    [Fact]
    public async Task ARepeatedOrEarlySegmentIsNotTakenTwice()
    {
        var received = new TaskCompletionSource<byte[]>();
        _network.Listen(VirtualNetwork.WireServerAddress, 80, async (stream, token) =>
        {
            var bytes = new byte[6];
            await stream.ReadExactlyAsync(bytes, token);
            received.SetResult(bytes);
        });
        Start();
        var tcp = await _guest.ConnectAsync(40000, s_wire, 80);
        await tcp.SendAtAsync(0, "abc"u8.ToArray());
        await tcp.SendAtAsync(0, "abcd"u8.ToArray());
        await tcp.SendAtAsync(5, "f"u8.ToArray());
        await tcp.SendAtAsync(4, "ef"u8.ToArray());
        Assert.Equal("abcdef", Encoding.ASCII.GetString(await received.Task.WaitAsync(TimeSpan.FromSeconds(10))));
    }

    [Fact]
    public async Task NobodyListensMeansReset()
    {
        Start();
        await _guest.SendTcpAsync(40000, s_wire, 81, 100, 0, 2, []);
        var (_, _, acknowledgement, flags, _) = Guest.Tcp(await _guest.ReadAsync());
        Assert.Equal((101u, 0x14), (acknowledgement, flags));
        await _guest.SendTcpAsync(40000, Address("8.8.8.8"), 80, 100, 0, 2, []);
        Assert.Equal(0x14, Guest.Tcp(await _guest.ReadAsync()).Flags);
    }

    [Fact]
    public async Task AFirmwareIsLeftInPeace()
    {
        Start();
        var connecting = _network.ConnectAsync(22, CancellationToken.None);
        await Assert.ThrowsAsync<TimeoutException>(() => connecting.WaitAsync(TimeSpan.FromMilliseconds(300)));
        await ShowUpAsync();
        await _guest.AcceptAsync(22);
        await using var stream = await connecting;

        _network.OnGuestReset();
        await Assert.ThrowsAsync<IOException>(() => stream.ReadAsync(new byte[1]).AsTask());
        var again = _network.ConnectAsync(22, CancellationToken.None);

        // The next frame is the answer to this one, not a goodbye nor a greeting for the old machine.
        await _guest.SendArpAsync(s_guest, Address("10.0.0.9"));
        byte[] frame;
        do
        {
            frame = await _guest.ReadAsync();
        }
        while (U16(frame, 12) == 0x0800 && Guest.Tcp(frame).Flags == 0x10);
        Assert.Equal(0x0806, U16(frame, 12));
        Assert.False(again.IsCompleted);
        await ShowUpAsync();
        await _guest.AcceptAsync(22);
        await (await again).DisposeAsync();
    }

    /// <summary>A broadcast that nobody answers, from the address that only an operating system has.</summary>
    private Task ShowUpAsync() => _guest.SendUdpAsync(5000, 0xFFFFFFFF, 9999, [1]);

    private void Start() => _running = _network.RunAsync(_guest.Link, _end.Token);

    private static uint Address(string address) => BinaryPrimitives.ReadUInt32BigEndian(IPAddress.Parse(address).GetAddressBytes());

    private static ushort U16(byte[] bytes, int offset) => BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(offset));

    private static uint U32(byte[] bytes, int offset) => BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(offset));

    private static void U16(byte[] bytes, int offset, ushort value) => BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(offset), value);

    private static void U32(byte[] bytes, int offset, uint value) => BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(offset), value);

    /// <summary>The Internet checksum over data that holds its own: 0 when it is right.</summary>
    private static int Sum(ReadOnlySpan<byte> data, long sum)
    {
        for (var i = 0; i < data.Length; i++)
        {
            sum += i % 2 == 0 ? data[i] << 8 : data[i];
        }

        while (sum > 0xFFFF)
        {
            sum = (sum >> 16) + (sum & 0xFFFF);
        }

        return (int)(~sum & 0xFFFF);
    }

    private sealed record Segment(ushort Port, uint Sequence, uint Acknowledgement, int Flags, byte[] Data);

    private sealed class Guest : IDisposable
    {
        private static readonly byte[] s_mac = [0x00, 0x0D, 0x3A, 0x11, 0x22, 0x33];
        private readonly Pipe _toNetwork = new(new PipeOptions(pauseWriterThreshold: 0));
        private readonly Pipe _fromNetwork = new(new PipeOptions(pauseWriterThreshold: 0));
        private readonly Stream _frames;
        private readonly Dictionary<ushort, Queue<Segment>> _segments = [];

        public Guest()
        {
            Link = new Duplex(_toNetwork.Reader.AsStream(), _fromNetwork.Writer.AsStream());
            _frames = _fromNetwork.Reader.AsStream();
        }

        public Stream Link { get; }

        public void Dispose()
        {
            Link.Dispose();
            _frames.Dispose();
        }

        public async Task WriteAsync(byte[] frame)
        {
            var length = new byte[4];
            BinaryPrimitives.WriteInt32BigEndian(length, frame.Length);
            await _toNetwork.Writer.WriteAsync(length.Concat(frame).ToArray());
        }

        public async Task<byte[]> ReadAsync()
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(15));
            var length = new byte[4];
            await _frames.ReadExactlyAsync(length, limit.Token);
            var frame = new byte[BinaryPrimitives.ReadInt32BigEndian(length)];
            await _frames.ReadExactlyAsync(frame, limit.Token);
            if (U16(frame, 12) == 0x0800)
            {
                Assert.Equal(0, Sum(frame.AsSpan(14, 20), 0));
                if (frame[23] is 6 or 17)
                {
                    long pseudo = (U32(frame, 26) >> 16) + (U32(frame, 26) & 0xFFFF) + (U32(frame, 30) >> 16) + (U32(frame, 30) & 0xFFFF)
                        + frame[23] + (frame.Length - 34);
                    Assert.Equal(0, Sum(frame.AsSpan(34), pseudo));
                }
            }

            return frame;
        }

        public Task SendArpAsync(uint sender, uint target)
        {
            var frame = new byte[42];
            frame.AsSpan(0, 6).Fill(0xFF);
            s_mac.CopyTo(frame, 6);
            Convert.FromHexString("08060001080006040001").CopyTo(frame, 12);
            s_mac.CopyTo(frame, 22);
            U32(frame, 28, sender);
            U32(frame, 38, target);
            return WriteAsync(frame);
        }

        public Task SendUdpAsync(ushort port, uint destination, ushort destinationPort, byte[] payload, uint? source = null)
        {
            var frame = Ip(source ?? s_guest, destination, 17, 8 + payload.Length);
            U16(frame, 34, port);
            U16(frame, 36, destinationPort);
            U16(frame, 38, (ushort)(8 + payload.Length));
            payload.CopyTo(frame, 42);
            return WriteAsync(frame);
        }

        public Task SendTcpAsync(
            ushort port, uint destination, ushort destinationPort, uint sequence, uint acknowledgement, int flags, byte[] data)
        {
            var frame = Ip(s_guest, destination, 6, 20 + data.Length);
            U16(frame, 34, port);
            U16(frame, 36, destinationPort);
            U32(frame, 38, sequence);
            U32(frame, 42, acknowledgement);
            frame[46] = 0x50;
            frame[47] = (byte)flags;
            U16(frame, 48, 20000);
            data.CopyTo(frame, 54);
            return WriteAsync(frame);
        }

        public static Segment Tcp(byte[] frame)
        {
            Assert.Equal(6, frame[23]);
            var header = (frame[46] >> 4) * 4;
            return new Segment(U16(frame, 36), U32(frame, 38), U32(frame, 42), frame[47], frame[(34 + header)..]);
        }

        public async Task<Connection> ConnectAsync(ushort port, uint destination, ushort destinationPort)
        {
            await SendTcpAsync(port, destination, destinationPort, 1000, 0, 2, []);
            var answer = await NextAsync(port);
            Assert.Equal((1001u, 0x12), (answer.Acknowledgement, answer.Flags));
            var connection = new Connection(this, port, destination, destinationPort, 1001, answer.Sequence + 1);
            await connection.AcknowledgeAsync();
            return connection;
        }

        public async Task<Connection> AcceptAsync(ushort port)
        {
            var frame = await ReadAsync();
            var syn = Tcp(frame);
            Assert.Equal((port, 2), (syn.Port, syn.Flags));
            var (peer, peerPort) = (U32(frame, 26), U16(frame, 34));
            await SendTcpAsync(port, peer, peerPort, 5000, syn.Sequence + 1, 0x12, []);
            return new Connection(this, port, peer, peerPort, 5001, syn.Sequence + 1);
        }

        public async Task<Segment> NextAsync(ushort port)
        {
            while (true)
            {
                if (_segments.TryGetValue(port, out var waiting) && waiting.TryDequeue(out var segment))
                {
                    return segment;
                }

                var read = Tcp(await ReadAsync());
                if (!_segments.TryGetValue(read.Port, out var queue))
                {
                    _segments[read.Port] = queue = new Queue<Segment>();
                }

                queue.Enqueue(read);
            }
        }

        private static byte[] Ip(uint source, uint destination, byte protocol, int length)
        {
            var frame = new byte[34 + length];
            Convert.FromHexString("123456789ABC").CopyTo(frame, 0);
            s_mac.CopyTo(frame, 6);
            U16(frame, 12, 0x0800);
            frame[14] = 0x45;
            U16(frame, 16, (ushort)(20 + length));
            frame[22] = 64;
            frame[23] = protocol;
            U32(frame, 26, source);
            U32(frame, 30, destination);
            return frame;
        }

        public sealed class Connection(Guest guest, ushort port, uint destination, ushort destinationPort, uint sequence, uint expected)
        {
            private readonly uint _start = sequence;
            private uint _sequence = sequence;
            private uint _expected = expected;

            public Task AcknowledgeAsync() => guest.SendTcpAsync(port, destination, destinationPort, _sequence, _expected, 0x10, []);

            public async Task SendAsync(byte[] data)
            {
                await guest.SendTcpAsync(port, destination, destinationPort, _sequence, _expected, 0x18, data);
                _sequence += (uint)data.Length;
            }

            public Task SendAtAsync(uint offset, byte[] data) =>
                guest.SendTcpAsync(port, destination, destinationPort, _start + offset, _expected, 0x18, data);

            public async Task<Segment> ReadSegmentAsync(Func<Segment, bool> wanted)
            {
                Segment segment;
                do
                {
                    segment = await guest.NextAsync(port);
                }
                while (!wanted(segment));
                return segment;
            }

            public async Task<byte[]> ReadToEndAsync()
            {
                using var bytes = new MemoryStream();
                while (true)
                {
                    var segment = await guest.NextAsync(port);
                    Assert.Equal(0, segment.Flags & 4);
                    if (segment.Sequence == _expected)
                    {
                        bytes.Write(segment.Data);
                        _expected += (uint)segment.Data.Length;
                        if ((segment.Flags & 1) != 0)
                        {
                            _expected++;
                            await guest.SendTcpAsync(port, destination, destinationPort, _sequence, _expected, 0x11, []);
                            return bytes.ToArray();
                        }
                    }

                    if (segment.Data.Length > 0)
                    {
                        await AcknowledgeAsync();
                    }
                }
            }
        }
    }
}
