using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;

namespace ArchAzure.SimulatedAzure;

/// <summary>What the simulated virtual network tells the machine, and how it treats its flows.</summary>
internal sealed record VirtualNetworkOptions
{
    /// <summary>DHCP's lease time in seconds. Azure gives 0xffffffff, which means for ever (RFC 2131, 3.3).</summary>
    public uint LeaseSeconds { get; init; } = uint.MaxValue;

    /// <summary>True to give the wire server's address in DHCP option 245, as Azure does.</summary>
    public bool OfferWireServerAddress { get; init; } = true;

    /// <summary>
    /// After this time without a packet a flow into the machine is forgotten without a word: later packets of it vanish,
    /// as at Azure's load balancer (4 minutes unless set otherwise). Null: never.
    /// </summary>
    public TimeSpan? ForgetIdleFlowsAfter { get; init; }
}

/// <summary>
/// Azure's virtual network as one machine sees it: a DHCP server, a router, the platform's addresses, and TCP between
/// the machine and services of this process. There is nothing else: the machine reaches neither the host nor the world.
/// </summary>
/// <remarks>
/// Why our own, and not QEMU's user-mode network: there the guest's 168.63.129.16:80 and :32526 would have to be those
/// very ports on the host's loopback (privileged, perhaps taken); its <c>guestfwd</c> shares one connection between all
/// of the guest's (a chardev) or starts a program for each; 169.254.169.254 lies outside its subnet; its DHCP has
/// neither option 121 nor 245 and a lease of a day; some distributions build QEMU without it; and a guest that is not
/// ours should not reach the host's loopback services. Frames come over QEMU's stream socket (a length of 4 bytes, high
/// byte first, then an Ethernet frame), so no port on the host is used and no privilege is needed.
/// </remarks>
internal sealed class VirtualNetwork : IAsyncDisposable
{
    /// <summary>The wire server's and the host plugin's address, the same in every region.</summary>
    public static readonly IPAddress WireServerAddress = IPAddress.Parse("168.63.129.16");

    /// <summary>The instance metadata service's address.</summary>
    public static readonly IPAddress MetadataAddress = IPAddress.Parse("169.254.169.254");

    // A subnet of 24 bits, its router, and the machine in it; 00-0D-3A is one of Microsoft's ranges.
    public const string SubnetAddress = "10.0.0.0";
    public static readonly IPAddress Gateway = IPAddress.Parse("10.0.0.1");
    public static readonly IPAddress GuestAddress = IPAddress.Parse("10.0.0.4");
    public static readonly byte[] GuestMac = [0x00, 0x0D, 0x3A, 0x11, 0x22, 0x33];

