using System.Buffers.Binary;
using System.Text;

namespace ArchAzure.SimulatedAzure;

/// <summary>
/// Answers a DHCP client as Azure does (RFC 2131): one address, for ever, with the platform's routes
/// (option 121, RFC 3442, and its older twin 249) and the wire server's address (option 245).
/// </summary>
internal static class DhcpServer
{
    private const int Magic = 236;
    private const uint MagicCookie = 0x63825363;

    private enum MessageType : byte
    {
        Discover = 1,
        Offer = 2,
        Request = 3,
        Acknowledge = 5,
        NotAcknowledge = 6,
        Inform = 8,
    }

    /// <summary>The answer to a client's message, or null where none is due.</summary>
    public static byte[]? Answer(ReadOnlySpan<byte> request, VirtualNetworkOptions options, out bool acknowledged)
    {
        acknowledged = false;
        if (request.Length < Magic + 4 || request[0] != 1 || BinaryPrimitives.ReadUInt32BigEndian(request[Magic..]) != MagicCookie)
        {
            return null;
        }

        var type = (MessageType)(Option(request, 53) is [var code] ? code : 0);
        var address = VirtualNetwork.GuestAddress.GetAddressBytes();
        MessageType answer;
        switch (type)
        {
            case MessageType.Discover:
                answer = MessageType.Offer;
                break;
            case MessageType.Request:
                // A client that comes with the address of another network is told so, and starts again.
                var wanted = Option(request, 50);
                var current = request.Slice(12, 4);
                var right = wanted.Length == 4 ? wanted.SequenceEqual(address) : current.SequenceEqual(address);
                answer = right ? MessageType.Acknowledge : MessageType.NotAcknowledge;
                break;
            case MessageType.Inform:
                answer = MessageType.Acknowledge;
                break;
            default:
                return null;
        }

        acknowledged = answer == MessageType.Acknowledge;
        using var message = new MemoryStream();
        var fixedPart = new byte[Magic + 4];
        fixedPart[0] = 2;
        fixedPart[1] = 1;
        fixedPart[2] = 6;
        request.Slice(4, 4).CopyTo(fixedPart.AsSpan(4));
        request.Slice(10, 2).CopyTo(fixedPart.AsSpan(10));
        if (answer != MessageType.NotAcknowledge && type != MessageType.Inform)
        {
            address.CopyTo(fixedPart, 16);
        }

        var server = VirtualNetwork.WireServerAddress.GetAddressBytes();
        request.Slice(28, 16).CopyTo(fixedPart.AsSpan(28));
        BinaryPrimitives.WriteUInt32BigEndian(fixedPart.AsSpan(Magic), MagicCookie);
        message.Write(fixedPart);
        Add(message, 53, [(byte)answer]);
        Add(message, 54, server);
        if (answer != MessageType.NotAcknowledge)
        {
            if (type != MessageType.Inform)
            {
                var lease = new byte[4];
                BinaryPrimitives.WriteUInt32BigEndian(lease, options.LeaseSeconds);
                Add(message, 51, lease);
            }

            Add(message, 1, [255, 255, 255, 0]);
            Add(message, 3, VirtualNetwork.Gateway.GetAddressBytes());
            Add(message, 6, server);
            Add(message, 15, Encoding.ASCII.GetBytes("internal.cloudapp.net"));
            var routes = Routes();
            Add(message, 121, routes);
            Add(message, 249, routes);
            if (options.OfferWireServerAddress)
            {
                Add(message, 245, server);
            }
        }

        message.WriteByte(255);
        while (message.Length < 300)
        {
            // RFC 1542, 2.1: no BOOTP message is shorter than 300 bytes.
            message.WriteByte(0);
        }

        return message.ToArray();
    }

    private static byte[] Routes()
    {
        var gateway = VirtualNetwork.Gateway.GetAddressBytes();
        return
        [
            0, .. gateway,
            32, .. VirtualNetwork.WireServerAddress.GetAddressBytes(), .. gateway,
            32, .. VirtualNetwork.MetadataAddress.GetAddressBytes(), .. gateway,
        ];
    }

    private static void Add(MemoryStream message, byte option, ReadOnlySpan<byte> value)
    {
        message.WriteByte(option);
        message.WriteByte((byte)value.Length);
        message.Write(value);
    }

    private static ReadOnlySpan<byte> Option(ReadOnlySpan<byte> message, byte wanted)
    {
        var options = message[(Magic + 4)..];
        while (options.Length >= 2 && options[0] != 255)
        {
            if (options[0] == 0)
            {
                options = options[1..];
                continue;
            }

            if (options.Length < 2 + options[1])
            {
                break;
            }

            if (options[0] == wanted)
            {
                return options.Slice(2, options[1]);
            }

            options = options[(2 + options[1])..];
        }

        return [];
    }
}
