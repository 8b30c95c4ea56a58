namespace ArchAzure.SimulatedAzure;

/// <summary>
/// One TCP connection between the machine and the simulated network, as a stream (RFC 9293, the part that a link
/// needs which neither reorders nor loses: in-order receipt, cumulative acknowledgement, go-back-N on a timer).
/// </summary>
/// <remarks>
/// The timer is there because frames do get lost while the guest's interface is not up yet, and because a guest whose
/// receive ring is full drops.
/// </remarks>
internal sealed class GuestTcpStream : Stream
{
    /// <summary>Bytes of a segment: what an Ethernet frame of 1500 bytes carries.</summary>
    public const ushort MaximumSegment = 1460;

    private const int ReceiveBuffer = 65535;
    private const int SendBuffer = 256 * 1024;
    private const int Retries = 10;
    private static readonly TimeSpan s_firstTimeout = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_longestTimeout = TimeSpan.FromSeconds(8);
    private static readonly TimeSpan s_linger = TimeSpan.FromSeconds(10);

    private readonly VirtualNetwork _network;
    private readonly FlowKey _key;
    private readonly bool _isInbound;
    private readonly object _gate = new();
    private readonly ByteQueue _received = new();
    private readonly ByteQueue _toSend = new();
    private readonly TaskCompletionSource _connected = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private State _state = State.New;
    private uint _unacknowledged;
    private uint _next;
    private uint _expected;
    private int _window = MaximumSegment;
    private int _segment = MaximumSegment;
    private bool _closing;
    private bool _finSent;
    private bool _finAcknowledged;
    private bool _guestFinished;
    private bool _advertisedZero;
    private string? _failure;
    private long _lastProgress;
    private long _lastPacket;
    private long _closedAt;
    private TimeSpan _timeout = s_firstTimeout;
    private int _retries;

    public GuestTcpStream(VirtualNetwork network, FlowKey key, bool isInbound)
    {
        _network = network;
        _key = key;
        _isInbound = isInbound;
        _lastProgress = _lastPacket = Environment.TickCount64;
        _unacknowledged = _next = unchecked((uint)Random.Shared.Next());
    }

