using System.Buffers.Binary;
using System.Text;

namespace ArchAzure.UnitTests.Readiness;

/// <summary>modules.dep.bin as depmod writes it: kmod, libkmod/libkmod-index.c.</summary>
internal static class ModuleIndex
{
    private const uint Prefix = 0x80000000;
    private const uint Values = 0x40000000;
    private const uint Children = 0x20000000;

    /// <summary>A root with a prefix and a child for each letter that a module begins with; all modules of a letter at its node.</summary>
    public static byte[] Write(IEnumerable<string> modules)
    {
        var letters = modules.GroupBy(module => (byte)module[(module.LastIndexOf('/') + 1)]).OrderBy(group => group.Key).ToList();
        var index = new MemoryStream();
        index.Write([0xB0, 0x07, 0xF4, 0x57, 0, 2, 0, 1, 0, 0, 0, 0]);
        var offsets = new uint[256];
        foreach (var letter in letters)
        {
            offsets[letter.Key] = (uint)index.Position | Values;
            Number(index, (uint)letter.Count());
            foreach (var module in letter)
            {
                // A priority with bytes that are letters.
                Number(index, 0x4142);
                index.Write(Encoding.ASCII.GetBytes($"{module}:\0"));
            }
        }

        var (first, last) = (letters[0].Key, letters[^1].Key);
        var root = (uint)index.Position | Prefix | Children;
        index.Write([0, first, last]);
        for (var letter = (int)first; letter <= last; letter++)
        {
            Number(index, offsets[letter]);
        }

        index.Position = 8;
        Number(index, root);
        return index.ToArray();
    }

    /// <summary>A node that is its own child, twice.</summary>
    public static byte[] Circle() => [0xB0, 0x07, 0xF4, 0x57, 0, 2, 0, 1, 0x20, 0, 0, 12, 1, 2, 0x20, 0, 0, 12, 0x20, 0, 0, 12];

    private static void Number(MemoryStream stream, uint number)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, number);
        stream.Write(bytes);
    }
}