    // The router's hardware address in every Azure virtual network.
    private static readonly byte[] s_routerMac = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc];
    private static readonly uint s_guest = ToUInt32(GuestAddress);
    private static readonly byte[] s_broadcast = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

    private const int EthernetHeader = 14;
    private const int Ipv4Header = 20;
    private const int MaximumFrame = 65536;

    // A guest may open connections without end, and ask for answers that it does not take. It sends again what is dropped here.
    private const int MostFlows = 1000;
    private const int MostFrames = 4096;
    private static readonly TimeSpan s_tick = TimeSpan.FromMilliseconds(200);

    private readonly VirtualNetworkOptions _options;
    private readonly Dictionary<(uint Address, ushort Port), Func<Stream, CancellationToken, Task>> _services = [];
    private readonly ConcurrentDictionary<FlowKey, GuestTcpStream> _flows = new();
    private readonly Channel<byte[]> _outgoing = Channel.CreateBounded<byte[]>(
        new BoundedChannelOptions(MostFrames) { SingleReader = true });
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<Task, byte> _tasks = new();
    private readonly List<TcpListener> _listeners = [];
    private volatile TaskCompletionSource _up = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private byte[] _guestMac = s_broadcast;
    private ushort _identification;
    private int _nextPort = 49152;

    public VirtualNetwork(VirtualNetworkOptions? options = null) => _options = options ?? new VirtualNetworkOptions();

    /// <summary>The machine has been given its address (it acknowledged none before).</summary>
    public Action? AddressAssigned { get; set; }

    public TimeSpan? ForgetIdleFlowsAfter => _options.ForgetIdleFlowsAfter;

    /// <summary>Offers a TCP service to the machine. Call before <see cref="RunAsync"/>.</summary>
    /// <param name="address">The address at which the machine finds it.</param>
    /// <param name="port">The port.</param>
    /// <param name="serve">Called with each new connection; the stream is closed when it ends.</param>
    public void Listen(IPAddress address, int port, Func<Stream, CancellationToken, Task> serve) =>
        _services.Add((ToUInt32(address), checked((ushort)port)), serve);

    /// <summary>Carries frames until the link ends or the token is cancelled.</summary>
    public async Task RunAsync(Stream link, CancellationToken cancellationToken)
    {
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _stop.Token);
        var sending = SendFramesAsync(link, linked.Token);
        var ticking = TickAsync(linked.Token);
        try
        {
            await ReceiveFramesAsync(link, linked.Token);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The machine has ended, or we have: either way there is nobody to carry frames for.
        }
        finally
        {
            await linked.CancelAsync();
            foreach (var flow in _flows.Values)
            {
                flow.Abort("the machine has ended");
            }

            await Task.WhenAll(sending, ticking);
        }
    }

    /// <summary>
    /// Opens a TCP connection to the machine, once its operating system has an address: before that nobody is there, and
    /// what is sent would only queue up in QEMU before the firmware's network driver.
    /// </summary>
    /// <exception cref="IOException">The machine refuses (no one listens), or has ended.</exception>
    public async Task<Stream> ConnectAsync(int port, CancellationToken cancellationToken)
    {
        await _up.Task.WaitAsync(cancellationToken);

        // The client's address is one outside the subnet, as that of someone on the Internet.
        var client = ToUInt32(IPAddress.Parse("203.0.113.10"));
        FlowKey key;
        GuestTcpStream flow;
        do
        {
            key = new FlowKey(client, (ushort)(49152 + (Interlocked.Increment(ref _nextPort) % 16384)), checked((ushort)port));
            flow = new GuestTcpStream(this, key, isInbound: true);
        }
        while (!_flows.TryAdd(key, flow));

        try
        {
            await flow.ConnectAsync(cancellationToken);
            return flow;
        }
        catch
        {
            flow.Abort("the connection was given up");
            await flow.DisposeAsync();
            throw;
        }
    }

    /// <summary>Told that the machine was reset: its connections are gone, and nobody sends to it before it has an address again.</summary>
    public void OnGuestReset()
    {
        _up = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        foreach (var flow in _flows.Values)
        {
            flow.Abort("the machine was reset");
        }
    }

    /// <summary>Opens a free port on the host's loopback whose connections are carried to the machine.</summary>
    /// <param name="guestPort">The machine's port.</param>
    /// <returns>The port on 127.0.0.1.</returns>
    public int ForwardFromLoopback(int guestPort)
    {
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        lock (_listeners)
        {
            _listeners.Add(listener);
        }

        Track(AcceptAsync(listener, guestPort));
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        lock (_listeners)
        {
            _listeners.ForEach(listener => listener.Stop());
        }

        foreach (var flow in _flows.Values)
        {
            flow.Abort("the network has ended");
        }

        await Task.WhenAll(_tasks.Keys);
        _stop.Dispose();
    }

    public bool IsGuestUp => _up.Task.IsCompleted;

    public void Remove(FlowKey key) => _flows.TryRemove(key, out _);

    /// <summary>Sends one TCP segment to the machine.</summary>
    public void SendSegment(FlowKey key, uint sequence, uint acknowledgement, TcpFlags flags, int window, ReadOnlySpan<byte> data)
    {
        // With SYN: the maximum segment size (RFC 9293, 3.7.1). No window scaling: 64 KiB in flight is plenty here.
        var options = flags.HasFlag(TcpFlags.Syn) ? 4 : 0;
        var frame = Frame(key.LocalAddress, s_guest, protocol: 6, 20 + options + data.Length, out var segment);
        U16(segment, 0, key.LocalPort);
        U16(segment, 2, key.GuestPort);
        U32(segment, 4, sequence);
        U32(segment, 8, acknowledgement);
        segment[12] = (byte)((20 + options) / 4 << 4);
        segment[13] = (byte)flags;
        U16(segment, 14, (ushort)window);
        if (options > 0)
        {
            segment[20] = 2;
            segment[21] = 4;
            U16(segment, 22, GuestTcpStream.MaximumSegment);
        }

        data.CopyTo(segment[(20 + options)..]);
        U16(segment, 16, Checksum(segment, PseudoHeader(key.LocalAddress, s_guest, 6, segment.Length)));
        _outgoing.Writer.TryWrite(frame);
    }

    public static uint ToUInt32(IPAddress address) => BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes());

    private async Task AcceptAsync(TcpListener listener, int guestPort)
    {
        while (!_stop.IsCancellationRequested)
        {
            TcpClient client;
            try
            {
                client = await listener.AcceptTcpClientAsync(_stop.Token);
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                return;
            }

            Track(RelayAsync(client, guestPort));
        }
    }

    private async Task RelayAsync(TcpClient client, int guestPort)
    {
        using (client)
        {
            try
            {
                client.NoDelay = true;
                await using var host = client.GetStream();
                await using var guest = await ConnectAsync(guestPort, _stop.Token);
                var toGuest = host.CopyToAsync(guest, _stop.Token);
                var toHost = guest.CopyToAsync(host, _stop.Token);
                await await Task.WhenAny(toGuest, toHost);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
            {
                // Closing the client's socket tells it all there is to tell.
            }
        }
    }

    private void Track(Task task)
    {
        _tasks.TryAdd(task, 0);
        _ = task.ContinueWith(
            done => _tasks.TryRemove(done, out _), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);
    }

    private async Task ReceiveFramesAsync(Stream link, CancellationToken cancellationToken)
    {
        var header = new byte[4];
        var frame = new byte[MaximumFrame];
        while (true)
        {
            await link.ReadExactlyAsync(header, cancellationToken);
            var length = BinaryPrimitives.ReadUInt32BigEndian(header);
            if (length > MaximumFrame)
            {
                throw new IOException($"QEMU sent a frame of {length} bytes; none is longer than {MaximumFrame}.");
            }

            await link.ReadExactlyAsync(frame.AsMemory(0, (int)length), cancellationToken);
            OnFrame(frame.AsSpan(0, (int)length));
        }
    }

    private async Task SendFramesAsync(Stream link, CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var frame in _outgoing.Reader.ReadAllAsync(cancellationToken))
            {
                var message = new byte[4 + frame.Length];
                BinaryPrimitives.WriteUInt32BigEndian(message, (uint)frame.Length);
                frame.CopyTo(message, 4);
                await link.WriteAsync(message, cancellationToken);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The receiving side sees the same end and tells the flows.
        }
    }

    private async Task TickAsync(CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(s_tick);
        try
        {
            while (await timer.WaitForNextTickAsync(cancellationToken))
            {
                foreach (var flow in _flows.Values)
                {
                    flow.Tick();
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The link has ended.
        }
    }

    private void OnFrame(ReadOnlySpan<byte> frame)
    {
        if (frame.Length < EthernetHeader)
        {
            return;
        }

        var type = BinaryPrimitives.ReadUInt16BigEndian(frame[12..]);
        var payload = frame[EthernetHeader..];
        if (type == 0x0806)
        {
            OnArp(frame, payload);
        }
        else if (type == 0x0800)
        {
            OnIpv4(frame, payload);
        }
    }

    // Every address but the machine's own is reached through the router (Azure's subnets have no broadcast domain).
    private void OnArp(ReadOnlySpan<byte> frame, ReadOnlySpan<byte> arp)
    {
        if (arp.Length < 28 || BinaryPrimitives.ReadUInt16BigEndian(arp[6..]) != 1)
        {
            return;
        }

        var sender = BinaryPrimitives.ReadUInt32BigEndian(arp[14..]);
        var target = BinaryPrimitives.ReadUInt32BigEndian(arp[24..]);
        if (target == s_guest || sender == target)
        {
            return;
        }

        var reply = new byte[EthernetHeader + 28];
        frame.Slice(6, 6).CopyTo(reply);
        s_routerMac.CopyTo(reply, 6);
        U16(reply, 12, 0x0806);
        arp[..6].CopyTo(reply.AsSpan(14));
        U16(reply, 20, 2);
        s_routerMac.CopyTo(reply, 22);
        arp.Slice(24, 4).CopyTo(reply.AsSpan(28));
        arp.Slice(8, 10).CopyTo(reply.AsSpan(32));
        _outgoing.Writer.TryWrite(reply);
    }

    private void OnIpv4(ReadOnlySpan<byte> frame, ReadOnlySpan<byte> packet)
    {
        if (packet.Length < Ipv4Header || packet[0] >> 4 != 4)
        {
            return;
        }

        var header = (packet[0] & 15) * 4;
        int total = BinaryPrimitives.ReadUInt16BigEndian(packet[2..]);
        var fragment = BinaryPrimitives.ReadUInt16BigEndian(packet[6..]) & 0x3FFF;
        if (header < Ipv4Header || total < header || total > packet.Length || fragment != 0)
        {
            return;
        }

        frame.Slice(6, 6).CopyTo(_guestMac = new byte[6]);
        var source = BinaryPrimitives.ReadUInt32BigEndian(packet[12..]);
        var destination = BinaryPrimitives.ReadUInt32BigEndian(packet[16..]);
        var data = packet[header..total];
        if (source == s_guest)
        {
            _up.TrySetResult();
        }

        switch (packet[9])
        {
            case 1 when data.Length >= 8 && data[0] == 8:
                SendIcmp(destination, source, 0, data);
                break;
            case 6 when data.Length >= 20:
                OnTcp(source, destination, data);
                break;
            case 17 when data.Length >= 8:
                OnUdp(source, destination, packet[..total], data);
                break;
            default:
                break;
        }
    }

    private void OnUdp(uint source, uint destination, ReadOnlySpan<byte> packet, ReadOnlySpan<byte> datagram)
    {
        var sourcePort = BinaryPrimitives.ReadUInt16BigEndian(datagram);
        var port = BinaryPrimitives.ReadUInt16BigEndian(datagram[2..]);
        var payload = datagram[8..];
        if (port == 67)
        {
            var reply = DhcpServer.Answer(payload, _options, out var acknowledged);
            if (reply is not null)
            {
                SendUdp(ToUInt32(WireServerAddress), 67, 0xFFFFFFFF, 68, reply);
                if (acknowledged)
                {
                    AddressAssigned?.Invoke();
                }
            }
        }
        else if (port == 53 && payload.Length >= 12)
        {
            // Every name is unknown here, and that is said at once, so that nothing waits for a resolver's time-out.
            var answer = payload.ToArray();
            U16(answer, 2, (ushort)(0x8083 | (payload[2] << 8 & 0x0100)));
            answer.AsSpan(6, 6).Clear();
            answer = answer[..QuestionEnd(answer)];
            SendUdp(destination, 53, source, sourcePort, answer);
        }
        else if (destination != 0xFFFFFFFF && destination >> 28 != 14)
        {
            // Port unreachable: an NTP client learns at once that there is nobody.
            var quoted = packet[..Math.Min(packet.Length, ((packet[0] & 15) * 4) + 8)];
            var message = new byte[8 + quoted.Length];
            message[1] = 3;
            quoted.CopyTo(message.AsSpan(8));
            SendIcmp(destination, source, 3, message);
        }
    }

    private static int QuestionEnd(ReadOnlySpan<byte> message)
    {
        var offset = 12;
        while (offset < message.Length && message[offset] != 0)
        {
            offset += 1 + message[offset];
        }

        return Math.Min(message.Length, offset + 5);
    }

    private void OnTcp(uint source, uint destination, ReadOnlySpan<byte> segment)
    {
        var key = new FlowKey(
            destination, BinaryPrimitives.ReadUInt16BigEndian(segment[2..]), BinaryPrimitives.ReadUInt16BigEndian(segment));
        var sequence = BinaryPrimitives.ReadUInt32BigEndian(segment[4..]);
        var acknowledgement = BinaryPrimitives.ReadUInt32BigEndian(segment[8..]);
        var header = (segment[12] >> 4) * 4;
        var flags = (TcpFlags)segment[13];
        if (source != s_guest || header < 20 || header > segment.Length)
        {
            return;
        }

        var data = segment[header..];
        if (_flows.TryGetValue(key, out var flow))
        {
            var window = BinaryPrimitives.ReadUInt16BigEndian(segment[14..]);
            flow.OnSegment(sequence, acknowledgement, flags, window, MaximumSegmentOf(segment[20..header]), data);
        }
        else if ((flags & (TcpFlags.Syn | TcpFlags.Ack | TcpFlags.Reset)) == TcpFlags.Syn && _flows.Count < MostFlows
            && _services.TryGetValue((destination, key.LocalPort), out var serve))
        {
            flow = new GuestTcpStream(this, key, isInbound: false);
            _flows[key] = flow;
            flow.Accept(sequence, MaximumSegmentOf(segment[20..header]));
            Track(ServeAsync(flow, serve));
        }
        else if (!flags.HasFlag(TcpFlags.Reset))
        {
            var length = (uint)data.Length + (flags.HasFlag(TcpFlags.Syn) ? 1u : 0) + (flags.HasFlag(TcpFlags.Fin) ? 1u : 0);
            SendSegment(key, flags.HasFlag(TcpFlags.Ack) ? acknowledgement : 0, sequence + length, TcpFlags.Reset | TcpFlags.Ack, 0, []);
        }
    }

    private async Task ServeAsync(GuestTcpStream flow, Func<Stream, CancellationToken, Task> serve)
    {
        // Off the receiving loop at once: a service that answers synchronously must not hold up the frames.
        await Task.Yield();
        await using (flow)
        {
            try
            {
                await serve(flow, _stop.Token);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
            {
                // The machine closed the connection.
            }
        }
    }

    private static int MaximumSegmentOf(ReadOnlySpan<byte> options)
    {
        while (options.Length >= 2 && options[0] != 0)
        {
            if (options[0] == 1)
            {
                options = options[1..];
                continue;
            }

            if (options[1] < 2 || options[1] > options.Length)
            {
                break;
            }

            if (options[0] == 2 && options[1] == 4)
            {
                return BinaryPrimitives.ReadUInt16BigEndian(options[2..]);
            }

            options = options[options[1]..];
        }

        // RFC 9293, 3.7.1: what holds where nothing is said.
        return 536;
    }

    private void SendUdp(uint source, ushort sourcePort, uint destination, ushort destinationPort, ReadOnlySpan<byte> payload)
    {
        var frame = Frame(source, destination, protocol: 17, 8 + payload.Length, out var datagram);
        U16(datagram, 0, sourcePort);
        U16(datagram, 2, destinationPort);
        U16(datagram, 4, (ushort)datagram.Length);
        payload.CopyTo(datagram[8..]);
        U16(datagram, 6, Checksum(datagram, PseudoHeader(source, destination, 17, datagram.Length)));
        _outgoing.Writer.TryWrite(frame);
    }

    private void SendIcmp(uint source, uint destination, byte type, ReadOnlySpan<byte> message)
    {
        var frame = Frame(source, destination, protocol: 1, message.Length, out var icmp);
        message.CopyTo(icmp);
        icmp[0] = type;
        U16(icmp, 2, 0);
        U16(icmp, 2, Checksum(icmp, 0));
        _outgoing.Writer.TryWrite(frame);
    }

    private byte[] Frame(uint source, uint destination, byte protocol, int length, out Span<byte> payload)
    {
        var frame = new byte[EthernetHeader + Ipv4Header + length];
        (destination == 0xFFFFFFFF ? s_broadcast : _guestMac).CopyTo(frame, 0);
        s_routerMac.CopyTo(frame, 6);
        U16(frame, 12, 0x0800);
        var header = frame.AsSpan(EthernetHeader, Ipv4Header);
        header[0] = 0x45;
        U16(header, 2, (ushort)(Ipv4Header + length));
        U16(header, 4, unchecked(++_identification));
        header[8] = 64;
        header[9] = protocol;
        U32(header, 12, source);
        U32(header, 16, destination);
        U16(header, 10, Checksum(header, 0));
        payload = frame.AsSpan(EthernetHeader + Ipv4Header);
        return frame;
    }

    private static uint PseudoHeader(uint source, uint destination, byte protocol, int length) =>
        (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF) + protocol + (uint)length;

    // RFC 1071.
    private static ushort Checksum(ReadOnlySpan<byte> data, uint sum)
    {
        for (; data.Length > 1; data = data[2..])
        {
            sum += BinaryPrimitives.ReadUInt16BigEndian(data);
        }

        if (data.Length == 1)
        {
            sum += (uint)data[0] << 8;
        }

        while (sum >> 16 != 0)
        {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        return (ushort)~sum;
    }

    private static void U16(Span<byte> span, int offset, ushort value) => BinaryPrimitives.WriteUInt16BigEndian(span[offset..], value);

    private static void U32(Span<byte> span, int offset, uint value) => BinaryPrimitives.WriteUInt32BigEndian(span[offset..], value);
}

/// <summary>A flow between the machine and this network, named as this side sees it.</summary>
internal sealed record FlowKey(uint LocalAddress, ushort LocalPort, ushort GuestPort);

[Flags]
internal enum TcpFlags : byte
{
    None = 0,
    Fin = 1,
    Syn = 2,
    Reset = 4,
    Push = 8,
    Ack = 16,
}