    private enum State
    {
        New,
        SynSent,
        SynReceived,
        Established,
        Closed,
    }

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public async Task ConnectAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            _state = State.SynSent;
            Send(TcpFlags.Syn, _next++, []);
        }

        await _connected.Task.WaitAsync(cancellationToken);
    }

    public void Accept(uint sequence, int maximumSegment)
    {
        lock (_gate)
        {
            _state = State.SynReceived;
            _expected = sequence + 1;
            _segment = Math.Min(MaximumSegment, maximumSegment);
            Send(TcpFlags.Syn | TcpFlags.Ack, _next++, []);
        }
    }

    /// <summary>Ends the connection with an error for whoever reads or writes it.</summary>
    public void Abort(string reason)
    {
        lock (_gate)
        {
            if (_state == State.Closed)
            {
                return;
            }

            if (_state is State.Established or State.SynReceived)
            {
                Send(TcpFlags.Reset | TcpFlags.Ack, _next, []);
            }

            Fail(reason);
        }
    }

    public void OnSegment(uint sequence, uint acknowledgement, TcpFlags flags, int window, int maximumSegment, ReadOnlySpan<byte> data)
    {
        lock (_gate)
        {
            if (_state == State.Closed || Forgotten())
            {
                return;
            }

            _lastPacket = Environment.TickCount64;
            if (flags.HasFlag(TcpFlags.Reset))
            {
                var valid = _state == State.SynSent ? acknowledgement == _next : Distance(_expected, sequence) is >= 0 and <= ReceiveBuffer;
                if (valid)
                {
                    Fail(_state == State.SynSent ? "the machine refuses the connection" : "the machine reset the connection");
                }

                return;
            }

            if (_state == State.SynSent)
            {
                if (!flags.HasFlag(TcpFlags.Syn | TcpFlags.Ack) || acknowledgement != _next)
                {
                    return;
                }

                _expected = sequence + 1;
                _unacknowledged = acknowledgement;
                _segment = Math.Min(MaximumSegment, maximumSegment);
                _window = window;
                _state = State.Established;
                Progress();
                SendAcknowledgement();
                _connected.TrySetResult();
                return;
            }

            if (flags.HasFlag(TcpFlags.Syn))
            {
                // Our SYN was lost, or our acknowledgement: say it again.
                if (_state == State.SynReceived)
                {
                    Send(TcpFlags.Syn | TcpFlags.Ack, _unacknowledged, []);
                }
                else
                {
                    SendAcknowledgement();
                }

                return;
            }

            if (flags.HasFlag(TcpFlags.Ack))
            {
                OnAcknowledgement(acknowledgement, window);
            }

            OnData(sequence, flags, data);
            Pump();
            RemoveWhenDone();
        }
    }

    /// <summary>Called a few times a second: sends again what was not acknowledged, and lets go of what is over.</summary>
    public void Tick()
    {
        lock (_gate)
        {
            if (_state == State.Closed)
            {
                return;
            }

            if (_closedAt != 0 && Environment.TickCount64 - _closedAt > s_linger.TotalMilliseconds)
            {
                // Both sides had their time to say goodbye.
                Abort("the connection was closed");
                return;
            }

            var waiting = _next != _unacknowledged || (_toSend.Count > 0 && _window == 0);
            if (!waiting || Environment.TickCount64 - _lastProgress < _timeout.TotalMilliseconds)
            {
                return;
            }

            // A guest that boots may answer a SYN late; who waits for the connection decides how long.
            if (_state != State.SynSent && ++_retries > Retries)
            {
                Fail("the machine does not answer any more");
                return;
            }

            _lastProgress = Environment.TickCount64;
            _timeout = _state == State.SynSent ? s_firstTimeout : Min(_timeout * 2, s_longestTimeout);
            switch (_state)
            {
                case State.SynSent:
                    Send(TcpFlags.Syn, _unacknowledged, []);
                    break;
                case State.SynReceived:
                    Send(TcpFlags.Syn | TcpFlags.Ack, _unacknowledged, []);
                    break;
                default:
                    _next = _unacknowledged;
                    _finSent = false;
                    // A closed window is probed with one byte (RFC 9293, 3.8.6.1).
                    Pump(Math.Max(1, _window));
                    break;
            }
        }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (buffer.Length == 0)
        {
            return 0;
        }

        while (true)
        {
            Task changed;
            lock (_gate)
            {
                if (_received.Count > 0)
                {
                    var count = _received.Dequeue(buffer.Span);
                    if (_advertisedZero && _state != State.Closed && ReceiveWindow() >= MaximumSegment)
                    {
                        SendAcknowledgement();
                    }

                    return count;
                }

                if (_guestFinished)
                {
                    return 0;
                }

                ThrowIfFailed();
                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellationToken);
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (buffer.Length > 0)
        {
            Task changed;
            lock (_gate)
            {
                ThrowIfFailed();
                ObjectDisposedException.ThrowIf(_closing, this);
                var count = Math.Min(buffer.Length, SendBuffer - _toSend.Count);
                if (count > 0)
                {
                    if (_toSend.Count == 0)
                    {
                        _lastProgress = Environment.TickCount64;
                    }

                    _toSend.Enqueue(buffer.Span[..count]);
                    buffer = buffer[count..];
                    Pump();
                    continue;
                }

                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellationToken);
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) =>
        ReadAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

    public override void Write(byte[] buffer, int offset, int count) =>
        WriteAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

    public override void Flush()
    {
        // Segments are sent as soon as the window allows.
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>Closes this side; what is queued is still sent.</summary>
    protected override void Dispose(bool disposing)
    {
        lock (_gate)
        {
            if (!_closing && _state != State.Closed)
            {
                _closing = true;
                _closedAt = Math.Max(1, Environment.TickCount64);
                _received.Clear();
                _lastProgress = Environment.TickCount64;
                Pump();
                RemoveWhenDone();
            }
        }

        base.Dispose(disposing);
    }

    private void OnAcknowledgement(uint acknowledgement, int window)
    {
        var inFlight = Distance(_unacknowledged, _next);
        var count = Distance(_unacknowledged, acknowledgement);
        if (count < 0 || count > inFlight)
        {
            // After going back, an acknowledgement of what had been sent before may still come.
            if (count < 0 || count > _toSend.Count + 1)
            {
                return;
            }

            _next = acknowledgement;
        }

        _window = window;
        if (count == 0)
        {
            return;
        }

        if (_state == State.SynReceived)
        {
            _state = State.Established;
            _unacknowledged++;
            count--;
        }

        var bytes = Math.Min(count, _toSend.Count);
        _toSend.Skip(bytes);
        if (count > bytes && _closing)
        {
            _finSent = true;
            _finAcknowledged = true;
        }

        _unacknowledged = acknowledgement;
        Progress();
        Signal();
    }

    private void OnData(uint sequence, TcpFlags flags, ReadOnlySpan<byte> data)
    {
        var finish = flags.HasFlag(TcpFlags.Fin);
        if (data.Length == 0 && !finish)
        {
            if (Distance(_expected, sequence) < 0)
            {
                // A keepalive's sequence number lies before the window on purpose, to be answered.
                SendAcknowledgement();
            }

            return;
        }

        var known = Distance(sequence, _expected);
        if (known < 0 || known > data.Length)
        {
            SendAcknowledgement();
            return;
        }

        data = data[known..];
        var count = Math.Min(data.Length, ReceiveWindow());
        if (count > 0)
        {
            if (!_closing)
            {
                _received.Enqueue(data[..count]);
            }

            _expected += (uint)count;
        }

        if (finish && count == data.Length && !_guestFinished)
        {
            _expected++;
            _guestFinished = true;
        }

        Signal();
        SendAcknowledgement();
    }

    private void Pump() => Pump(_window);

    private void Pump(int window)
    {
        if (_state != State.Established)
        {
            return;
        }

        while (!_finSent)
        {
            var inFlight = Distance(_unacknowledged, _next);
            var count = Math.Min(Math.Min(_segment, _toSend.Count - inFlight), window - inFlight);
            if (count <= 0)
            {
                break;
            }

            var data = new byte[count];
            _toSend.Peek(inFlight, data);
            Send(TcpFlags.Ack | TcpFlags.Push, _next, data);
            _next += (uint)count;
        }

        if (_closing && !_finSent && Distance(_unacknowledged, _next) == _toSend.Count)
        {
            Send(TcpFlags.Fin | TcpFlags.Ack, _next++, []);
            _finSent = true;
        }
    }

    private void SendAcknowledgement() => Send(TcpFlags.Ack, _next, []);

    private void Send(TcpFlags flags, uint sequence, ReadOnlySpan<byte> data)
    {
        if (Forgotten() || !_network.IsGuestUp)
        {
            return;
        }

        _lastPacket = Environment.TickCount64;
        var window = ReceiveWindow();
        _advertisedZero = window < MaximumSegment;
        _network.SendSegment(_key, sequence, flags.HasFlag(TcpFlags.Ack) ? _expected : 0, flags, window, data);
    }

    // Azure's load balancer sits before flows into the machine, not before those to the platform's own addresses.
    private bool Forgotten() =>
        _isInbound && _network.ForgetIdleFlowsAfter is { } limit && Environment.TickCount64 - _lastPacket > limit.TotalMilliseconds;

    private int ReceiveWindow() => Math.Max(0, ReceiveBuffer - _received.Count);

    private void Progress()
    {
        _lastProgress = Environment.TickCount64;
        _timeout = s_firstTimeout;
        _retries = 0;
    }

    private void RemoveWhenDone()
    {
        if (_closing && _finAcknowledged && _guestFinished && _state != State.Closed)
        {
            _state = State.Closed;
            _network.Remove(_key);
            Signal();
        }
    }

    private void Fail(string reason)
    {
        _failure = reason;
        _state = State.Closed;
        _network.Remove(_key);
        _connected.TrySetException(new IOException($"Port {_key.GuestPort} of the simulated machine: {reason}."));
        Signal();
    }

    private void ThrowIfFailed()
    {
        if (_failure is not null)
        {
            throw new IOException($"Port {_key.GuestPort} of the simulated machine: {_failure}.");
        }
    }

    private void Signal()
    {
        var changed = _changed;
        _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        changed.TrySetResult();
    }

    // Sequence numbers wrap (RFC 9293, 3.4).
    private static int Distance(uint from, uint to) => unchecked((int)(to - from));

    private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;

    /// <summary>Bytes in the order in which they came, in a ring that grows.</summary>
    private sealed class ByteQueue
    {
        private byte[] _buffer = new byte[4096];
        private int _head;

        public int Count { get; private set; }

        public void Enqueue(ReadOnlySpan<byte> data)
        {
            if (Count + data.Length > _buffer.Length)
            {
                var larger = new byte[Math.Max(_buffer.Length * 2, Count + data.Length)];
                Peek(0, larger.AsSpan(0, Count));
                _buffer = larger;
                _head = 0;
            }

            var tail = (_head + Count) % _buffer.Length;
            var first = Math.Min(data.Length, _buffer.Length - tail);
            data[..first].CopyTo(_buffer.AsSpan(tail));
            data[first..].CopyTo(_buffer);
            Count += data.Length;
        }

        public int Dequeue(Span<byte> destination)
        {
            var count = Math.Min(destination.Length, Count);
            Peek(0, destination[..count]);
            Skip(count);
            return count;
        }

        public void Peek(int offset, Span<byte> destination)
        {
            var start = (_head + offset) % _buffer.Length;
            var first = Math.Min(destination.Length, _buffer.Length - start);
            _buffer.AsSpan(start, first).CopyTo(destination);
            _buffer.AsSpan(0, destination.Length - first).CopyTo(destination[first..]);
        }

        public void Skip(int count)
        {
            _head = (_head + count) % _buffer.Length;
            Count -= count;
        }

        public void Clear() => Skip(Count);
    }
}
