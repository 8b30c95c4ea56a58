namespace ArchAzure.FileSystems;

/// <summary>A program for UEFI.</summary>
/// <remarks>Source: PE Format (https://learn.microsoft.com/windows/win32/debug/pe-format).</remarks>
internal sealed class PortableExecutable
{
    private const int HeadLength = 4096;
    private const int PeOffsetField = 0x3C;
    private const int CoffHeaderLength = 24;
    private const int SectionLength = 40;
    private const int CertificateTable = 4;

    private readonly byte[] _head;
    private readonly int _optional;

    private PortableExecutable(byte[] head, int pe)
    {
        _head = head;
        _optional = pe + CoffHeaderLength;
        Machine = head.U16(pe + 4);
    }

    /// <summary>The processor it is for, e.g. 0x8664 for x86-64.</summary>
    public int Machine { get; }

    /// <summary>Whether its optional header is that of 64-bit programs.</summary>
    public bool IsPe32Plus => _head.U16(_optional) == 0x20B;

    /// <summary>What it is, e.g. 10 for a UEFI application.</summary>
    public int Subsystem => _head.U16(_optional + 68);

    /// <summary>Whether it carries signatures; whose is not looked at.</summary>
    public bool IsSigned =>
        IsPe32Plus && _head.U32(_optional + 108) > CertificateTable && _head.U32(_optional + 112 + (CertificateTable * 8) + 4) > 0;

    /// <summary>Reads the headers, or tells by null that it is none.</summary>
    /// <param name="stream">The program. All known ones have their headers in the first 4096 bytes.</param>
    public static PortableExecutable? TryRead(Stream stream)
    {
        var head = new byte[HeadLength];
        var length = stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        if (length < 64 || head.U16(0) != 0x5A4D)
        {
            return null;
        }

        // With room for the fields of the optional header.
        var pe = head.U32(PeOffsetField);
        return pe > length - CoffHeaderLength - 160 || head.U32((int)pe) != 0x0000_4550 ? null : new(head, (int)pe);
    }

    /// <summary>Where a section lies in the file, or null if there is none of the name.</summary>
    public (long Offset, long Length)? Section(string name)
    {
        var first = _optional + _head.U16(_optional - 4);
        for (var index = 0; index < _head.U16(_optional - CoffHeaderLength + 6); index++)
        {
            var at = first + (index * SectionLength);
            if (at > _head.Length - SectionLength)
            {
                return null;
            }

            if (_head.At(at, 8).Text() == name)
            {
                // What is in memory may be shorter than in the file, where it is padded.
                return (_head.U32(at + 20), Math.Min(_head.U32(at + 8), _head.U32(at + 16)));
            }
        }

        return null;
    }
}
